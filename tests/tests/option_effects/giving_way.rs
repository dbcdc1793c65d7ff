//! A site that takes what others want gives way to them: seen in the status and
//! in what the supervisor itself needs for it. Left out where control groups may
//! not be made.

use std::thread;
use std::time::{Duration, Instant};

use wsgid_tests::{Httpd, Limit, Site, case, control, eventually, users, wait};

use super::control_groups::possible;
use crate::SOON;

/// As many processes of this as there are processors take all of them.
const BURNS: &str = "
import threading
def burn():
    while True: pass
threading.Thread(target=burn, daemon=True).start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'burns']
";
const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'hello']
";

/// What the status says of a group's control group.
fn control_group(httpd: &Httpd, name: &str) -> Option<serde_json::Value> {
    let status = control::status(httpd)?;
    let all = status["groups"].as_array()?;
    all.iter().find(|group| group["name"] == name).map(|group| group["control_group"].clone())
}

#[test]
fn root_who_takes_much_gives_way_to_the_sites_of_others() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let (site, processors) = (Site::new(), thread::available_parallelism().map_or(1, usize::from));
        let (burns, hello) = (site.write("burns.py", BURNS), site.write("hello.py", HELLO));
        let options = |of: usize| format!("user={} {}", users[of].name, site.python_path());
        let httpd = Httpd::builder()
            .daemon("burns", &format!("processes={processors} threads=1 {}", options(0)))
            .daemon("modest", &format!("threads=1 {}", options(1)))
            .mount("/burns", &burns, "burns")
            .mount("/modest", &hello, "modest")
            .start();
        assert_eq!(httpd.get("/modest").text(), "hello");
        if !possible(&httpd) {
            return httpd.stop();
        }
        for name in ["burns", "modest"] {
            let own = eventually("the status", SOON, || control_group(&httpd, name));
            assert!(own.is_object(), "{name} has no control group from its first start on");
        }
        eventually("it gives way", SOON, || {
            assert_eq!(httpd.get("/modest").text(), "hello");
            (control_group(&httpd, "burns")?["waits_for_others"] == true).then_some(())
        });
        assert_eq!(control_group(&httpd, "modest").expect("its status")["waits_for_others"], false);
        // Watching costs next to nothing.
        let supervisor = httpd.supervisor().expect("it runs");
        let (before, begun) = (supervisor.cpu_time(), Instant::now());
        wait::let_run(Duration::from_secs(1));
        let used = supervisor.cpu_time().saturating_sub(before);
        assert!(used < begun.elapsed() / 4, "the supervisor used {used:?} of a second");
        httpd.stop();
    });
}
