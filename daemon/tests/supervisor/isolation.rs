//! Groups that are kept apart: what a supervisor makes for them and takes away again,
//! what it says where the kernel does not have it, and that stacks, preloaders and
//! another program get on with it. What it stops is in the suite `isolation`.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::{FromParent, FromWorker};
use wsgid_protocol::isolation::IsolationStatus;
use wsgid_protocol::status::{GroupStatus, Status};

use crate::reexec::reexec;
use crate::stand_in::{Answer, Httpd, group};
use crate::standalone::{ask, configured, started, wait};

/// Keeps a note in `/tmp`, and gives what was there.
const APP: &str = "
import os
def application(environ, start_response):
    note = ''
    if os.path.exists('/tmp/note'):
        with open('/tmp/note') as file:
            note = file.read()
    with open('/tmp/note', 'w') as file:
        file.write(note + 'x')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [note.encode()]
";

fn isolated(name: &str, script: &Path, preset: &str) -> GroupConfig {
    let mut config = group(name, script);
    config.set("isolation", preset).unwrap();
    config
}

fn status(httpd: &Httpd, group: &str) -> IsolationStatus {
    let status = httpd.status();
    let group = status.groups.into_iter().find(|one| one.name == group);
    group.and_then(|group| group.isolation).unwrap()
}

fn note(text: &str) -> Answer {
    Answer::Body(200, text.to_owned())
}

/// Directories of this supervisor, wherever it makes them.
fn directories(httpd: &Httpd) -> Vec<PathBuf> {
    let prefix = format!("wsgid-{}-", httpd.child.id());
    let bases = ["/var/tmp", "/dev/shm"].map(|base| Path::new(base).read_dir().unwrap());
    let entries = bases.into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    ours.map(|entry| entry.path()).collect()
}

/// Whether a process of this name is its child, also one that has ended.
fn has_child(name: &str, parent: u32) -> bool {
    let stats = Path::new("/proc").read_dir().unwrap().flatten();
    let mut stats = stats.filter_map(|one| std::fs::read_to_string(one.path().join("stat")).ok());
    stats.any(|stat| {
        let (named, rest) = stat.rsplit_once(')').unwrap();
        named.ends_with(&format!("({name}"))
            && rest.split_whitespace().nth(1) == Some(&parent.to_string())
    })
}

#[test]
fn temporary_files_belong_to_a_group_and_live_as_long() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    let both = || {
        vec![
            isolated("one", &script, "private"),
            isolated("two", &script, "private"),
        ]
    };
    httpd.configure(both());
    assert_eq!(httpd.get("one", &script, "/"), note(""));
    assert_eq!(httpd.get("one", &script, "/"), note("x"));
    assert_eq!(httpd.get("two", &script, "/"), note(""), "each has its own");
    assert_eq!(httpd.command("restart", "one"), 0);
    assert_eq!(
        httpd.get("one", &script, "/"),
        note("xx"),
        "workers come and go"
    );
    assert_eq!(reexec(&httpd).0, 0);
    assert_eq!(httpd.command("restart", "one"), 0);
    assert_eq!(
        httpd.get("one", &script, "/"),
        note("xxx"),
        "so do programs"
    );
    let made = directories(&httpd);
    assert_eq!(made.len(), 2, "{made:?}");
    for directory in &made {
        assert_eq!(directory.metadata().unwrap().mode() & 0o777, 0o700);
    }
    httpd.configure(vec![isolated("one", &script, "private")]);
    httpd.say(&FromParent::GenerationEnded(1));
    let two = made[0].join("two");
    httpd.wait("the directories of the group that has gone", |_| {
        !two.exists()
    });
    assert_eq!(httpd.get("one", &script, "/"), note("xxxx"));
    httpd.wait("the end of what has removed them", |httpd| {
        !has_child("rm", httpd.child.id())
    });
    drop(httpd);
    let mut tries = 0;
    while made.iter().any(|directory| directory.exists()) {
        std::thread::sleep(std::time::Duration::from_millis(20));
        tries += 1;
        assert!(tries < 500, "they stay: {made:?}");
    }
}

