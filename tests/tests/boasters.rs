//! A crowd of workers that boast: neither the log nor the status of all is one
//! worker's to fill.

use std::time::Duration;

use wsgid_tests::hostile::{self, cases};
use wsgid_tests::{Httpd, Limit, Site, eventually, heavy_case};

#[test]
fn what_workers_say_of_themselves_has_an_end() {
    heavy_case(Limit::seconds(120), || {
        const PROCESSES: usize = 24;
        let site = Site::new();
        let home = hostile::home(&site, env!("CARGO_BIN_EXE_hostile_worker"));
        let options = format!(
            "processes={PROCESSES} threads=1 env=HOSTILE_START=boast python-home={}",
            home.display()
        );
        let httpd = Httpd::builder()
            .daemon("good", &format!("threads=2 {}", site.python_path()))
            .daemon("boaster", &options)
            .mount("/good", &site.file("hello.py"), "good")
            .mount("/boaster", &site.write("hostile.wsgi", ""), "boaster")
            .start();
        assert_eq!(httpd.get("/good").text(), "Hello World!");
        eventually("all are ready", Duration::from_secs(20), || {
            (httpd.ready_workers().len() == PROCESSES + 1).then_some(())
        });
        let text = httpd.wsgid(&["status"]);
        assert_eq!(text.matches(" ready ").count(), PROCESSES + 1, "{text}");
        assert!(text.contains("`/srv/0.py` failed to load"), "{text}");
        for args in [&["requests"][..], &["requests", "--stack"]] {
            let text = httpd.wsgid(args);
            let rows = text.matches("  boaster  worker ").count();
            assert!(
                (50..=2048).contains(&rows),
                "{rows} rows: {}",
                &text[..text.len().min(2000)]
            );
            assert!(!text.contains('\u{1}'));
        }
        let log = httpd.error_log();
        assert!(log.len() < 2 << 20, "a log of {} bytes", log.len());
        assert_eq!(log.matches("is ready after").count(), PROCESSES + 1);
        assert!(log.contains("and more, which is left out"));
        assert_eq!(httpd.get("/boaster/good").text(), cases::GOOD);
        httpd.stop();
    });
}
