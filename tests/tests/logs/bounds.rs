//! How much a process group may write to the log: who logs as people do loses no line,
//! a flood is cut at `log-rate=`, said and counted.

use std::time::{Duration, Instant};

use wsgid_tests::{Httpd, Limit, Site, case, eventually};

use crate::SOON;

/// Long enough for a busy machine to write what passes.
const WRITTEN: Duration = Duration::from_secs(60);

/// The ways to the log, and how many lines go each: those of seven busy seconds, at once.
const WAYS: [&str; 5] = ["thread", "child", "stdout", "request", "errors"];
const LINES: usize = 6000;

const APPLICATION: &str = r#"
import subprocess, sys, threading

def write(way, count, file):
    for number in range(count):
        print("%s line %d." % (way, number), file=file)

def application(environ, start_response):
    way, count = environ["QUERY_STRING"].split("=")
    count = int(count)
    if way in ("thread", "stdout"):
        file = sys.stdout if way == "stdout" else sys.stderr
        thread = threading.Thread(target=write, args=(way, count, file))
        thread.start()
        thread.join()
    elif way == "child":
        code = "for n in range(%d): print('child line %%d.' %% n, flush=True)" % count
        subprocess.run([sys.executable, "-c", code], stdout=2, check=True)
    elif way == "request":
        write(way, count, sys.stderr)
    else:
        write(way, count, environ["wsgi.errors"])
    start_response("200 OK", [])
    return [b"written"]
"#;

fn service(lines: usize) -> String {
    format!(
        "import sys, time\nfor number in range({lines}): print('service line %d.' % number, file=sys.stderr)\nwhile True: time.sleep(60)\n"
    )
}

/// How often each of so many lines is in the log.
fn occurrences(log: &str, way: &str, lines: usize) -> Vec<usize> {
    let mut found = vec![0; lines];
    let front = format!("{way} line ");
    for line in log.lines() {
        let number = line.split_once(&front).map(|(_, rest)| rest);
        let number = number.and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        if let Some(count) = number.and_then(|number| found.get_mut(number)) {
            *count += 1;
        }
    }
    found
}

#[test]
fn who_logs_as_people_do_loses_no_line() {
    case(Limit::seconds(180), || {
        let site = Site::new();
        let script = site.write("app.py", APPLICATION);
        let prints = site.write("service.py", &service(LINES));
        let httpd = Httpd::builder()
            .daemon("site", &format!("threads=2 {}", site.python_path()))
            .daemon("service", "threads=0")
            .line(format!(
                "WSGIImportScript {} process-group=service application-group=%{{GLOBAL}}",
                prints.display()
            ))
            .mount("/", &script, "site")
            .start();
        for way in WAYS {
            assert_eq!(httpd.get(&format!("/?{way}={LINES}")).text(), "written");
        }
        for way in WAYS.into_iter().chain(["service"]) {
            eventually(&format!("each line of the {way}, once"), WRITTEN, || {
                let found = occurrences(&httpd.error_log(), way, LINES);
                assert!(found.iter().all(|count| *count < 2), "{way}: twice");
                found.iter().all(|count| *count == 1).then_some(())
            });
        }
        let log = httpd.error_log();
        assert!(!log.contains("dropped"), "nothing was left out");
        let groups = httpd.status().groups;
        assert!(groups.iter().all(|group| group.log_dropped_lines == 0));
        httpd.stop();
    });
}

/// What one statement says: lines and bytes.
fn said(line: &str) -> Option<(u64, u64)> {
    let (before, after) = line.split_once(" lines, ")?;
    let (bytes, after) = after.split_once(" bytes dropped: more than ")?;
    after
        .ends_with("16384 bytes per second; log-rate= sets it)")
        .then_some(())?;
    Some((
        before.rsplit_once('(')?.1.parse().ok()?,
        bytes.parse().ok()?,
    ))
}

#[test]
fn a_flood_is_cut_said_once_a_second_and_counted() {
    const FLOOD: usize = 20_000;
    case(Limit::seconds(180), || {
        let site = Site::new();
        let script = site.write("app.py", APPLICATION);
        let httpd = Httpd::builder()
            .daemon("site", &format!("log-rate=16K {}", site.python_path()))
            .daemon("other", &site.python_path())
            .mount("/other", &script, "other")
            .mount("/", &script, "site")
            .line("<Location /groups>\nSetHandler wsgid-status\nRequire all granted\n</Location>")
            .start();
        let mut counted = (0, 0);
        for way in ["errors", "thread"] {
            let begun = Instant::now();
            assert_eq!(httpd.get(&format!("/?{way}={FLOOD}")).text(), "written");
            // Others have their own.
            assert_eq!(httpd.get("/other?child=1").text(), "written");
            httpd.wait_for_log("child line 0.", SOON);
            let (written, statements) = eventually("lines are there or counted", WRITTEN, || {
                let log = httpd.error_log();
                let statements: Vec<_> = log.lines().filter_map(said).collect();
                let lines: u64 = statements.iter().map(|said| said.0).sum();
                let written = occurrences(&log, way, FLOOD).iter().sum::<usize>();
                let lines = usize::try_from(lines - counted.0).ok()?;
                (written + lines == FLOOD).then_some((written, statements))
            });
            // 256 KiB of lines that count as 150 bytes and less, and some seconds.
            assert!((1500..8000).contains(&written), "{way}: {written} lines");
            let most = usize::try_from(begun.elapsed().as_secs()).unwrap_or(0) * 2 + 3;
            assert!(
                statements.len() <= most,
                "{way}: {} statements in {:?}",
                statements.len(),
                begun.elapsed()
            );
            counted = statements
                .iter()
                .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        }
        let log = httpd.error_log();
        assert!(log.contains("WSGID0091: process group `site`: ("), "{log}");
        // httpd passes on what it has left out every few seconds.
        let status = eventually("the counts in the status", WRITTEN, || {
            let status = httpd.status();
            let group = status.group("site")?;
            let have = (group.log_dropped_lines, group.log_dropped_bytes);
            (have == counted).then_some(status)
        });
        let other = status.group("other").expect("it is there");
        assert_eq!(other.log_dropped_lines, 0);
        let metrics = httpd.get("/groups?openmetrics").text();
        for (name, count) in [("lines", counted.0), ("bytes", counted.1)] {
            let line = format!("wsgid_log_dropped_{name}_total{{group=\"site\"}} {count}");
            assert!(
                metrics.lines().any(|have| have == line),
                "{line}: {metrics}"
            );
        }
        let words = format!(
            "log-rate= has kept {} lines ({} bytes) out",
            counted.0, counted.1
        );
        assert!(httpd.get("/groups").text().contains(&words));
        assert!(httpd.wsgid(&["status"]).contains(&words));
        httpd.stop();
    });
}