#[test]
fn stacks_and_forked_workers_come_out_of_it() {
    for preset in ["private", "strict"] {
        let mut httpd = Httpd::start();
        let script = httpd.script("app.py", APP);
        let mut config = isolated("site", &script, preset);
        config.set("isolation-fallback", "On").unwrap();
        config.set("preload", "On").unwrap();
        config.set("processes", "2").unwrap();
        httpd.configure(vec![config]);
        assert_eq!(httpd.get("site", &script, "/"), note(""), "{}", httpd.log());
        assert_eq!(httpd.command("dump", "site"), 0);
        let status = httpd.status();
        let pool = &status
            .groups
            .iter()
            .find(|one| one.name == "site")
            .unwrap()
            .pools[0];
        assert!(pool.preloader.is_some(), "{}", httpd.log());
        let in_force = self::status(&httpd, "site").in_force;
        assert!(in_force.contains(&"signals".to_owned()), "{in_force:?}");
        assert!(in_force.contains(&"private-tmp".to_owned()), "{in_force:?}");
    }
}

/// The program, started by this line of a shell.
fn wrapped(line: &str) -> (tempfile::TempDir, PathBuf) {
    let wrapper = tempfile::tempdir().unwrap();
    let program = wrapper.path().join("wsgid");
    std::fs::write(&program, format!("#!/bin/sh\n{line}\n")).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    (wrapper, program)
}

/// Root without the capability that name spaces and mounts need, as in most containers.
fn without_sys_admin() -> (tempfile::TempDir, PathBuf) {
    let program = crate::program();
    wrapped(&format!(
        "exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin {} \"$@\"",
        program.display()
    ))
}

#[test]
fn root_what_a_container_does_not_allow_is_said_or_refused() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let (_wrapper, program) = without_sys_admin();
    let mut httpd = Httpd::start_program(&program);
    let script = httpd.script("app.py", APP);
    let mut fallback = isolated("fallback", &script, "strict");
    fallback.set("isolation-fallback", "On").unwrap();
    fallback.set("private-tmp", "Off").unwrap();
    httpd.configure(vec![
        isolated("private", &script, "private"),
        isolated("strict", &script, "strict"),
        fallback,
    ]);
    assert!(matches!(
        httpd.get("private", &script, "/"),
        Answer::Body(200, _)
    ));
    assert!(matches!(
        httpd.get("fallback", &script, "/"),
        Answer::Body(200, _)
    ));
    assert!(matches!(
        httpd.get("strict", &script, "/"),
        Answer::Failed(..)
    ));
    let private = status(&httpd, "private");
    assert!(
        private.in_force.contains(&"signals".to_owned()),
        "{private:?}"
    );
    let missing = private
        .missing
        .iter()
        .find(|text| text.starts_with("private-tmp: "));
    let missing = missing.unwrap_or_else(|| panic!("{private:?}"));
    assert!(missing.contains("no mount name space"), "{missing}");
    httpd.wait("the lines", |httpd| {
        let log = httpd.log();
        log.contains("process group `private` (test:1) is not isolated as isolation=private says")
            && log.contains("isolation=strict: private-tmp cannot be had")
            && log.contains("isolation-fallback=On starts the site without it")
    });
}

#[test]
fn what_cannot_be_shown_is_named_with_its_option() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    let mut wrong = isolated("wrong", &script, "private");
    wrong.set("read-write-paths", "/nowhere/media").unwrap();
    let mut jailed = isolated("jailed", &script, "private");
    jailed.set("chroot", "/srv").unwrap();
    let other = isolated("other", &script, "private");
    httpd.configure(vec![wrong, jailed, other]);
    assert_eq!(
        httpd.get("other", &script, "/"),
        note(""),
        "{}",
        httpd.log()
    );
    assert!(matches!(
        httpd.get("wrong", &script, "/"),
        Answer::Failed(..)
    ));
    httpd.wait("the lines", |httpd| {
        let log = httpd.log();
        log.contains("read-write-paths= `/nowhere/media`: No such file or directory")
            && log.contains("chroot= and isolation exclude each other")
    });
}

/// A frame that a site's code writes to its own control socket.
fn frame(message: &FromWorker) -> Vec<u8> {
    let payload = wsgid_protocol::payload::encode(message).unwrap();
    let len = u32::try_from(payload.len()).unwrap();
    let head = wsgid_protocol::FrameHead::new(wsgid_protocol::Kind::Control, 0, len);
    [&head.encode()[..], &payload].concat()
}

