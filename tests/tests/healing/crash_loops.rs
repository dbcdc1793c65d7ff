//! Groups that crash at every start, or never come to its end, take neither the
//! processors nor the turn from the one that does not.

use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use wsgid_tests::{Httpd, Limit, Site, case, control, eventually, heavy_case, note};

use crate::SOON;

/// No answer of a healthy group may take longer to come back: a bound, not the
/// usual time, which is printed.
const BOUND: Duration = Duration::from_secs(10);

#[test]
fn a_healthy_group_comes_back_while_fifty_crash() {
    heavy_case(Limit::seconds(150), || {
        let site = Site::new();
        let crash = site.write("crash.py", "import os\nos._exit(9)\n");
        let mut builder = Httpd::builder()
            .daemon("healthy", &format!("threads=2 {}", site.python_path()))
            .mount("/healthy", &site.file("hello.py"), "healthy");
        for number in 0..50 {
            let name = format!("crash{number}");
            // Never failed for good: they go on all the time.
            builder = builder
                .daemon(&name, "threads=1 restart-burst=1000000 startup-timeout=2")
                .mount(&format!("/{name}"), &crash, &name);
        }
        let httpd = builder.start();
        eventually("crashes of most groups", Duration::from_secs(60), || {
            (httpd.error_log().matches("exited with code 9").count() > 100).then_some(())
        });
        let mut took = Vec::new();
        for _ in 0..5 {
            assert_eq!(httpd.get("/healthy").status, 200);
            let worker =
                control::workers(&httpd, "healthy").and_then(|workers| workers.first().copied());
            let worker = worker.expect("the healthy group has a worker");
            worker.kill();
            eventually("the end of the worker", SOON, || {
                (!worker.alive()).then_some(())
            });
            let begun = Instant::now();
            assert_eq!(httpd.get("/healthy").status, 200);
            took.push(begun.elapsed());
        }
        note(&format!("a start beside 50 groups that crash: {took:?}"));
        assert!(took.iter().all(|took| *took < BOUND), "{took:?}");
        // One that crashes is refused or waits; it never hangs.
        assert!(matches!(httpd.get("/crash7").status, 502..=504));
        httpd.stop();
    });
}

#[test]
fn a_healthy_group_starts_while_others_hang_as_they_load() {
    case(Limit::seconds(90), || {
        let site = Site::new();
        let hang = site.write("hang.py", "import time\ntime.sleep(600)\n");
        let mut builder = Httpd::builder();
        // Three rounds of all places that there are.
        for number in 0..3 * available_parallelism().map_or(1, usize::from) {
            let name = format!("hang{number}");
            let preload = if number % 2 == 0 { "On" } else { "Off" };
            builder = builder
                .daemon(&name, &format!("processes=3 preload={preload}"))
                .mount(&format!("/{name}"), &hang, &name);
        }
        let httpd = builder
            .daemon("healthy", &format!("threads=2 {}", site.python_path()))
            .mount("/healthy", &site.file("hello.py"), "healthy")
            .start();
        let begun = Instant::now();
        assert_eq!(httpd.get("/healthy").status, 200);
        note(&format!(
            "a first start behind groups that hang: {:?}",
            begun.elapsed()
        ));
        assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
        httpd.stop();
    });
}
