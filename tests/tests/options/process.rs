//! What a process gets from its options: user, groups, limits, environment, root directory.

use std::fs;
use std::process::Command;

use wsgid_tests::{Httpd, Limit, Site, artifacts, case, eventually, users};

use crate::server::{SOON, limit, pid, proc_file, serve};

#[test]
fn limits_priority_and_umask_are_the_kernels() {
    case(Limit::default(), || {
        let (_site, httpd) = serve(
            "threads=2 memory-limit=536870912 virtual-memory-limit=2147483648 cpu-time-limit=100 shutdown-timeout=5 \
             cpu-priority=7 umask=0077 stack-size=786432",
        );
        assert_eq!(httpd.get("/stack").json(), 786_432);
        let worker = httpd.workers()[0];
        assert_eq!(limit(worker, "Max data size"), ["536870912"; 2]);
        assert_eq!(limit(worker, "Max address space"), ["2147483648"; 2]);
        assert_eq!(limit(worker, "Max cpu time"), ["100", "106"]);
        assert_eq!(
            proc_file(worker, "stat")
                .rsplit_once(") ")
                .unwrap()
                .1
                .split(' ')
                .nth(16),
            Some("7")
        );
        // Between sessions, which is what sites are to each other, this one counts.
        let by_session = fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled")
            .is_ok_and(|on| on.trim() == "1");
        if by_session && users::is_root() {
            let autogroup = proc_file(worker, "autogroup");
            assert!(autogroup.trim_end().ends_with("nice 7"), "{autogroup}");
        }
        assert!(proc_file(worker, "status").contains("Umask:\t0077"));
        let stacks = proc_file(worker, "maps")
            .lines()
            .filter(|line| is_stack(line, 786_432))
            .count();
        assert!(
            stacks >= 2,
            "each request thread has a stack of the size asked for:\n{}",
            proc_file(worker, "maps")
        );
        httpd.stop();
    });
}

/// A mapping of this size, its guard page counted or not.
fn is_stack(line: &str, size: u64) -> bool {
    let Some((from, to)) = line
        .split(' ')
        .next()
        .and_then(|range| range.split_once('-'))
    else {
        return false;
    };
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap_or_default();
    let len = number(to) - number(from);
    len >= size - 4096 && len <= size + 4096
}

#[test]
fn memory_limit_is_an_exception_and_not_the_end() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=2 memory-limit=268435456");
        let before = pid(&httpd);
        assert_eq!(httpd.get("/allocate?mib=600").status, 500);
        httpd.wait_for_log("MemoryError", SOON);
        assert_eq!(pid(&httpd), before);
        httpd.stop();
        let (_site, httpd) = serve("threads=2 virtual-memory-limit=1073741824");
        assert_eq!(httpd.get("/allocate?mib=1200").status, 500);
        httpd.stop();
        let (_site, httpd) = serve("threads=2 virtual-memory-limit=1M restart-burst=1");
        assert_eq!(httpd.get("/pid").status, 503);
        httpd.wait_for_log("virtual-memory-limit= may be too low", SOON);
        httpd.stop();
    });
}

#[test]
fn the_environment_is_what_the_options_say() {
    case(Limit::default(), || {
        let site = Site::new();
        let file = site.write("env", "# a comment\nFROM_FILE=\"two words\"\nBOTH=file\n");
        let modules = site.path().join("modules");
        fs::create_dir(&modules).expect("a directory can be made");
        let options = format!(
            "threads=1 lang=C.UTF-8 locale=POSIX env=PLAIN=1 env=BOTH=option env-file={} python-eggs=/var/eggs python-path={}",
            file.display(),
            modules.display()
        );
        let httpd = Httpd::builder()
            .daemon("site", &options)
            .mount("/", &site.file("option_cases.py"), "site")
            .start();
        let environment = httpd.get("/environment").json();
        for (name, value) in [
            ("LANG", "C.UTF-8"),
            ("LC_ALL", "POSIX"),
            ("PLAIN", "1"),
            ("FROM_FILE", "two words"),
            ("BOTH", "option"),
            ("PYTHON_EGG_CACHE", "/var/eggs"),
        ] {
            assert_eq!(environment[name], value, "{name}");
        }
        let path = httpd.get("/path").json();
        assert_eq!(path[0], modules.display().to_string());
        let started_with = httpd.workers()[0].environment();
        assert_eq!(
            started_with.get("PLAIN").map(String::as_str),
            Some("1"),
            "{started_with:?}"
        );
        httpd.stop();
    });
}

