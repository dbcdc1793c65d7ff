//! `SetHandler wsgid-status` and the section on mod_status's page: HTML, JSON
//! and OpenMetrics, for whom httpd lets see it, and quickly.

use std::process::Command;
use std::time::Duration;

use wsgid_tests::{Httpd, Json, Limit, Python, Request, Site, case, eventually, note};

fn options(site: &Site) -> String {
    format!(
        "processes=2 threads=3 python-home={} {}",
        Python::any().home.display(),
        site.python_path()
    )
}

/// A server with a page of its own, mod_status's, and a closed one.
fn server() -> (Site, Httpd) {
    let site = Site::new();
    let httpd = Httpd::builder()
        .load("status")
        .load("authz_host")
        .daemon("site", &options(&site))
        .daemon("idle", &options(&site))
        .mount("/app", &site.file("probe.py"), "site")
        .line("<Location /groups>\nSetHandler wsgid-status\nRequire local\n</Location>")
        .line("<Location /closed>\nSetHandler wsgid-status\nRequire all denied\n</Location>")
        .line("<Location /server>\nSetHandler server-status\nRequire local\n</Location>")
        .start();
    (site, httpd)
}

fn group<'j>(status: &'j Json, name: &str) -> &'j Json {
    let groups = status["groups"].as_array().expect("a list");
    groups
        .iter()
        .find(|group| group["name"] == name)
        .unwrap_or_else(|| panic!("no group {name} in {status}"))
}

#[test]
fn the_status_is_told_in_three_forms() {
    case(Limit::default(), || {
        let (_site, httpd) = server();
        for _ in 0..5 {
            assert_eq!(httpd.get("/app/hello").status, 200);
        }
        // The first worker serves while the second still starts.
        eventually("two ready workers", Duration::from_secs(20), || {
            httpd
                .get("/groups?openmetrics")
                .text()
                .contains("state=\"ready\"} 2")
                .then_some(())
        });
        let response = httpd.get("/groups?json");
        assert_eq!(response.header("Content-Type"), Some("application/json"));
        let status = response.json();
        let pool = &group(&status, "site")["pools"][0];
        assert_eq!(pool["state"], "running");
        let workers = pool["workers"].as_array().expect("a list");
        let requests: u64 = workers
            .iter()
            .filter_map(|worker| worker["requests"].as_u64())
            .sum();
        assert_eq!((workers.len(), requests), (2, 5), "{pool}");
        assert!(!status.to_string().contains("secret"));

        let response = httpd.get("/groups?openmetrics");
        assert!(
            response
                .header("Content-Type")
                .is_some_and(|kind| kind.starts_with("application/openmetrics-text"))
        );
        let text = response.text();
        let line = "wsgid_workers{group=\"site\",application_group=\"\",state=\"ready\"} 2";
        assert!(
            text.lines().any(|have| have == line) && text.ends_with("# EOF\n"),
            "{text}"
        );

        let response = httpd.get("/groups");
        assert_eq!(
            response.header("Content-Type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(response.header("Cache-Control"), Some("no-store"));
        let page = response.text();
        assert!(
            page.contains("<h2>site</h2>") && page.contains("<h2>idle</h2>"),
            "{page}"
        );
        assert!(
            !page.contains("http://") && !page.contains("https://"),
            "nothing is loaded from elsewhere"
        );

        let mod_status = httpd.get("/server").text();
        assert!(
            mod_status.contains("Process groups of mod_wsgid")
                && mod_status.contains("<h2>site</h2>")
        );
        let short = httpd.get("/server?auto").text();
        assert!(short.contains("WsgidReady site: 2"), "{short}");
        httpd.stop();
    });
}

#[test]
fn httpd_decides_who_sees_it() {
    case(Limit::default(), || {
        let (_site, httpd) = server();
        assert_eq!(httpd.get("/closed").status, 403);
        let post = httpd
            .client()
            .send(&Request::post("/groups", "x"))
            .expect("an answer");
        assert_eq!(post.status, 405);
        httpd.stop();
    });
}

/// Workers that are busy, or hang, hold nobody up who wants to know.
/// It is about all sites, so the server's configuration alone says where it is.
#[test]
fn htaccess_shows_no_status() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let mut builder = Httpd::builder()
            .load("status")
            .load("mime")
            .load("rewrite")
            .load("actions")
            .daemon("site", &options(&site))
            .mount("/app", &site.file("probe.py"), "site")
            .line("<Location /groups>\nSetHandler wsgid-status\nRequire all denied\n</Location>")
            .line("<Location /server>\nSetHandler server-status\n</Location>");
        let docs = builder.root().join("htdocs");
        let handlers = ["wsgid-status", "server-status", "wsgid-health"];
        let ways = [
            ("set", "SetHandler HANDLER"),
            ("capital", "SetHandler WSGID-STATUS"),
            ("add", "AddHandler HANDLER .html"),
            ("type", "AddType HANDLER .html"),
            ("force", "ForceType HANDLER"),
            ("rule", "RewriteEngine On\nRewriteRule .* - [H=HANDLER]"),
            ("files", "<Files page.html>\nSetHandler HANDLER\n</Files>"),
            ("if", "<If \"true\">\nSetHandler HANDLER\n</If>"),
            ("expression", "SetHandler \"%{tolower:HANDLER}\""),
            (
                "action",
                "AddHandler mine .html\nAction mine /groups virtual",
            ),
            ("redirected", "RewriteEngine On\nRewriteRule .* /groups [L]"),
            ("error", "ErrorDocument 404 /groups\nRedirectMatch 404 page"),
        ];
        builder = builder
            .line(format!(
                "<Directory {}>\nAllowOverride FileInfo\n</Directory>",
                docs.display()
            ))
            .load("alias");
        let mut paths = Vec::new();
        for handler in handlers {
            for (name, lines) in ways {
                let directory = docs.join(format!("{name}-{handler}"));
                std::fs::create_dir(&directory).expect("a directory can be made");
                std::fs::write(directory.join("page.html"), "page").expect("a page can be written");
                std::fs::write(
                    directory.join(".htaccess"),
                    lines.replace("HANDLER", handler),
                )
                .expect("it is written");
                paths.push(format!("/{name}-{handler}/page.html"));
            }
        }
        let httpd = builder.start();
        assert_eq!(httpd.get("/app/hello").status, 200);
        for path in &paths {
            for query in ["", "?json", "?openmetrics", "?auto"] {
                let response = httpd.get(&format!("{path}{query}"));
                let text = response.text();
                let shows = ["probe.py", "<h2>site</h2>", "\"site\"", "Wsgid"]
                    .iter()
                    .any(|part| text.contains(part));
                assert!(!shows, "{path}{query}: {} {text}", response.status);
            }
        }
        for handler in ["wsgid-status", "wsgid-health"] {
            let refused = httpd.get(&format!("/set-{handler}/page.html"));
            assert_eq!(refused.status, 403);
        }
        let log = httpd.error_log();
        let told = |line: &&str| {
            line.contains("WSGID0081") && line.contains("set-wsgid-status/.htaccess:1")
        };
        assert!(log.lines().any(|line| told(&line)), "{log}");
        assert!(
            httpd.get("/server").text().contains("<h2>site</h2>"),
            "the server's own section shows it"
        );
        httpd.stop();
    });
}

