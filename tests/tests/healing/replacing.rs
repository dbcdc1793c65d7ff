//! Whatever a worker is replaced for: the next one is ready first, and one that
//! is worse than what serves does not take over.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use wsgid_tests::wait::let_run;
use wsgid_tests::{Client, Httpd, Limit, Load, Site, control, eventually, heavy_case};

use crate::SOON;

const SLOW_TO_LOAD: &str = "
import os, time
time.sleep(1)
def application(environ, start_response):
    if environ['PATH_INFO'] == '/slow':
        time.sleep(2)
        os.write(2, b'still here\\n')
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

fn serve(options: &str) -> (Site, Httpd) {
    let site = Site::new();
    let script = site.write("app.py", SLOW_TO_LOAD);
    let httpd = Httpd::builder()
        .daemon("site", options)
        .mount("/", &script, "site")
        .start();
    assert_eq!(httpd.get("/").status, 200);
    (site, httpd)
}

/// As careful people deploy: there in full or not at all.
fn deploy(site: &Site, text: &str) {
    let staged = site.write("staged", text);
    fs::rename(staged, site.file("app.py")).expect("a site's file can be replaced");
}

#[test]
fn a_worker_told_to_go_serves_until_its_replacement_is_ready() {
    heavy_case(Limit::default(), || {
        let (_site, httpd) = serve("processes=1 threads=3");
        let old = httpd.get("/").text();
        let load = Load::new(httpd.address(), "/", 2).start();
        httpd.workers()[0].signal(Signal::SIGUSR1);
        // The next one needs a second to load; nobody notices.
        let begun = Instant::now();
        let mut slowest = Duration::ZERO;
        let mut client = httpd.client();
        eventually("the replacement", SOON, || {
            let asked = Instant::now();
            let pid = client.get("/").expect("every request is answered").text();
            slowest = slowest.max(asked.elapsed());
            (pid != old).then_some(())
        });
        assert!(
            begun.elapsed() >= Duration::from_millis(900),
            "{:?}",
            begun.elapsed()
        );
        assert!(
            slowest < Duration::from_millis(900),
            "somebody waited for the replacement: {slowest:?}"
        );
        load.stop().assert_clean();
        httpd.stop();
    });
}

#[test]
fn a_generation_that_fails_is_named_and_the_old_one_serves() {
    heavy_case(Limit::default(), || {
        let (site, httpd) = serve("processes=2 threads=2");
        httpd.wait_for_workers(2, SOON);
        let load = Load::new(httpd.address(), "/", 3).start();
        deploy(&site, "import nowhere_to_be_found\n");
        httpd.wait_for_log("nowhere_to_be_found", SOON);
        httpd.wait_for_log("works in the workers that serve", SOON);
        let problem = eventually("the problem in the status", SOON, || {
            let status = control::status(&httpd)?;
            let pool = control::pools(&status, "site").first()?;
            pool.last_problem.clone()
        });
        assert!(problem.contains("app.py"), "{problem}");
        // Also when the worker that failed has long gone.
        let given_up = || {
            let status = control::status(&httpd)?;
            Some(control::pools(&status, "site").first()?.given_up.clone())
        };
        eventually("the end of the new generation", SOON, || {
            (httpd.workers().len() == 2).then_some(())
        });
        let failed = given_up().flatten().expect("it is told").failed_scripts[0].clone();
        assert!(failed.script.ends_with("app.py"), "{failed:?}");
        let error = "ModuleNotFoundError: No module named 'nowhere_to_be_found'";
        assert!(failed.traceback.contains(error), "{failed:?}");
        let said = control::command(&httpd, &["status"]).expect("a control socket");
        assert!(
            said.text.contains("was given up") && said.text.contains("ModuleNotFoundError"),
            "{}",
            said.text
        );
        // One of two workers dies now: the other serves, and nothing broken beside it.
        let victim = httpd.workers()[0];
        let in_flight = 2;
        victim.kill();
        eventually("the end of the worker", SOON, || {
            (!victim.alive()).then_some(())
        });
        let_run(Duration::from_millis(2500));
        deploy(&site, SLOW_TO_LOAD);
        eventually("two workers that serve", SOON, || {
            (control::workers(&httpd, "site")?.len() == 2).then_some(())
        });
        eventually("a status without it", SOON, || {
            given_up()?.is_none().then_some(())
        });
        let tally = load.stop();
        assert_eq!(tally.failed(), tally.of_kind("status 502"), "{tally:?}");
        assert!(tally.failed() <= in_flight && tally.ok > 100, "{tally:?}");
        httpd.stop();
    });
}

/// An editor that empties the file before it writes it, a copy that is seen in
/// the middle: what is there loads, and serves nothing.
#[test]
fn a_script_that_has_lost_its_callable_does_not_take_over() {
    heavy_case(Limit::default(), || {
        let (site, mut httpd) = serve("processes=2 threads=2");
        httpd.wait_for_workers(2, SOON);
        let load = Load::new(httpd.address(), "/", 3).start();
        let refused = || {
            httpd
                .error_log()
                .matches("does not contain the callable `application`")
                .count()
        };
        let whole = SLOW_TO_LOAD.replace("b'%d' % os.getpid()", "b'whole'");
        let says = |text: &str| {
            httpd
                .client()
                .get("/")
                .is_ok_and(|answer| answer.text() == text)
                .then_some(())
        };
        site.write("app.py", "");
        eventually("a new worker that is given up", SOON, || {
            (refused() > 0).then_some(())
        });
        site.write("app.py", &whole);
        eventually("the whole script", SOON, || says("whole"));
        load.stop().assert_clean();
        // Under another name it is refused until requests ask for that.
        let before = refused();
        deploy(
            &site,
            &whole
                .replace("def application", "def other")
                .replace("b'whole'", "b'other'"),
        );
        eventually("a request that sees the change", SOON, || {
            says("whole");
            (refused() > before).then_some(())
        });
        assert!(says("whole").is_some());
        httpd.configure(|lines| lines.push("WSGICallableObject other".to_owned()));
        httpd.graceful();
        eventually("the other callable", SOON, || {
            (httpd.get("/").text() == "other").then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn another_program_and_another_supervisor_cost_nothing() {
    heavy_case(Limit::default(), || {
        let (_site, httpd) = serve("processes=2 threads=3");
        let load = Load::new(httpd.address(), "/", 3).start();
        let supervisor = httpd.supervisor();
        let address = httpd.address();
        let slow = || {
            thread::spawn(move || {
                Client::new(address)
                    .get("/slow")
                    .map_or(0, |answer| answer.status)
            })
        };
        let during = slow();
        for turn in 1..=3 {
            let said = control::command(&httpd, &["reexec"]).expect("a control socket");
            assert_eq!(said.code, 0, "{turn}: {}", said.text);
        }
        assert_eq!(httpd.supervisor(), supervisor, "the process stays");
        assert_eq!(during.join().expect("no panic"), 200);
        let workers = httpd.wait_for_workers(2, SOON);
        // Requests that run when the supervisor is killed end as if nothing had been.
        let running: Vec<_> = (0..3).map(|_| slow()).collect();
        let_run(Duration::from_millis(500));
        supervisor.expect("a supervisor").kill();
        assert!(
            running
                .into_iter()
                .all(|one| one.join().expect("no panic") == 200)
        );
        eventually("workers of the next supervisor", SOON, || {
            let now = httpd.workers();
            (httpd.supervisor() != supervisor
                && now.len() == 2
                && now.iter().all(|one| !workers.contains(one)))
            .then_some(())
        });
        load.stop().assert_clean();
        httpd.stop();
    });
}
