//! What a worker has, row by row, as the kernel shows it: whatever is not
//! listed here must not be there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use wsgid_tests::{Httpd, Limit, Pid, Site, TestUser, case, users};

const NO_WAY_BACK: &str = "
import json, os, signal
def prefers_itself():
    try:
        for score in '0', '100':
            with open('/proc/self/oom_score_adj', 'w') as file:
                file.write(score)
        return 'oom_score_adj'
    except PermissionError:
        return None
def tried(what, *args):
    try:
        getattr(os, what)(*args)
        return what
    except PermissionError:
        return None
def application(environ, start_response):
    ways = [tried('setuid', 0), tried('setgid', 0), tried('setgroups', [0]), tried('setresuid', 0, 0, 0),
            tried('chroot', '/'), tried('kill', os.getppid(), 0), tried('nice', -5), prefers_itself()]
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps([way for way in ways if way]).encode()]
";

/// The value of a row of `/proc/<pid>/status`.
fn row(status: &str, name: &str) -> String {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value
        .unwrap_or_else(|| panic!("no {name} in {status}"))
        .trim()
        .to_owned()
}

/// What httpd runs as root, and where root makes its socket, must not be anybody
/// else's: not the program, not what every worker loads, not a directory above.
#[test]
fn root_a_program_or_socket_directory_of_another_user_is_not_used() {
    case(Limit::seconds(60), || {
        let Some(users) = users::three() else { return };
        let site = Site::new();
        let theirs = Site::of(&users[0]);
        let ran = site.file("ran");
        let program = theirs.write("wsgid", &format!("#!/bin/sh\ntouch {}\n", ran.display()));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let above = theirs.path().join("roots");
        fs::create_dir(&above).expect("a directory can be made");
        for (line, told) in [
            (
                format!("WSGISupervisorExecutable {}", program.display()),
                "as root, and others could replace it",
            ),
            (
                format!("WSGISocketPrefix {}/wsgi", above.display()),
                "cannot be below a directory in other hands",
            ),
        ] {
            let httpd = Httpd::builder()
                .line(&line)
                .daemon("site", "threads=1")
                .mount("/", &site.file("hello.py"), "site");
            let httpd = httpd.start();
            assert_eq!(httpd.get("/").status, 503, "{line}");
            let owner = format!("belongs to uid {}", users[0].uid);
            let log = httpd.error_log();
            let said = log.lines().any(|text| {
                text.contains("WSGID0020") && text.contains(told) && text.contains(&owner)
            });
            assert!(said, "{line}: {log}");
            httpd.stop();
        }
        assert!(!ran.exists(), "root ran a program of another user");
        assert_eq!(
            fs::read_dir(&above).expect("it is there").count(),
            0,
            "root made something there"
        );

        let mut builder =
            Httpd::builder()
                .daemon("site", "threads=1")
                .mount("/", &site.file("hello.py"), "site");
        let extension = builder.copied_artifacts().join("libwsgid_worker.so");
        users::give(&extension, &users[0]);
        let httpd = builder.start();
        assert_eq!(httpd.get("/").status, 503);
        httpd.wait_for_log(
            "the worker extension is not used",
            std::time::Duration::from_secs(10),
        );
        httpd.stop();
    });
}

/// Below `chroot=` everything may be the site's, /proc too: root neither waits for
/// it nor writes through it.
#[test]
fn root_a_jail_with_files_of_the_sites_own_for_proc_traps_nobody() {
    case(Limit::seconds(60), || {
        let Some(users) = users::three() else { return };
        let user = &users[0];
        let site = Site::of(user);
        let jail = |name: &str| {
            let root = site.path().join(name);
            fs::create_dir_all(root.join("proc/self")).expect("a directory can be made");
            root
        };
        let trap = jail("fifo").join("proc/self/oom_score_adj");
        nix::unistd::mkfifo(&trap, nix::sys::stat::Mode::from_bits_truncate(0o666))
            .expect("a FIFO can be made");
        // As a file of root's that the site's directory holds, a package's for instance.
        let secret = jail("link").join("secret");
        let link = jail("link").join("proc/self/oom_score_adj");
        users::give(site.path(), user);
        std::os::unix::fs::symlink("/secret", link).expect("a link can be made");
        fs::write(&secret, "5").expect("a file can be written");
        let mut builder = Httpd::builder();
        for name in ["fifo", "link"] {
            let options = format!(
                "threads=1 restart-burst=2 startup-timeout=5 user={} group={} chroot={}",
                user.name,
                user.group,
                site.path().join(name).display()
            );
            builder = builder.daemon(name, &options).mount(
                &format!("/{name}"),
                &site.file("hello.py"),
                name,
            );
        }
        let httpd = builder.start();
        for name in ["fifo", "link"] {
            assert_eq!(
                httpd.get(&format!("/{name}")).status,
                503,
                "there is no Python in it"
            );
            let said = format!("[group {name}] WSGID0247: no `python3` on");
            httpd.wait_for_log(&said, std::time::Duration::from_secs(10));
        }
        assert_eq!(
            fs::read_to_string(&secret).expect("it is there"),
            "5",
            "root wrote through the link"
        );
        httpd.stop();
    });
}

