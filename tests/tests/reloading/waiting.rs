//! `reload-wait`: a request that comes after a change waits for the new code, for so
//! long and no longer.

use std::time::{Duration, Instant};

use wsgid_tests::{Limit, Load, case};

use crate::server::{code, serve, serves, site, watcher};

#[test]
fn a_request_waits_for_the_new_code() {
    case(Limit::seconds(240), || {
        let site = site();
        for options in ["processes=1 threads=2", "processes=4 threads=2 preload=On"] {
            let (httpd, _) = serve(&site, &format!("{options} reload-wait=60"));
            for round in 0..3 {
                let text = format!("after {round}");
                site.write("app.py", &code(&text, "time.sleep(0.7)"));
                let mut client = httpd.client();
                assert_eq!(client.get("/").expect("an answer").text(), text);
                assert_eq!(client.get("/").expect("an answer").text(), text);
            }
            httpd.stop();
        }
    });
}

#[test]
fn it_waits_no_longer_than_the_group_says() {
    case(Limit::default(), || {
        let site = site();
        let (httpd, _) = serve(&site, "processes=2 threads=2 reload-wait=1");
        site.write("app.py", &code("two", "time.sleep(6)"));
        let begun = Instant::now();
        assert_eq!(httpd.get("/").text(), "one");
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(900), "{took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        serves(&httpd, 2);
        assert_eq!(httpd.get("/").text(), "two");
        httpd.stop();
    });
}

#[test]
fn code_that_does_not_load_keeps_nobody_waiting() {
    case(Limit::default(), || {
        let site = site();
        let (httpd, _) = serve(&site, "processes=2 threads=2 reload-wait=100");
        site.write("app.py", "raise RuntimeError('broken')\n");
        let begun = Instant::now();
        for _ in 0..8 {
            assert_eq!(httpd.get("/").text(), "one");
        }
        assert!(
            begun.elapsed() < Duration::from_secs(50),
            "{:?}",
            begun.elapsed()
        );
        site.write("app.py", &code("two", ""));
        assert_eq!(httpd.get("/").text(), "two");
        httpd.stop();
    });
}

#[test]
fn what_options_name_is_waited_for_and_no_request_is_lost() {
    case(Limit::default(), || {
        let site = site();
        let mark = site.write("mark", "0");
        let options = format!(
            "processes=2 threads=3 reload-wait=60 reload-files={}",
            mark.display()
        );
        let (httpd, _) = serve(&site, &options);
        watcher(&httpd);
        let load = Load::new(httpd.address(), "/", 8).expect("one");
        let running = load.start();
        for round in 1..=4 {
            running.wait_for_more(20);
            site.write("mark", &"x".repeat(round));
            serves(&httpd, round as u64 + 1);
            watcher(&httpd);
        }
        running.stop().assert_clean();
        httpd.stop();
    });
}
