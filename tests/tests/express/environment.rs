//! The environment of the application, its services, and how its start is told.

use std::time::Duration;

use wsgid_tests::{Express, Limit, Site, case, eventually};

#[test]
fn values_reach_the_application_as_they_are() {
    case(Limit::default(), || {
        let site = Site::new();
        let key = "-----BEGIN KEY-----\n\"quoted\" it's \\n not a break\nend";
        let mut server = Express::new()
            .path(&site.file("probe.py"))
            .args(&["--python-path"])
            .path(site.path())
            .args(&["--setenv", "FROM_SETENV", "a \"b\" c", "--passenv", "PLAIN"])
            .env("PLAIN", " plain ")
            .env("PRIVATE_KEY", key)
            .start();
        let environment = server.get("/info").json()["environment"].clone();
        assert_eq!(environment["PRIVATE_KEY"], key);
        assert_eq!(environment["PLAIN"], " plain ");
        assert_eq!(environment["MOD_WSGI_EXPRESS"], "true");
        let environ = server.get("/environ").json();
        assert_eq!(environ["FROM_SETENV"], "a \"b\" c");
        let output = server.stop();
        assert!(!output.contains("left out"), "{output}");
        let left: Vec<_> = std::fs::read_dir(server.root())
            .expect("it is there")
            .flatten()
            .collect();
        assert!(
            left.iter()
                .all(|entry| !entry.file_name().to_string_lossy().starts_with("wsgi.")),
            "{left:?}"
        );
    });
}

#[test]
fn services_run_beside_the_application() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write(
            "tick.py",
            "import os, sys, time\n\
             print('the service is', os.getuid(), file=sys.stderr, flush=True)\n\
             while True:\n    time.sleep(0.2)\n",
        );
        let log = site.file("service.log");
        let mut server = Express::new()
            .path(&site.file("hello.py"))
            .args(&["--service-script", "tick"])
            .path(&script)
            .args(&["--service-script", "logged"])
            .path(&script)
            .args(&["--service-log-file", "logged"])
            .path(&log)
            .start();
        assert_eq!(server.get("/").text(), "Hello World!");
        eventually("both services", Duration::from_secs(20), || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            (text.contains("the service is") && server.error_log().contains("the service is"))
                .then_some(())
        });
        server.stop();
    });
}

#[test]
fn a_slow_start_is_told() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write(
            "slow.py",
            "import time\n\
             time.sleep(4.5)\n\
             def application(environ, start_response):\n\
             \x20   start_response('200 OK', [('Content-Type', 'text/plain')])\n\
             \x20   return [b'at last']\n",
        );
        let mut server = Express::new().path(&script).start();
        assert_eq!(server.get("/").text(), "at last");
        eventually("the last word", Duration::from_secs(5), || {
            server.output().contains("ready at").then_some(())
        });
        let output = server.stop();
        assert!(output.contains("still loading (3 s)"), "{output}");
    });
}

#[test]
fn an_application_that_does_not_load_is_told() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("broken_import.py", "import no_such_module_anywhere\n");
        let mut server = Express::new()
            .path(&script)
            .args(&["--startup-log", "--keep-going"])
            .start();
        assert_eq!(server.get("/").status, 500);
        eventually("the word", Duration::from_secs(10), || {
            server.output().contains("failed to load").then_some(())
        });
        assert!(server.error_log().contains("no_such_module_anywhere"));
        server.stop();
    });
}

#[test]
fn what_httpd_does_not_take_is_shown() {
    case(Limit::default(), || {
        let site = Site::new();
        let own = site.write("own.conf", "NoSuchDirective yes\n");
        let text = Express::new()
            .path(&site.file("hello.py"))
            .args(&["--include-file"])
            .path(&own)
            .refused();
        for word in ["NoSuchDirective", "own.conf", "exit code 1"] {
            assert!(text.contains(word), "no `{word}` in: {text}");
        }
    });
}
