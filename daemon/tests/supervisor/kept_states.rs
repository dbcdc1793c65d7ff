//! `wsgid reexec` between releases: a state with less or more in it than the program
//! that takes over would have written.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::reexec::{body, copy, reexec};
use crate::releases::{APP, newer};
use crate::stand_in::{Httpd, group};

/// Puts a program in the place of `wsgid` that changes the state on its way to
/// the real one.
struct Changing {
    place: tempfile::TempDir,
    program: PathBuf,
}

impl Changing {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("real")).unwrap();
        copy(&place.path().join("real"));
        let program = copy(place.path());
        Self { place, program }
    }

    /// `change` is Python and has the state in `state`, and `objects`: all objects in it.
    fn change(&self, change: &str) {
        let text = format!(
            "#!/usr/bin/env python3
import json, os, sys
arguments = sys.argv[1:]
number = int(arguments[arguments.index('--resume') + 1])
with open('/proc/self/fd/%d' % number) as file: state = json.load(file)
objects = []
def walk(value):
    if isinstance(value, dict):
        objects.append(value)
        for each in list(value.values()): walk(each)
    elif isinstance(value, list):
        for each in value: walk(each)
walk(state)
machines = [pool['machine'] for pool in state['pools']]
members = [member for machine in machines for member in machine['members'].values()]
{change}
changed = os.memfd_create('state')
os.write(changed, json.dumps(state).encode())
os.lseek(changed, 0, 0)
os.dup2(changed, number, inheritable=True)
os.execv('{}', ['wsgid'] + arguments)
",
            self.place.path().join("real/wsgid").display()
        );
        let staged = self.place.path().join("staged");
        std::fs::write(&staged, text).unwrap();
        std::fs::set_permissions(&staged, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(staged, &self.program).unwrap();
    }
}

/// What the release before may not have written. Each time the same workers serve
/// on, through connections that were there and through new ones.
#[test]
fn a_state_with_less_or_more_in_it_loses_no_worker_and_no_connection() {
    let changes = [
        "for each in objects:\n  if each and all(name.islower() and '/' not in name and name[-4:] != 'secs' for name in each): each['hover'] = [1, {'a': 2}]",
        "del state['version'], state['readable_by']",
        "del state['last_pool'], state['last_connection'], state['started'], state['files'], state['log']",
        "for worker in state['workers']: del worker['report'], worker['active_at'], worker['started'], worker['failed']",
        "for group in state['groups']: del group['definition']['server'], group['definition']['httpd_uid']",
        "for group in state['groups']: del group['definition']",
        "for group in state['groups']: del group['pools'], group['stopped'], group['removed']",
        "for pool in state['pools']: del pool['scripts'], pool['callables'], pool['causes'], pool['refusing']",
        "for machine in machines: del machine['target'], machine['ids'], machine['generations'], machine['backoff']",
        "for machine in machines: del machine['current'], machine['mode'], machine['waiting'], machine['refusing']",
        "for member in members: del member['phase'], member['slot'], member['definition'], member['failed']",
        "for member in members: del member['generation']",
        "for member in members: del member['phase']['Ready']['since']",
        "state['events'].append([1, {'Levitates': {}}]); state['messages'].append([{'Hover': 1}, []])",
    ];
    let changing = Changing::new();
    let mut httpd = Httpd::start_program(&changing.program);
    let script = httpd.script("app.py", APP);
    let mut config = group("site", &script);
    config.set("request-timeout", "61").unwrap();
    httpd.configure(vec![config]);
    let mut connection = httpd.connect("site", 1, &script, "/");
    let pid = body(connection.answer());
    for change in changes {
        changing.change(change);
        let mut slow = httpd.connect("site", 2, &script, "/slow");
        httpd.wait("the request runs", |httpd| httpd.in_flight() == 1);
        let (code, text) = reexec(&httpd);
        assert_eq!(code, 0, "{change}: {text}\n{}", httpd.log());
        connection.request(&script, "/").unwrap();
        assert_eq!(body(connection.answer()), pid, "{change}\n{}", httpd.log());
        assert_eq!(body(slow.answer()), pid, "{change}\n{}", httpd.log());
        assert_eq!(
            body(httpd.get("site", &script, "/")),
            pid,
            "{change}\n{}",
            httpd.log()
        );
        // The next one starts with the program as it was.
        copy(changing.place.path());
        assert_eq!(reexec(&httpd).0, 0, "{change}\n{}", httpd.log());
    }
    assert_eq!(httpd.command("restart", "site"), 0);
    httpd.wait("another worker", |httpd| {
        body(httpd.get("site", &script, "/")) != pid
    });
}