#[test]
fn the_status_does_not_wait_for_workers() {
    case(Limit::default(), || {
        let site = Site::new();
        let hang = site.write(
            "hang.py",
            "import ctypes\ndef application(environ, start_response):\n    \
             print('running: hang', file=environ['wsgi.errors'], flush=True)\n    \
             ctypes.PyDLL(None).usleep(8000000)\n    start_response('200 OK', [])\n    return [b'x']\n",
        );
        let httpd = Httpd::builder()
            .daemon("site", &options(&site))
            .mount("/hang", &hang, "site")
            .line("<Location /groups>\nSetHandler wsgid-status\nRequire all granted\n</Location>")
            .start();
        let mut client = httpd.client();
        let hanging =
            std::thread::spawn(move || client.get("/hang").map(|response| response.status));
        httpd.wait_for_running("hang", Duration::from_secs(20));
        assert_eq!(httpd.get("/groups?json").status, 200);
        assert!(
            !hanging.is_finished(),
            "the status came when the worker had its lock back"
        );
        assert_eq!(
            hanging.join().expect("the thread ends").expect("an answer"),
            200
        );
        httpd.stop();
    });
}

/// The name under which the supervisor answers is no name for a group.
#[test]
fn the_name_is_reserved() {
    case(Limit::default(), || {
        let check = Httpd::builder().daemon("wsgid:status", "threads=1").check();
        assert!(
            !check.ok && check.text.contains("reserved"),
            "{}",
            check.text
        );
        let site = Site::new();
        let check = Httpd::builder()
            .mount_with("/", &site.file("probe.py"), "process-group=wsgid:status")
            .check();
        assert!(
            check.ok && check.text.contains("`wsgid:status` is not defined"),
            "{}",
            check.text
        );
    });
}

