//! `reload_required(resource)` of an ordinary script: what it is asked, and what its
//! answer does, beside mod_wsgi.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use wsgid_tests::{Httpd, Limit, Site, case, peer};

/// Notes what it was asked in a file beside it; wants to be loaded again when a file
/// says so.
const ASKS: &str = r#"
import os
NOTES = __file__ + ".notes"
def note(text):
    with open(NOTES, "a") as file:
        file.write(text + "\n")
note("loaded")
def reload_required(resource):
    note("asked %s %s" % (type(resource).__name__, resource == __file__))
    try:
        with open(__file__ + ".want") as file:
            want = file.read()
    except OSError:
        return False
    if want == "raise":
        raise LookupError("reload_required fails")
    return want == "yes"
def application(environ, start_response):
    note("served")
    start_response("200 OK", [])
    return [b"ok"]
"#;

/// What a script notes for requests with these wishes before them.
fn notes(peer: Option<PathBuf>, options: &str) -> (String, String) {
    let site = Site::new();
    let script = site.write("asks.py", ASKS);
    let _ = fs::set_permissions(site.path(), fs::Permissions::from_mode(0o777));
    let mut builder = Httpd::builder();
    if let Some(peer) = peer {
        builder = builder.peer(peer);
    }
    let httpd = builder
        .daemon("site", &format!("processes=1 threads=1 {options}"))
        // By its directory, so that neither loads it before the first request.
        .line(format!(
            "WSGIScriptAlias /d/ {}/ process-group=site application-group=%{{GLOBAL}}\n\
             <Directory {}>\n  Require all granted\n</Directory>",
            site.path().display(),
            site.path().display()
        ))
        .start();
    for wish in [
        None,
        None,
        Some("raise"),
        Some("no"),
        Some("yes"),
        Some("no"),
    ] {
        if let Some(wish) = wish {
            site.write("asks.py.want", wish);
        }
        assert_eq!(httpd.get("/d/asks.py").text(), "ok");
    }
    let log = httpd.error_log();
    httpd.stop();
    let notes = format!("{}.notes", script.display());
    (fs::read_to_string(notes).expect("it was loaded"), log)
}

#[test]
fn a_script_says_itself_that_it_is_to_be_loaded_again() {
    case(Limit::seconds(240), || {
        let (ours, log) = notes(None, "reload-wait=60");
        assert!(log.contains("reload_required fails"), "{log}");
        let asked = "asked str True\nserved\n";
        let expected =
            format!("loaded\nserved\n{asked}{asked}{asked}asked str True\nloaded\nserved\n");
        // The new process may have loaded it before the request came.
        let begins = ours.starts_with(&expected);
        assert!(begins, "{ours}");
        if let Some((_, module)) = peer::peer() {
            let (theirs, log) = notes(Some(module), "");
            assert!(log.contains("reload_required fails"), "{log}");
            assert_eq!(ours, theirs);
        }
    });
}