/// Its workers cannot be told from strangers: they finish what they have.
#[test]
fn a_state_without_a_pools_workers_breaks_no_request_off() {
    let changing = Changing::new();
    let mut httpd = Httpd::start_program(&changing.program);
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    let pid = body(httpd.get("site", &script, "/"));
    changing.change("for machine in machines: machine['members'] = {}");
    let mut slow = httpd.connect("site", 2, &script, "/slow");
    httpd.wait("the request runs", |httpd| httpd.in_flight() == 1);
    let (code, text) = reexec(&httpd);
    assert_eq!(code, 0, "{text}\n{}", httpd.log());
    assert_ne!(
        body(httpd.get("site", &script, "/")),
        pid,
        "a new worker serves"
    );
    assert_eq!(body(slow.answer()), pid, "{}", httpd.log());
    httpd.wait("it ends", |_| !Path::new(&format!("/proc/{pid}")).exists());
}

/// An upgrade taken back: what an option of the newer release asked for is not
/// silently dropped for new workers, and nothing happens to those that serve.
#[test]
fn a_state_with_an_option_that_nobody_knows_starts_no_new_worker() {
    let changing = Changing::new();
    let mut httpd = Httpd::start_program(&changing.program);
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script), group("other", &script)]);
    let pid = body(httpd.get("site", &script, "/"));
    let others = body(httpd.get("other", &script, "/"));
    changing.change(
        "for each in objects:
    if each.get('name') == 'site' and 'options' in each: each['options'].append(['hover-height', '9 cm'])",
    );
    assert_eq!(reexec(&httpd).0, 0, "{}", httpd.log());
    assert!(
        httpd.log().contains("unknown option `hover-height`"),
        "{}",
        httpd.log()
    );
    assert_eq!(body(httpd.get("site", &script, "/")), pid);
    assert_eq!(httpd.command("restart", "site"), 9);
    assert_eq!(httpd.command("restart", "other"), 0);
    httpd.wait("another worker", |httpd| {
        body(httpd.get("other", &script, "/")) != others
    });
    assert_eq!(body(httpd.get("site", &script, "/")), pid, "it serves on");
    httpd.configure(vec![group("site", &script), group("other", &script)]);
    httpd.wait("all is well", |httpd| {
        body(httpd.get("site", &script, "/")) != pid
    });
}

#[test]
fn a_state_that_must_not_be_read_changes_nothing() {
    let changing = Changing::new();
    let mut httpd = Httpd::start_program(&changing.program);
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    let pid = body(httpd.get("site", &script, "/"));
    for (change, words) in [
        ("state['readable_by'] = 99", "version 99 or later"),
        ("del state['listener']", "no listening socket"),
    ] {
        changing.change(change);
        let (code, text) = reexec(&httpd);
        assert_eq!(code, 1, "{text}");
        assert!(httpd.log().contains(words), "{}", httpd.log());
        assert_eq!(body(httpd.get("site", &script, "/")), pid);
    }
}

/// The state that this release writes, as `daemon/tests/states/` has it:
/// `UPDATE_STATES=1` writes the file if there is none.
#[test]
fn the_state_that_is_pinned_is_written_by_the_program() {
    let changing = Changing::new();
    let mut httpd = Httpd::start_program(&changing.program);
    let script = httpd.script("app.py", APP);
    let loading = httpd.script(
        "loading.py",
        "import time; time.sleep(3)\nfrom app import application\n",
    );
    let mut site = group("site", &script);
    for (name, value) in [
        ("processes", "2"),
        ("env", "A=B"),
        ("request-timeout", "61"),
        ("maximum-requests", "1000"),
    ] {
        site.set(name, value).unwrap();
    }
    httpd.configure(vec![
        site,
        group("loading", &loading),
        newer(group("newer", &script)),
    ]);
    httpd.wait("two ready workers", |httpd| {
        httpd.workers("ready").len() >= 2
    });
    let mut idle = httpd.connect("site", 1, &script, "/");
    body(idle.answer());
    let mut slow = httpd.connect("site", 2, &script, "/slow");
    let mut held = httpd.connect("loading", 3, &loading, "/");
    httpd.wait("the request runs", |httpd| {
        httpd.status_json().to_string().contains("\"in_flight\":1")
    });
    let written = changing.place.path().join("state.json");
    changing.change(&format!(
        "open('{}', 'w').write(json.dumps(state, indent=1, sort_keys=True))",
        written.display()
    ));
    assert_eq!(reexec(&httpd).0, 0, "{}", httpd.log());
    body(slow.answer());
    let _ = held.answer();
    let pinned = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/states")
        .join(concat!(
            env!("CARGO_PKG_VERSION_MAJOR"),
            ".",
            env!("CARGO_PKG_VERSION_MINOR"),
            ".json"
        ));
    if std::env::var_os("UPDATE_STATES").is_some() && !pinned.exists() {
        std::fs::create_dir_all(pinned.parent().unwrap()).unwrap();
        std::fs::copy(&written, &pinned).unwrap();
    }
    let read = |path: &Path| {
        serde_json::from_slice::<serde_json::Value>(&std::fs::read(path).unwrap()).unwrap()
    };
    let (written, pinned) = (read(&written), read(&pinned));
    for field in pinned.as_object().unwrap().keys() {
        assert!(
            written.get(field).is_some(),
            "`{field}` is not written any more: programs of this release look for it"
        );
    }
}
