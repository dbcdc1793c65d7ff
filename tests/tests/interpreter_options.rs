//! `<WSGIInterpreterOptions>`: for all, for a process group, for an application
//! group, for both; the most specific wins, directories add up. Asked of our
//! workers, and of mod_wsgi beside them.

use std::path::Path;

use serde_json::{Value, json};
use wsgid_tests::judge::{Allowed, judge};
use wsgid_tests::{Builder, Httpd, Limit, Python, Site, case};

/// What the options lead to.
const FACTS: &str = "\
import json, os, signal, sys
def reads():
    try:
        sys.stdin.read(1)
        return 'reads'
    except Exception:
        return 'raises'
def handles():
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    except ValueError:
        return 'not the main thread of the main interpreter'
    return signal.getsignal(signal.SIGHUP) is not before
SIGNALS = handles()
def application(environ, start_response):
    here = os.path.dirname(__file__)
    facts = {'interval': round(sys.getswitchinterval(), 4), 'stdin': reads(), 'signals': SIGNALS,
             'path': sorted(os.path.basename(name) for name in sys.path if name.startswith(here))}
    body = json.dumps(facts, sort_keys=True).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]
";

const CONFIGURATION: &str = "\
<WSGIInterpreterOptions process-group=one application-group=a>
  WSGIPythonPath $/one-a
  WSGISwitchInterval 0.04
  WSGIRestrictStdin On
</WSGIInterpreterOptions>
<WSGIInterpreterOptions>
  WSGIPythonPath $/all
  WSGISwitchInterval 0.01
  WSGIRestrictSignal Off
</WSGIInterpreterOptions>
<WSGIInterpreterOptions process-group=one>
  WSGIPythonPath $/one
  WSGISwitchInterval 0.02
  WSGIRestrictStdin Off
</WSGIInterpreterOptions>
<WSGIInterpreterOptions application-group=a>
  WSGIPythonPath $/a
  WSGISwitchInterval 0.03
</WSGIInterpreterOptions>
<WSGIInterpreterOptions process-group=three>
  WSGISwitchInterval 0.06
</WSGIInterpreterOptions>
<WSGIInterpreterOptions process-group=three application-group=a>
  WSGISwitchInterval 0.07
</WSGIInterpreterOptions>
<WSGIInterpreterOptions application-group=%{GLOBAL}>
  WSGIRestrictSignal On
</WSGIInterpreterOptions>
";

/// What may differ.
const ALLOWED: &[Allowed] = &[
    (
        "environ signals",
        "",
        "every application group has a main thread, so its handlers can be set",
    ),
    (
        "environ interval",
        "/one-a",
        "an application group has processes of its own, so it can have its own interval",
    ),
    ("environ interval", "/two-a", "the same"),
    // What mod_wsgi's main interpreter gets of the others' options is not the same at every start.
    (
        "~environ path",
        "/one-main",
        "mod_wsgi gives the main one also what is meant for others",
    ),
    ("~environ stdin", "/one-main", "the same"),
];

const MOUNTS: &[(&str, &str, &str)] = &[
    ("/one-a", "one", "a"),
    ("/one-b", "one", "b"),
    ("/one-main", "one", "%{GLOBAL}"),
    ("/two-a", "two", "a"),
    ("/two-b", "two", "b"),
    ("/three-a", "three", "a"),
    ("/three-b", "three", "b"),
];

fn configured(builder: Builder, site: &Site, venv: &Path) -> (Builder, u16) {
    let script = site.write("facts/facts.wsgi", FACTS);
    let directory = script
        .parent()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    for name in ["all", "one", "one-a", "a"] {
        site.write(&format!("facts/{name}/empty.py"), "");
    }
    let options = format!("processes=1 threads=2 python-home={}", venv.display());
    let builder = builder
        .daemon("one", &options)
        .daemon("two", &options)
        .daemon("three", &format!("{options} switch-interval=0.05"));
    let builder = MOUNTS
        .iter()
        .fold(builder, |builder, (path, group, application)| {
            builder.mount_with(
                path,
                &script,
                &format!("process-group={group} application-group={application}"),
            )
        });
    (builder.line(CONFIGURATION.replace('$', &directory)), 0)
}

fn facts(httpd: &Httpd, path: &str) -> Value {
    let answer = httpd.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

#[test]
fn the_most_specific_wins_and_directories_add_up() {
    case(Limit::default(), || {
        let site = Site::new();
        let (builder, _) = configured(Httpd::builder(), &site, &Python::any().home);
        let httpd = builder.start();
        for (path, interval, stdin, signals, directories) in [
            (
                "/one-a",
                0.04,
                "raises",
                true,
                vec!["a", "all", "one", "one-a"],
            ),
            ("/one-b", 0.02, "reads", true, vec!["all", "one"]),
            ("/one-main", 0.02, "reads", false, vec!["all", "one"]),
            ("/two-a", 0.03, "reads", true, vec!["a", "all"]),
            ("/two-b", 0.01, "reads", true, vec!["all"]),
            ("/three-a", 0.05, "reads", true, vec!["a", "all"]),
            ("/three-b", 0.05, "reads", true, vec!["all"]),
        ] {
            let expected = json!({ "interval": interval, "stdin": stdin, "signals": signals, "path": directories });
            assert_eq!(facts(&httpd, path), expected, "{path}");
        }
        httpd.stop();
    });
}

#[test]
fn mod_wsgi_understands_the_same() {
    judge(ALLOWED, configured, |pair| {
        for (path, _, _) in MOUNTS {
            pair.raw(
                path,
                &format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
            );
        }
        pair.stale()
    });
}
