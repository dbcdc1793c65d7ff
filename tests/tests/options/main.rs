//! Options of a process group have an effect that is seen from outside: by
//! the kernel's account of the worker, by answers, or by the log.

mod process;
mod server;
mod timeouts;

use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::Signal;
use wsgid_tests::{Httpd, Limit, Pid, Site, case, eventually, heavy_case};

use crate::server::{SOON, background, pid, replaced, serve, wait_until_running};

#[test]
fn maximum_requests_replaces_the_process_and_loses_nothing() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=2 maximum-requests=5");
        let mut client = httpd.client();
        let mut pids = std::collections::BTreeSet::new();
        eventually("three processes in turn", SOON, || {
            let response = client.get("/pid").expect("every request is answered");
            assert_eq!(response.status, 200);
            pids.insert(response.json().as_u64());
            (pids.len() >= 3).then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn age_idleness_and_cpu_time_replace_the_process() {
    case(Limit::default(), || {
        for options in ["restart-interval=1", "inactivity-timeout=1"] {
            let (_site, httpd) = serve(&format!("threads=2 {options}"));
            let before = pid(&httpd);
            let old = httpd.workers()[0];
            eventually(options, SOON, || {
                (!old.alive() && !httpd.workers().is_empty()).then_some(())
            });
            assert_ne!(pid(&httpd), before, "{options}");
            httpd.stop();
        }
        let (_site, httpd) = serve("threads=2 cpu-time-limit=2");
        let before = pid(&httpd);
        assert_eq!(
            httpd.get("/spin?seconds=2.2").status,
            200,
            "the request that used it up is finished"
        );
        replaced(&httpd, before);
        httpd.stop();
    });
}

#[test]
fn memory_recycle_replaces_a_process_that_has_grown() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=2 memory-recycle=104857600");
        let before = pid(&httpd);
        assert_eq!(httpd.get("/allocate?mib=150").status, 200);
        replaced(&httpd, before);
        httpd.stop();
    });
}

#[test]
fn idle_stop_goes_to_zero_and_the_next_request_comes_back() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=2 idle-stop=1 processes=2");
        assert_eq!(httpd.get("/pid").status, 200);
        httpd.wait_for_workers(0, SOON);
        let begun = Instant::now();
        assert_eq!(httpd.get("/pid").status, 200);
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "a cold start took {:?}",
            begun.elapsed()
        );
        httpd.stop();
    });
}

#[test]
fn processes_grow_with_the_queue_and_not_beyond_the_maximum() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("processes=0..3 threads=1");
        assert_eq!(httpd.get("/pid").status, 200);
        thread::sleep(Duration::from_millis(500));
        assert_eq!(httpd.workers().len(), 1, "one request needs one process");
        httpd.stop();
        let (_site, httpd) = serve("processes=1..5 threads=1");
        assert_eq!(httpd.wait_for_workers(1, SOON).len(), 1);
        let requests: Vec<_> = (0..6)
            .map(|_| background(&httpd, "/sleep?seconds=4"))
            .collect();
        // Before the first of them has ended: nobody waits while there may be more.
        let most = eventually("five workers", Duration::from_secs(4), || {
            let count = httpd.workers().len();
            (count >= 5).then_some(count)
        });
        assert_eq!(most, 5);
        assert!(
            requests
                .into_iter()
                .all(|request| request.join().expect("no panic") == 200)
        );
        httpd.stop();
    });
}

#[test]
fn graceful_eviction_and_shutdown_timeouts_bound_a_running_request() {
    heavy_case(Limit::default(), || {
        let end_of = |options: &str, how: &dyn Fn(&Httpd, Pid)| {
            let (_site, httpd) = serve(&format!("threads=1 {options}"));
            assert_eq!(httpd.get("/pid").status, 200);
            let old = httpd.workers()[0];
            let running = background(&httpd, "/sleep?seconds=60");
            wait_until_running(&httpd, 1);
            let begun = Instant::now();
            how(&httpd, old);
            eventually(options, SOON, || (!old.alive()).then_some(()));
            let took = begun.elapsed();
            assert!(matches!(running.join().expect("no panic"), 502..=504));
            assert_eq!(httpd.get("/pid").status, 200);
            httpd.stop();
            took
        };
        let restart = |httpd: &Httpd, _: Pid| drop(httpd.wsgid(&["restart", "site"]));
        let evict = |_: &Httpd, worker: Pid| worker.signal(Signal::SIGUSR1);
        let took = end_of("graceful-timeout=2 shutdown-timeout=1", &restart);
        assert!(
            took >= Duration::from_secs(2) && took < Duration::from_secs(7),
            "graceful-timeout: {took:?}"
        );
        let took = end_of(
            "graceful-timeout=50 eviction-timeout=1 shutdown-timeout=1",
            &evict,
        );
        assert!(
            took >= Duration::from_secs(1) && took < Duration::from_secs(7),
            "eviction-timeout: {took:?}"
        );
        let (_site, httpd) = serve("threads=1 shutdown-timeout=1");
        assert_eq!(httpd.get("/pid").status, 200);
        let running = background(&httpd, "/sleep?seconds=60");
        wait_until_running(&httpd, 1);
        let begun = Instant::now();
        httpd.stop();
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "shutdown-timeout: {:?}",
            begun.elapsed()
        );
        drop(running);
    });
}

#[test]
fn restart_burst_makes_a_group_failed_and_restart_clears_it() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("dies.py", "import os\nos._exit(9)\n");
        let httpd = Httpd::builder()
            .daemon("site", "threads=1 restart-burst=2 restart-window=600")
            .mount("/", &script, "site")
            .start();
        assert_eq!(httpd.get("/").status, 503);
        httpd.wait_for_log("exited with code 9", SOON);
        let begun = Instant::now();
        assert_eq!(httpd.get("/").status, 503, "refused at once");
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        site.write(
            "dies.py",
            "def application(e, s):\n    s('200 OK', [])\n    return [b'mended']\n",
        );
        let _ = httpd.wsgid(&["restart", "site"]);
        eventually("the mended script", SOON, || {
            (httpd.get("/").status == 200).then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn threads_zero_is_a_service_without_requests() {
    case(Limit::default(), || {
        let site = Site::new();
        let mark = site.path().join("mark");
        let script = site.write(
            "service.py",
            &format!(
                "open({:?}, 'w').write('ran')\nimport time\nwhile True: time.sleep(1)\n",
                mark.display().to_string()
            ),
        );
        let _ = fs::set_permissions(
            site.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        );
        let httpd = Httpd::builder()
            .daemon("service", "threads=0")
            .line(format!(
                "WSGIImportScript {} process-group=service application-group=%{{GLOBAL}}",
                script.display()
            ))
            .mount("/", &site.file("option_cases.py"), "service")
            .start();
        eventually("the service", SOON, || {
            fs::read_to_string(&mark)
                .is_ok_and(|text| text == "ran")
                .then_some(())
        });
        assert!(httpd.get("/pid").status >= 500);
        httpd.stop();
    });
}
