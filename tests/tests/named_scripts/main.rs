//! A group runs what the configuration names for it, and nothing else: asked by
//! clients for what it names in every way, and by a child of httpd that was taken
//! over for everything else.

mod forms;
mod script;
mod site_files;
mod taken_over;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use wsgid_tests::{Httpd, Limit, Site, case};

use crate::script::{SCRIPT, marking};

/// What a worker says it had to load for a request is its own word: the next
/// generation loads beforehand only what is named.
#[test]
fn a_script_that_is_no_longer_named_is_not_loaded_beforehand() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let mark = site.path().join("marks");
        fs::create_dir(&mark).expect("a directory can be made");
        fs::set_permissions(&mark, fs::Permissions::from_mode(0o777)).expect("it is ours");
        let mark = mark.join("executed");
        site.write("app.py", SCRIPT);
        let late = site.write("scripts/late.py", &marking(&mark));
        let directory = late.parent().expect("it is in one").display().to_string();
        let mut httpd = Httpd::builder()
            .daemon("site", "processes=1 threads=2")
            .mount("/app", &site.file("app.py"), "site")
            .line(format!("WSGIScriptAlias /late/ {directory}/ process-group=site application-group=%{{GLOBAL}}"))
            .start();
        assert_eq!(httpd.get("/late/late.py").status, 200);
        let executed =
            || fs::read_to_string(&mark).map_or(0, |text| text.split_whitespace().count());
        assert_eq!(executed(), 1);
        httpd.configure(|lines| lines.retain(|line| !line.contains("/late/")));
        httpd.graceful();
        // Another generation, whose scripts are loaded before it serves.
        site.write("app.py", &format!("{SCRIPT}\n"));
        wsgid_tests::eventually("the next generation", Duration::from_secs(20), || {
            assert_eq!(httpd.get("/app").status, 200);
            let log = httpd.error_log();
            (log.matches("is ready after").count() >= 2).then_some(())
        });
        assert_eq!((httpd.get("/app").status, executed()), (200, 1));
        httpd.stop();
    });
}

/// `WSGIScriptAlias /api …/wsgi.py/api`: what stands behind the script is the front of
/// PATH_INFO, for loading it beforehand and for what may run as well.
#[test]
fn a_target_may_go_on_behind_the_script() {
    const PATHS: &str = "\
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [('%s|%s' % (environ['SCRIPT_NAME'], environ['PATH_INFO'])).encode()]
";
    case(Limit::seconds(60), || {
        let site = Site::new();
        for name in ["own/a.py", "files/b.py", "docs/c.py"] {
            site.write(name, PATHS);
        }
        site.write("docs/.htaccess", "");
        let root = site.path().display();
        let httpd = Httpd::builder()
            .daemon("site", "processes=1 threads=2")
            .line(format!(
                "WSGIScriptAlias /own {root}/own/a.py/api process-group=site application-group=%{{GLOBAL}}\n\
                 WSGIScriptAlias /files {root}/files/b.py/v1/x application-group=%{{GLOBAL}}\n\
                 WSGIScriptAlias /docs {root}/docs/c.py/api application-group=%{{GLOBAL}}\n\
                 <Files b.py>\nWSGIProcessGroup site\n</Files>\n\
                 <Directory {root}>\nAllowOverride All\nRequire all granted\n</Directory>"
            ))
            .start();
        httpd.wait_for_log("is ready after", Duration::from_secs(20));
        for (path, expected) in [
            ("/own/x", "|/api/x"),
            ("/own", "|/api"),
            ("/files/y", "|/v1/x/y"),
            ("/docs/z", "|/api/z"),
        ] {
            let answer = httpd.get(path);
            let text = answer.text();
            assert_eq!(answer.status, 200, "{path}: {text}\n{}", httpd.error_log());
            assert!(text.ends_with(expected), "{path}: {text}");
        }
        let log = httpd.error_log();
        assert!(!log.contains(":error]"), "{log}");
        let causes: Vec<_> = httpd
            .pools()
            .into_iter()
            .map(|pool| (pool.cause, pool.last_problem))
            .collect();
        assert!(
            causes.iter().all(|both| *both == (None, None)),
            "{causes:?}"
        );
        httpd.stop();
    });
}

/// A reload that names another script, or another file for the same URL, costs no
/// request: the workers that are there know of it before children of httpd ask.
#[test]
fn a_script_that_a_reload_adds_runs_at_once() {
    for preload in ["Off", "On"] {
        case(Limit::seconds(60), move || {
            let site = Site::new();
            let slow = format!("import time\ntime.sleep(3)\n{SCRIPT}");
            for name in ["one.py", "two.py"] {
                site.write(name, &slow);
            }
            let mount = |url: &str, name: &str| {
                let file = site.file(name);
                format!(
                    "WSGIScriptAlias {url} {} process-group=site application-group=%{{GLOBAL}}",
                    file.display()
                )
            };
            let mut httpd = Httpd::builder()
                .daemon("site", &format!("processes=1 threads=2 preload={preload}"))
                .line(format!(
                    "<Directory {}>\nRequire all granted\n</Directory>",
                    site.path().display()
                ))
                .line(mount("/one", "one.py"))
                .start();
            assert_eq!(httpd.get("/one").status, 200);
            httpd.configure(|lines| lines.push(mount("/two", "two.py")));
            httpd.graceful();
            wsgid_tests::eventually("the new configuration", Duration::from_secs(20), || {
                let status = httpd.get("/two").status;
                assert!(
                    status == 200 || status == 404,
                    "{status}: {}",
                    httpd.error_log()
                );
                (status == 200).then_some(())
            });
            assert_eq!(httpd.get("/one").status, 200);
            httpd.stop();
        });
    }
}

/// What no directive names is refused to clients too, and the line in the log says
/// what to do; with that done it runs.
#[test]
fn script_directories_name_what_nothing_else_does() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        site.write("scripts/app.py", SCRIPT);
        site.write("elsewhere/app.py", SCRIPT);
        symlink(site.file("elsewhere"), site.file("scripts/link")).expect("a link can be made");
        let alias = format!(
            "WSGIScriptAlias /x/ {}/ process-group=site",
            site.file("scripts").display()
        );
        let line = format!(
            "<Directory {}>\n  Require all granted\n</Directory>",
            site.path().display()
        );
        let mut httpd = Httpd::builder()
            .daemon("site", "processes=1 threads=2")
            .line(alias)
            .line(line)
            .start();
        assert_eq!(httpd.get("/x/app.py").status, 200);
        assert_eq!(httpd.get("/x/link/app.py").status, 500);
        let told = httpd.wait_for_log("WSGID0103", Duration::from_secs(5));
        assert!(
            told.contains("`site`")
                && told.contains("link/app.py")
                && told.contains("script-directories="),
            "{told}"
        );
        let elsewhere = site.file("elsewhere").display().to_string();
        httpd.configure(|lines| {
            for line in lines
                .iter_mut()
                .filter(|line| line.starts_with("WSGIDaemonProcess"))
            {
                line.push_str(&format!(" script-directories=/nowhere:{elsewhere}"));
            }
        });
        httpd.graceful();
        wsgid_tests::eventually(
            "the directory that was added",
            Duration::from_secs(20),
            || (httpd.get("/x/link/app.py").status == 200).then_some(()),
        );
        httpd.stop();
    });
}