#[test]
fn root_a_worker_has_what_is_listed_and_nothing_else() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let user = &users[0];
        let site = Site::of(user);
        let script = site.write("app.py", NO_WAY_BACK);
        // Many other groups: whatever the supervisor holds for them stays with it.
        let mut builder = Httpd::builder();
        for number in 0..8 {
            let name = format!("other{number}");
            builder = builder.daemon(&name, "threads=1").mount(
                &format!("/{name}"),
                &site.file("hello.py"),
                &name,
            );
        }
        let options = format!(
            "threads=2 user={} group={} {}",
            user.name,
            user.group,
            site.python_path()
        );
        let httpd = builder
            .daemon("site", &options)
            .mount("/", &script, "site")
            .start();
        // Root in a container may not have what makes a bound of its choice.
        let own = fs::read_to_string("/proc/self/status").expect("this process runs");
        let resources =
            u64::from_str_radix(&row(&own, "CapEff"), 16).expect("a mask") >> 24 & 1 == 1;
        let open = if resources {
            "[]"
        } else {
            "[\"oom_score_adj\"]"
        };
        assert_eq!(
            httpd.get("/").text(),
            open,
            "ways back, or to other processes"
        );
        let workers = httpd.workers();
        let worker = workers.iter().find(|worker| {
            worker
                .identity()
                .is_some_and(|who| who.uids == [user.uid; 4])
        });
        let worker = worker.expect("a worker of the user");
        assert_is_only(*worker, user);
        assert_descriptors(*worker);
        assert_limits(*worker);
        let oom =
            fs::read_to_string(format!("/proc/{}/oom_score_adj", worker.number)).expect("it runs");
        assert_eq!(oom.trim(), "100", "it ends before httpd does");
        httpd.stop();
    });
}

/// Its ids, capabilities, signals, group and terminal.
fn assert_is_only(worker: Pid, user: &TestUser) {
    let status = fs::read_to_string(format!("/proc/{}/status", worker.number)).expect("it runs");
    for (name, value) in [
        ("Uid", format!("{0}\t{0}\t{0}\t{0}", user.uid)),
        ("Gid", format!("{0}\t{0}\t{0}\t{0}", user.gid)),
        ("Groups", user.gid.to_string()),
        ("NoNewPrivs", "1".to_owned()),
        ("Umask", "0022".to_owned()),
        ("TracerPid", "0".to_owned()),
    ] {
        assert_eq!(row(&status, name), value, "{name}");
    }
    for name in ["CapInh", "CapPrm", "CapEff", "CapAmb", "SigBlk"] {
        assert_eq!(
            u64::from_str_radix(&row(&status, name), 16),
            Ok(0),
            "{name}"
        );
    }
    // Python itself ignores SIGPIPE and SIGXFSZ; nothing else is inherited.
    let ignored = u64::from_str_radix(&row(&status, "SigIgn"), 16).expect("a mask");
    assert_eq!(ignored & !(1 << 12 | 1 << 24), 0, "{ignored:x}");
    let stat = fs::read_to_string(format!("/proc/{}/stat", worker.number)).expect("it runs");
    let fields: Vec<&str> = stat
        .rsplit_once(") ")
        .expect("a name")
        .1
        .split(' ')
        .collect();
    let group = fields[2];
    let terminal = fields[4];
    assert_eq!(
        (group, terminal),
        (worker.number.to_string().as_str(), "0"),
        "a group of its own, no terminal"
    );
}

fn assert_descriptors(worker: Pid) {
    let descriptors = worker.descriptors();
    // A pipe that it has both ends of is its own.
    let own_pipe = |what: &str| descriptors.values().filter(|other| *other == what).count() >= 2;
    for (number, what) in &descriptors {
        let expected = match number {
            0 => what == "/dev/null",
            1 | 2 => what.starts_with("pipe:"),
            3 => what.starts_with("socket:"),
            // Its connections, and what it waits with.
            _ => {
                let kinds = [
                    "socket:",
                    "anon_inode:[eventpoll]",
                    "anon_inode:[eventfd]",
                    "anon_inode:inotify",
                ];
                kinds.iter().any(|kind| what.starts_with(kind)) || own_pipe(what)
            }
        };
        assert!(expected, "descriptor {number} is {what}: {descriptors:?}");
    }
}

fn assert_limits(worker: Pid) {
    let limits = fs::read_to_string(format!("/proc/{}/limits", worker.number)).expect("it runs");
    let own = fs::read_to_string("/proc/self/limits").expect("this process runs");
    // A worker holds as many connections as its supervisor hands out.
    let asked_for = |line: &str| line.starts_with("Max open files");
    let differing: Vec<_> = limits
        .lines()
        .zip(own.lines())
        .filter(|(its, own)| its != own && !asked_for(its))
        .collect();
    assert!(
        differing.is_empty(),
        "limits nobody asked for: {differing:?}"
    );
}