/// Thirty groups: one whose Python is not there, one whose script fails, one
/// that is being replaced, one that is stopped, and some that nobody has used.
fn thirty_groups(site: &Site) -> Httpd {
    let options = options(site);
    site.write("fails.py", "import no_such_module_anywhere\n");
    site.write(
        "slow.py",
        "import os, time\nif os.path.exists(__file__ + '.slow'):\n    time.sleep(30)\n\
         def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x']\n",
    );
    let mut builder = Httpd::builder().load("authz_host");
    for number in 1..=26 {
        let name = format!("site-{number:02}");
        let few = options.replace("processes=2", "processes=0..2");
        builder =
            builder
                .daemon(&name, &few)
                .mount(&format!("/{name}"), &site.file("probe.py"), &name);
    }
    builder
        .daemon(
            "broken-python",
            "python-home=/nowhere/at/all restart-burst=2",
        )
        .mount("/broken", &site.file("probe.py"), "broken-python")
        .daemon("broken-script", &options)
        .mount("/fails", &site.file("fails.py"), "broken-script")
        .daemon("replaced", &options)
        .mount("/slow", &site.file("slow.py"), "replaced")
        .line("<Location /groups>\nSetHandler wsgid-status\nRequire local\n</Location>")
        .start()
}

/// Draws a page, and returns what the browser said.
fn draw(browser: &str, httpd: &Httpd, picture: &std::path::Path, is_dark: bool) -> String {
    let profile = httpd.root().join(format!("profile-{is_dark}"));
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--window-size=1100,2600",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
        ])
        .arg(format!(
            "--blink-settings=preferredColorScheme={}",
            if is_dark { 0 } else { 1 }
        ))
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(httpd.url("/groups"))
        .output()
        .expect("the browser can be run");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Draws the page in a browser, where there is one, in light and in dark, and
/// keeps the pictures in the directory that `WSGID_SCREENSHOTS` names.
#[test]
fn a_browser_shows_it_without_complaint() {
    case(Limit::seconds(120), || {
        let Some(browser) = ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .find(|name| Command::new(name).arg("--version").output().is_ok())
        else {
            return note("no chromium is installed, so nobody looks at the page");
        };
        let site = Site::new();
        let httpd = thirty_groups(&site);
        for path in [
            "/site-01/hello",
            "/site-02/hello",
            "/site-03/hello",
            "/slow",
        ] {
            (0..20).for_each(|_| assert_eq!(httpd.get(path).status, 200, "{path}"));
        }
        assert_eq!(
            (httpd.get("/broken/x").status, httpd.get("/fails").status),
            (503, 500)
        );
        eventually(
            "both workers of the group to be replaced",
            Duration::from_secs(20),
            || {
                let text = httpd.get("/groups?openmetrics").text();
                let line =
                    "wsgid_workers{group=\"replaced\",application_group=\"\",state=\"ready\"} 2";
                text.contains(line).then_some(())
            },
        );
        let text = std::fs::read_to_string(site.file("slow.py")).expect("it is there");
        site.write("slow.py.slow", "");
        site.write("slow.py", &format!("{text}# changed\n"));
        eventually("all states", Duration::from_secs(25), || {
            // A change is looked for now and then, not with every request.
            assert_eq!(httpd.get("/slow").status, 200);
            let page = httpd.get("/groups").text();
            let words = [
                "1 cannot start",
                "1 script failed",
                "1 replacing",
                " running",
                " idle",
            ];
            words.iter().all(|word| page.contains(word)).then_some(())
        });
        let kept = std::env::var_os("WSGID_SCREENSHOTS").map(std::path::PathBuf::from);
        let directory = kept.unwrap_or_else(|| httpd.root().to_path_buf());
        let pictures = ["light.png", "dark.png"].map(|name| directory.join(name));
        for (picture, is_dark) in pictures.iter().zip([false, true]) {
            let said = draw(browser, &httpd, picture, is_dark);
            assert!(
                std::fs::metadata(picture).is_ok_and(|file| file.len() > 20_000),
                "{said}"
            );
            assert!(!said.contains("CONSOLE"), "{said}");
        }
        let [light, dark] = pictures.map(|picture| std::fs::read(picture).expect("a picture"));
        assert_ne!(light, dark, "a dark page is another");
        httpd.stop();
    });
}
