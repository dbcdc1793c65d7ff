//! What is said in normal operation, and how loudly: what administrators do is a notice,
//! what happens by itself is below their `LogLevel warn`.

use wsgid_tests::{Httpd, Limit, Site, case, eventually, peer};

use crate::SOON;

/// What supervisor, workers and module have said so far.
fn said(httpd: &Httpd) -> Vec<String> {
    let log = httpd.error_log();
    let ours = log.lines().filter(|line| line.contains("[wsgi"));
    ours.map(str::to_owned).collect()
}

/// Waits for as many lines as these texts name, each in its line; there are no others.
fn assert_said(httpd: &Httpd, texts: &[&str]) {
    eventually(&format!("{texts:?}"), SOON, || {
        (said(httpd).len() >= texts.len()).then_some(())
    });
    let lines = said(httpd);
    let is_there = |text: &&str| lines.iter().any(|line| line.contains(*text));
    let is_meant = lines.len() == texts.len() && texts.iter().all(is_there);
    assert!(is_meant, "{texts:#?}: {lines:#?}");
    for line in lines {
        assert!(line.contains("[wsgid:notice]"), "{line}");
    }
}

#[test]
fn normal_operation_is_one_line_for_what_an_administrator_does() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let path = site.python_path();
        let httpd = Httpd::builder()
            .line("LogLevel warn")
            .daemon("busy", &format!("processes=2 maximum-requests=5 {path}"))
            .daemon("rare", &format!("idle-stop=1 {path}"))
            .mount("/rare", &site.file("hello.py"), "rare")
            .mount_with(
                "/",
                &site.file("hello.py"),
                "process-group=busy application-group=%{GLOBAL}",
            )
            .start();
        let workers = |group: &str| -> Vec<u32> {
            let status = httpd.status();
            let ready = status
                .group(group)
                .into_iter()
                .flat_map(|group| group.workers());
            ready
                .filter(|worker| worker.is_ready())
                .map(|worker| worker.pid)
                .collect()
        };
        let two = |what: &str| {
            eventually(what, SOON, || {
                let ready = workers("busy");
                (ready.len() == 2).then_some(ready)
            })
        };
        let first = two("two workers");
        let start = ["supervises", "`busy`: worker", "`rare`: worker"];
        assert_said(&httpd, &start);
        eventually("others, because of maximum-requests", SOON, || {
            assert_eq!(httpd.get("/").status, 200);
            let now = workers("busy");
            (now.len() == 2 && !now.iter().any(|pid| first.contains(pid))).then_some(())
        });
        httpd.graceful();
        assert_eq!(httpd.get("/").status, 200);
        assert_said(&httpd, &start);
        for _ in 0..2 {
            assert_eq!(httpd.get("/rare").status, 200);
            eventually("its end", SOON, || workers("rare").is_empty().then_some(()));
        }
        assert_said(&httpd, &start);
        assert_eq!(httpd.wsgid(&["restart", "busy", "--no-wait"]), "");
        let restarted = [&start[..], &["commands", "(generation 2"]].concat();
        assert_said(&httpd, &restarted);
        let root = httpd.root().to_owned();
        let kept = root.with_extension("kept");
        std::fs::hard_link(root.join("error.log"), &kept).expect("the log can be linked");
        httpd.stop();
        let log = std::fs::read_to_string(&kept).expect("the log is there");
        let _ = std::fs::remove_file(&kept);
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("[wsgi")).collect();
        assert_eq!(lines.len(), restarted.len() + 1, "{lines:#?}");
        assert!(
            lines
                .last()
                .is_some_and(|line| line.contains("wsgid has ended"))
        );
    });
}

/// As Debian has it: `LogLevel warn`.
#[test]
fn routine_replacements_say_no_more_than_mod_wsgis() {
    const REQUESTS: usize = 1000;
    let Some((venv, module)) = peer::peer() else {
        return;
    };
    case(Limit::seconds(240), move || {
        let site = Site::new();
        let lines = [None, Some(module.clone())].map(|peer| {
            let builder = Httpd::builder();
            let builder = match peer {
                Some(module) => builder.peer(module),
                None => builder,
            };
            let options = format!(
                "processes=2 threads=2 maximum-requests=20 python-home={} {}",
                venv.display(),
                site.python_path()
            );
            let httpd = builder
                .line("LogLevel warn")
                .daemon("site", &options)
                .mount_with(
                    "/",
                    &site.write("pid.py", PID),
                    "process-group=site application-group=%{GLOBAL}",
                )
                .start();
            let mut pids = std::collections::BTreeSet::from([httpd.get("/").text()]);
            let before = httpd.error_log().lines().count();
            for _ in 0..REQUESTS {
                pids.insert(httpd.get("/").text());
            }
            let log = httpd.error_log();
            assert!(pids.len() >= 20, "{} processes", pids.len());
            httpd.stop();
            log.lines().count() - before
        });
        let [ours, theirs] = lines;
        wsgid_tests::note(&format!("{ours} lines, mod_wsgi's {theirs}"));
        assert!(ours <= theirs, "{ours} lines, mod_wsgi's {theirs}");
    });
}

const PID: &str = "import os\ndef application(environ, start_response):\n    \
    start_response('200 OK', [])\n    return [b'%d' % os.getpid()]\n";