#[test]
fn what_a_worker_says_it_has_loaded_opens_nothing() {
    let mut httpd = Httpd::start();
    let other = tempfile::tempdir_in("/var/tmp").unwrap();
    std::fs::set_permissions(other.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let secret = other.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let lie = frame(&FromWorker::Loaded {
        script: other.path().join("x.py"),
    });
    let text = format!(
        "import os\nos.write(3, bytes({lie:?}))\nsecret = os.path.exists({secret:?})\n\
         def application(environ, start_response):\n    start_response('200 OK', [])\n    \
         return [repr(secret).encode()]\n"
    );
    let script = httpd.script("liar.py", &text);
    httpd.configure(vec![isolated("liar", &script, "private")]);
    assert_eq!(httpd.get("liar", &script, "/"), note("False"));
    assert_eq!(httpd.command("restart", "liar"), 0);
    assert_eq!(
        httpd.get("liar", &script, "/"),
        note("False"),
        "{}",
        httpd.log()
    );
}

#[test]
fn root_the_shipped_unit_leaves_what_isolation_needs() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/systemd/wsgid.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    let bounds = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let names = bounds.unwrap().to_lowercase().replace("cap_", "+");
    // What this root itself does not have cannot be left to it.
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let names = if own.contains("CapBnd:\t000001fffeffffff") {
        names.replace(" +sys_resource", "")
    } else {
        names
    };
    let names = format!(
        "-all,{}",
        names.split_whitespace().collect::<Vec<_>>().join(",")
    );
    let program = format!(
        "exec setpriv --bounding-set={names} {} \"$@\"",
        crate::program().display()
    );
    let (_wrapper, program) = wrapped(&program);
    let mut httpd = Httpd::start_program(&program);
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![isolated("site", &script, "private")]);
    assert_eq!(httpd.get("site", &script, "/"), note(""), "{}", httpd.log());
    let status = status(&httpd, "site");
    assert_eq!(status.missing, Vec::<String>::new());
}

#[test]
fn what_a_worker_says_later_of_its_isolation_is_not_believed() {
    let mut httpd = Httpd::start();
    let frame = frame(&FromWorker::Isolated(
        wsgid_protocol::isolation::IsolationReport {
            in_force: vec!["everything".into()],
            missing: Vec::new(),
        },
    ));
    let text = format!("import os\nos.write(3, bytes({frame:?}))\n{APP}");
    let script = httpd.script("liar.py", &text);
    httpd.configure(vec![isolated("liar", &script, "private")]);
    assert_eq!(httpd.get("liar", &script, "/"), note(""), "{}", httpd.log());
    let status = status(&httpd, "liar");
    assert!(
        !status.in_force.contains(&"everything".to_owned()),
        "{status:?}"
    );
    assert!(
        status.in_force.contains(&"system-calls".to_owned()),
        "{status:?}"
    );
}

/// Worker processes of a group of a supervisor on its own.
fn workers(dir: &Path, group: &str) -> Vec<u32> {
    let (_, text) = ask(dir, &["status", "--json"]);
    let status: Status = serde_json::from_str(&text).unwrap();
    let group = status.groups.iter().find(|one| one.name == group);
    let workers = group.into_iter().flat_map(GroupStatus::workers);
    workers.map(|worker| worker.pid).collect()
}

#[test]
fn a_mistake_of_one_site_leaves_the_workers_of_others() {
    let temporary = configured(0o755, "def application(environ, start_response): pass\n");
    let dir = temporary.path().to_path_buf();
    // Neither lies beside the other.
    let home = |name: &str| {
        let home = dir.join("homes").join(name).join("home");
        std::fs::create_dir_all(&home).unwrap();
        std::fs::copy(dir.join("app.py"), home.join("app.py")).unwrap();
        home.display().to_string()
    };
    let site = |name: &str, home: &str, more: &str| {
        let text = format!(
            "[group.{name}]\nuser = '#{}'\nisolation = 'private'\nhome = '{home}'\n\
             scripts = ['{home}/app.py']\n{more}",
            crate::stand_in::nobody()
        );
        std::fs::write(dir.join(format!("sites/{name}.toml")), text).unwrap();
    };
    let (a, b) = (home("a"), home("b"));
    site("a", &a, "");
    site("b", &b, "");
    let _supervisor = started(temporary, &[]);
    wait("a worker of a", || {
        ask(&dir, &["status"]).1.matches(" ready ").count() == 2
    });
    let before = workers(&dir, "a");
    assert_eq!(before.len(), 1);
    site("b", &b, "thread = 4\n");
    let (code, said) = ask(&dir, &["reload"]);
    assert!(code == 7 && said.contains("`threads`"), "{code} {said}");
    assert_eq!(workers(&dir, "a"), before, "b stays where it was");
    site("b", &b, "");
    assert_eq!(ask(&dir, &["reload"]).0, 0);
    assert_eq!(workers(&dir, "a"), before);
    // What counts is where others are.
    let c = home("c");
    site("b", &c, "");
    assert_eq!(ask(&dir, &["reload"]).0, 0);
    wait("another worker of a", || {
        let now = workers(&dir, "a");
        now.len() == 1 && now != before
    });
}