#[test]
fn root_groups_are_those_that_were_named() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let site = Site::of(&users[0]);
        let httpd = Httpd::builder()
            .daemon(
                "site",
                &format!(
                    "threads=1 user={} group={} supplementary-groups={},{} {}",
                    users[0].name,
                    users[0].group,
                    users[1].group,
                    users[2].group,
                    site.python_path()
                ),
            )
            .mount("/", &site.file("option_cases.py"), "site")
            .start();
        assert_eq!(httpd.get("/pid").status, 200);
        let identity = httpd.workers()[0].identity().expect("it runs");
        let mut expected = vec![users[0].gid, users[1].gid, users[2].gid];
        expected.sort_unstable();
        assert_eq!(
            (identity.uids, identity.groups),
            ([users[0].uid; 4], expected)
        );
        httpd.stop();
    });
}

#[test]
fn chroot_confines_and_says_what_is_missing() {
    case(Limit::default(), || {
        if !users::is_root() {
            return;
        }
        let site = Site::new();
        let root = site.path().join("root");
        fs::create_dir(&root).expect("a directory can be made");
        let httpd = Httpd::builder()
            .daemon(
                "site",
                &format!("threads=1 chroot={} restart-burst=2", root.display()),
            )
            .mount("/", &site.file("option_cases.py"), "site")
            .start();
        // There is no Python in an empty root.
        assert_eq!(httpd.get("/pid").status, 503);
        httpd.wait_for_log("no `python3` on", SOON);
        httpd.stop();
    });
}

#[test]
fn root_the_owner_of_a_group_restarts_it_without_root() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let sites = [Site::of(&users[0]), Site::of(&users[1])];
        let mut builder = Httpd::builder();
        for ((name, user), site) in ["mine", "yours"].into_iter().zip(users).zip(&sites) {
            builder = builder
                .daemon(
                    name,
                    &format!(
                        "threads=1 user={} group={} {}",
                        user.name,
                        user.group,
                        site.python_path()
                    ),
                )
                .mount(&format!("/{name}"), &site.file("option_cases.py"), name);
        }
        let httpd = builder.start();
        let pid = |name: &str| httpd.get(&format!("/{name}/pid")).json();
        let mine = pid("mine");
        let yours = pid("yours");
        let program = Site::new();
        let copy = program.path().join("wsgid");
        fs::copy(artifacts::wsgid(), &copy).expect("the program can be copied");
        let socket = httpd.control_socket();
        let as_owner = |args: &[&str]| {
            let owner = users[0].uid.to_string();
            let mut command = Command::new("setpriv");
            command
                .args([
                    "--reuid",
                    &owner,
                    "--regid",
                    &users[0].gid.to_string(),
                    "--clear-groups",
                ])
                .arg(&copy);
            let out = command
                .args(args)
                .arg("--socket")
                .arg(&socket)
                .output()
                .expect("setpriv is installed");
            (
                out.status.code(),
                String::from_utf8_lossy(&out.stdout).into_owned(),
            )
        };
        assert_eq!(as_owner(&["restart", "mine"]).0, Some(0));
        eventually("another worker", SOON, || {
            (pid("mine") != mine).then_some(())
        });
        for command in ["restart", "stop", "dump"] {
            assert_eq!(as_owner(&[command, "yours"]).0, Some(4), "{command}");
        }
        let (code, text) = as_owner(&["status", "--json"]);
        assert_eq!(code, Some(0));
        assert!(
            text.contains("\"mine\"") && !text.contains("yours"),
            "{text}"
        );
        assert_eq!(pid("yours"), yours);
        httpd.stop();
    });
}

const OWNED: &str = "
import mod_wsgi
print('loaded in', mod_wsgi.process_group, flush=True)
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'owned']
";

#[test]
fn script_user_and_group_refuse_what_others_own_or_may_write() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("owned.py", OWNED);
        let uid = nix::unistd::geteuid();
        let gid = nix::unistd::getegid();
        let httpd = Httpd::builder()
            .daemon(
                "own",
                &format!("threads=1 script-user=#{uid} script-group=#{gid}"),
            )
            .daemon("user", "threads=1 script-user=#65533")
            .daemon("group", "threads=1 script-group=#65533")
            .mount("/user", &script, "user")
            .mount("/group", &script, "group")
            .mount("/", &script, "own")
            .start();
        assert_eq!(httpd.get("/").status, 200);
        for name in ["user", "group"] {
            assert_eq!(httpd.get(&format!("/{name}")).status, 403);
            httpd.wait_for_log(&format!("script-{name}= demands `#65533`"), SOON);
            let line = httpd.wait_for_log(&format!("[group {name}]"), SOON);
            assert!(line.contains("is not loaded beforehand"), "{line}");
            assert!(
                !httpd.error_log().contains(&format!("loaded in {name}")),
                "{name}"
            );
        }
        httpd.wait_for_log("loaded in own", SOON);
        let open = |mode| {
            fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(mode))
                .unwrap()
        };
        open(0o666);
        assert_eq!(httpd.get("/").status, 403);
        httpd.wait_for_log("may be written by others (mode 666)", SOON);
        open(0o644);
        assert_eq!(httpd.get("/").status, 200);
        httpd.stop();
    });
}
