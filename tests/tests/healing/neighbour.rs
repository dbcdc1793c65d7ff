//! A site that does everything wrong beside one that does not: the good one
//! loses nothing and goes on answering. How fast is the benchmark's business
//! (`--neighbour`); here nothing depends on the machine.

use std::time::{Duration, Instant};

use wsgid_tests::load::pester;
use wsgid_tests::{Httpd, Limit, Load, Site, TestUser, heavy_case, note, users};

/// What the bad site does: a path, and how many ask for it at the same time.
const DEEDS: &[(&str, usize)] = &[("hang", 60), ("crash", 2), ("flood", 2), ("memory", 2), ("fork", 1), ("spin", 2)];

/// How long each deed goes on.
const TIME: Duration = Duration::from_millis(2500);

fn identity(user: Option<&TestUser>) -> String {
    user.map_or_else(String::new, |user| format!("user={} group={}", user.name, user.group))
}

#[test]
fn nothing_that_a_site_does_costs_its_neighbour_a_request() {
    heavy_case(Limit::seconds(150), || {
        let accounts = users::three();
        let (one, two) = (accounts.map(|users| &users[0]), accounts.map(|users| &users[1]));
        let sites = [one, two].map(|user| user.map_or_else(Site::new, Site::of));
        let bad = sites[0].file("bad_neighbour.py");
        let limits = "process-limit=60 memory-limit=400M request-timeout=3 graceful-timeout=1 shutdown-timeout=1 \
                      restart-burst=1000000 listen-backlog=20 connect-timeout=0 cpu-priority=10";
        let httpd = Httpd::builder()
            .daemon("bad", &format!("processes=2 threads=3 {limits} {}", identity(one)))
            .daemon("good", &format!("processes=1 threads=3 {} {}", identity(two), sites[1].python_path()))
            .mount("/bad", &bad, "bad")
            .mount("/good", &sites[1].file("hello.py"), "good")
            .start();
        let load = Load::new(httpd.address(), "/good", 2).expect("Hello World!").start();
        load.wait_for_more(50);
        let quiet = per_second(&load);
        for (deed, count) in DEEDS {
            let end = Instant::now() + TIME;
            let evil: Vec<_> = (0..*count).map(|_| pester(httpd.address(), format!("/bad/{deed}"), end)).collect();
            let speed = per_second(&load);
            note(&format!("{deed}: the neighbour has {speed:.0} answers a second, {quiet:.0} when it is quiet"));
            assert!(speed > 0.0, "no answer at all during {deed}");
            for one in evil {
                one.join().expect("no panic");
            }
        }
        load.stop().assert_clean();
        let log = httpd.error_log().len();
        assert!(log < 40 << 20, "the flood of one site fills the disk: {log} bytes of log");
        httpd.stop();
    });
}

fn per_second(load: &wsgid_tests::load::Running) -> f64 {
    let (before, begun) = (load.finished(), Instant::now());
    wsgid_tests::wait::let_run(Duration::from_secs(2));
    (load.finished() - before) as f64 / begun.elapsed().as_secs_f64()
}
