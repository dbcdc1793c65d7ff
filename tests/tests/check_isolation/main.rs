//! `wsgid check` of groups with isolation: what a site would not reach is named with the option
//! that opens it, before the site fails. Each case is tried by root and by an ordinary user,
//! under `private` and `strict`, and shows with the option, or without isolation, that
//! nothing else stood in the way.

mod place;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use wsgid_tests::{Limit, Pid, Python, TestUser, case, until, users};

use place::{Place, checkers, each, each_of};

const OK: i32 = 0;
/// What `wsgid` ends with where a group would not work.
const CONFIGURATION: i32 = 7;
const APPLICATION: &str = "def application(environ, start_response): pass\n";

#[test]
fn a_media_directory_that_is_written_at_import() {
    case(Limit::default(), || {
        each(|place| {
            fs::create_dir(place.at("beside/media")).expect("it is ours");
            let script = "open('@/beside/media/cache', 'w').close()\n";
            place.would_break(
                script,
                "",
                &[
                    "home/app.py`, line 1: FileNotFoundError: ",
                    "`@/beside/media/cache` cannot be made, changed or removed; read-write-paths=@/beside/media opens it",
                ],
            );
            assert!(!place.at("beside/media/cache").exists(), "{place:?}");
            place.loads(script, "read-write-paths = ['@/beside/media']");
            assert!(place.at("beside/media/cache").exists(), "{place:?}");
        });
    });
}

#[test]
fn packages_in_an_environment_elsewhere() {
    case(Limit::default(), || {
        each(|place| {
            let packages = "beside/venv/lib/python3/site-packages";
            fs::create_dir_all(place.at(packages).join("shop_models")).expect("it is ours");
            fs::write(place.at(packages).join("shop_models/__init__.py"), "").expect("it is ours");
            let script =
                format!("import site\nsite.addsitedir('@/{packages}')\nimport shop_models\n");
            let opens = format!("read-only-paths=@/{packages} opens it");
            place.would_break(
                &script,
                "",
                &[
                    "line 3: ModuleNotFoundError: No module named 'shop_models'",
                    &opens,
                ],
            );
            place.loads(&script, "read-only-paths = ['@/beside/venv']");
        });
    });
}

#[test]
fn the_socket_of_a_database() {
    case(Limit::default(), || {
        each(|place| {
            fs::create_dir(place.at("beside/db")).expect("it is ours");
            let _listener = UnixListener::bind(place.at("beside/db/s")).expect("it is ours");
            let script = "import os, socket\nos.chdir('/')\n\
                          socket.socket(socket.AF_UNIX).connect('@/beside/db/s')\n";
            place.would_break(
                script,
                "",
                &["line 3: FileNotFoundError", "`@/beside/db/s` cannot be connected to; read-only-paths=@/beside/db/s opens it"],
            );
            place.loads(script, "read-only-paths = ['@/beside/db/s']");
        });
    });
}

#[test]
fn a_database_of_sqlite_beside_the_script() {
    case(Limit::default(), || {
        let script = "import sqlite3\nsqlite3.connect('shop.db').execute('create table if not exists a (b)')\n";
        each_of(&["strict"], |place| {
            place.would_break(
                script,
                "",
                &[
                    "line 2: OperationalError: unable to open database file",
                    "`@/home/shop.db` cannot be made, changed or removed; read-write-paths=@/home opens it",
                ],
            );
            place.loads(script, "read-write-paths = ['@/home']");
        });
        each_of(&["private"], |place| {
            let text = place.loads(script, "");
            assert!(!text.contains("shop.db"), "{place:?}: {text}");
        });
    });
}

/// Calls of a library that no exception and no path tells of.
const CALLS: &str = "import ctypes, os, socket\nlibc = ctypes.CDLL(None, use_errno=True)\n\
    libc.syscall(425, 8, 0)\nlibc.ptrace(0, 0, 0, 0)\n\
    try:\n    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\nexcept OSError:\n    pass\n";

#[test]
fn calls_of_the_kernel_that_are_refused() {
    case(Limit::default(), || {
        let names = ["io_uring_setup", "ptrace"].map(|name| {
            format!("the system call `{name}` is refused; allow-system-calls={name} allows it; it loads without")
        });
        each(|place| {
            place.loads_without(CALLS, "", &[&names[0], &names[1]]);
            let text = place.loads(CALLS, "allow-system-calls = ['io_uring_setup', 'ptrace']");
            assert!(!text.contains("system call `"), "{place:?}: {text}");
        });
        let family = "sockets of the family `packet` cannot be made; \
                      restrict-address-families=unix,inet,inet6,netlink,packet allows them";
        each_of(&["strict"], |place| {
            place.loads_without(CALLS, "", &[family])
        });
        let families = "restrict-address-families = ['unix', 'packet']";
        each(|place| {
            let text = place.loads(CALLS, families);
            assert!(!text.contains("family"), "{place:?}: {text}");
        });
    });
}

#[test]
fn what_was_swallowed_and_what_a_library_or_a_program_was_denied() {
    case(Limit::default(), || {
        each(|place| {
            for name in ["swallowed", "library", "program"] {
                fs::create_dir(place.at("beside").join(name)).expect("it is ours");
                fs::write(place.at("beside").join(name).join("file"), "").expect("it is ours");
            }
            let script = "import ctypes, subprocess\n\
                try:\n    open('@/beside/swallowed/file')\nexcept OSError:\n    pass\n\
                ctypes.CDLL(None).open(b'@/beside/library/file', 0)\n\
                subprocess.run(['cat', '@/beside/program/file'])\n";
            let opens = "nor 2 other paths; read-only-paths=@/beside/library/file:@/beside/program/file:\
                         @/beside/swallowed/file opens it; it loads without";
            place.loads_without(
                script,
                "",
                &["`@/beside/swallowed/file` cannot be read, ", opens],
            );
            let text = place.loads(script, "read-only-paths = ['@/beside']");
            assert!(!text.contains("opens it"), "{place:?}: {text}");
        });
    });
}

#[test]
fn a_file_that_is_made_elsewhere_and_moved() {
    case(Limit::default(), || {
        let script = "import os\nos.chdir('@/home')\nopen('@/beside/new', 'w').close()\n\
                      os.rename('@/beside/new', 'place')\n";
        each(|place| {
            let writes = "read-write-paths = ['@/home', '@/beside']";
            let part = "`@/beside/new` cannot be moved or linked to `@/home/place`, which is another file system in \
                        the isolation; make it in the directory that it is for";
            place.would_break(script, writes, &["line 4: OSError: ", part]);
            let moved = script.replace("beside/new", "home/new");
            place.loads(&moved, writes);
        });
    });
}

#[test]
fn a_process_that_is_not_the_sites_and_one_that_is() {
    case(Limit::default(), || {
        each(|place| {
            let mut words = vec!["sleep".to_owned(), "300".to_owned()];
            if users::is_root() {
                let TestUser { uid, gid, .. } = place.user;
                let setpriv = [
                    "setpriv".to_owned(),
                    format!("--reuid={uid}"),
                    format!("--regid={gid}"),
                ];
                words = [&setpriv[..], &["--clear-groups".to_owned()], &words].concat();
            }
            let mut other = Command::new(&words[0])
                .args(&words[1..])
                .spawn()
                .expect("it can be run");
            let comm = format!("/proc/{}/comm", other.id());
            let is_there = || {
                fs::read_to_string(&comm)
                    .is_ok_and(|name| name == "sleep\n")
                    .then_some(())
            };
            assert!(until(Duration::from_secs(5), is_there).is_some());
            let script = format!(
                "import os, subprocess\nown = subprocess.Popen(['sleep', '300'])\nown.kill()\nown.wait()\n\
                 try:\n    os.kill({}, 9)\nexcept PermissionError:\n    pass\n",
                other.id()
            );
            let part = "the process `sleep`, which is not the site's, cannot be sent signals";
            let text = place.loads(&script, "");
            assert_eq!(text.matches(part).count(), 1, "{place:?}: {text}");
            assert!(
                other.try_wait().expect("it is our child").is_none(),
                "it lives"
            );
            other.kill().expect("it is our child");
            other.wait().expect("it is our child");
        });
    });
}

#[test]
fn every_python_is_loaded_as_a_worker_loads_it() {
    case(Limit::default(), || {
        let script = "import mod_wsgi, apache, sys\nassert mod_wsgi.process_group == 'a', mod_wsgi.process_group\n\
                      assert apache.version[0] == 2 and mod_wsgi.threads_per_process == 7\n\
                      assert sys.path[0] == '@/home' and sys.argv == ['mod_wsgi'], (sys.path, sys.argv)\n\
                      import os\nassert os.getcwd() == '@/home' and os.environ['SHOP'] == 'yes'\n\
                      mod_wsgi.subscribe_events(print)\nmod_wsgi.start_recording_metrics()\n\
                      assert mod_wsgi.active_requests == {}\n";
        for python in Python::all() {
            let home = python.home.display();
            let (major, minor) = python.version;
            let script = format!("{script}assert sys.version_info[:2] == ({major}, {minor})\n");
            let options =
                format!("python-home = '{home}'\nthreads = 7\nenv = {{ SHOP = 'yes' }}\n");
            each(|place| {
                place.loads(&script, &options);
            });
        }
    });
}

#[test]
fn a_port_that_is_not_named() {
    case(Limit::default(), || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let script = format!("import socket\nsocket.create_connection(('127.0.0.1', {port}))\n");
        each(|place| {
            let part = format!(
                "TCP port {port} cannot be connected to; one more in connect-ports= opens it: {port}"
            );
            place.would_break(&script, "connect-ports = [1]", &["PermissionError", &part]);
            place.loads(&script, &format!("connect-ports = [{port}]"));
            place.loads(&script, "");
        });
    });
}

#[test]
fn an_application_that_hangs_is_ended_and_where_it_was_is_said() {
    case(Limit::default(), || {
        each(|place| {
            let script = "import os, time\nopen('/tmp/pid', 'w').close()\nwhile True:\n    time.sleep(0.1)\n";
            let begun = Instant::now();
            let said = place.checked_with(script, "", &["--load-timeout", "2"]);
            assert_eq!(said.code, CONFIGURATION, "{}", said.text);
            let part = "was not loaded in its isolation after 2 s, where it was at `";
            assert!(
                said.text.contains(part) && said.text.contains("app.py`, line 4"),
                "{}",
                said.text
            );
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{:?}",
                begun.elapsed()
            );
            // One that has stopped the clock of its own Python is ended all the same.
            let script = format!(
                "import faulthandler\nfaulthandler.cancel_dump_traceback_later()\n{script}"
            );
            let said = place.checked_with(&script, "", &["--load-timeout", "1"]);
            assert!(
                said.text
                    .contains("was not loaded in its isolation after 1 s; "),
                "{}",
                said.text
            );
        });
    });
}

/// Writes the numbers of two processes that go away from it, one of which holds its record.
const FORKS: &str = "import os, time\n\
    def away():\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            \
    open('@/home/pids', 'a').write('%d\\n' % os.getpid())\n            time.sleep(300)\n        os._exit(0)\n    os.wait()\n\
    open('@/home/pids', 'a').close()\naway()\naway()\nwhile len(open('@/home/pids').readlines()) < 2:\n    time.sleep(0.01)\n";

#[test]
fn nothing_of_an_application_that_forks_away_stays() {
    case(Limit::default(), || {
        each(|place| {
            let writes = "read-write-paths = ['@/home']";
            place.loads(FORKS, writes);
            let ended = format!("{FORKS}os._exit(3)\n");
            fs::rename(place.at("home/pids"), place.at("first")).expect("it was written");
            place.would_break(
                &ended,
                writes,
                &["ended its process while it was loaded in its isolation: exit code 3"],
            );
            for file in ["first", "home/pids"] {
                for pid in fs::read_to_string(place.at(file))
                    .expect("it was written")
                    .lines()
                {
                    let pid = pid.parse().expect("a number");
                    let gone = until(Duration::from_secs(5), || {
                        Pid::current(pid).is_none().then_some(())
                    });
                    assert!(gone.is_some(), "{place:?}: process {pid} is still there");
                }
            }
        });
    });
}

#[test]
fn an_application_that_prints_megabytes_is_heard_out() {
    case(Limit::default(), || {
        each(|place| {
            let script = "import os, sys\nfor _ in range(64):\n    print('x' * 65536)\n    \
                          print('\\x1b[2J' * 16384, file=sys.stderr)\nos.write(2, b'y' * 1000000)\n";
            let text = place.loads(script, "");
            assert!(!text.contains("xxx") && !text.contains('\x1b'), "{text}");
        });
    });
}

#[test]
fn a_mistake_of_the_application_has_its_file_and_line_and_no_escapes() {
    case(Limit::default(), || {
        each(|place| {
            let script = "import json\njson.loads('\\x1b[2J')\n";
            place.would_break(script, "", &["`@/home/app.py`, line 2: JSONDecodeError: "]);
            place.would_break(
                "raise OSError('\\x1b[2J')\n",
                "",
                &["line 1: OSError: \\x1b[2J"],
            );
            place.would_break("import sys\nsys.exit(4)\n", "", &["line 2: SystemExit: 4"]);
            let wrapped = "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise ValueError('no') from error\n";
            place.would_break(
                wrapped,
                "",
                &["line 4: ValueError: no (it came of ZeroDivisionError: division by zero)"],
            );
            let nothing = "if False:\n    ";
            place.would_break(
                nothing,
                "",
                &["`@/home/app.py` does not contain the callable `application`"],
            );
        });
    });
}

#[test]
fn nothing_is_loaded_without_isolation_nor_where_nobody_wants_it() {
    case(Limit::default(), || {
        let script = "open('@/home/loaded', 'w').close()\n";
        for by_user in checkers() {
            let place = Place::new(*by_user, "none");
            let said = place.checked(script, "read-write-paths = ['/opt']");
            assert_eq!(said.code, OK, "{}", said.text);
            assert!(
                said.text.contains(" without effect: nothing is isolated"),
                "{}",
                said.text
            );
            assert!(!place.at("home/loaded").exists(), "{}", said.text);
        }
        each_of(&["private"], |place| {
            let said = place.checked_with(script, "", &["--no-load"]);
            assert_eq!(said.code, OK, "{}", said.text);
            assert!(
                said.text
                    .contains("ok       isolation (private) is to be had: "),
                "{}",
                said.text
            );
            let service = place.checked(script, "threads = 0");
            assert!(
                service.text.contains("note     it serves no requests, so"),
                "{}",
                service.text
            );
            assert!(
                !place.at("home/loaded").exists(),
                "{}{}",
                said.text,
                service.text
            );
            place.loads(script, "");
            assert!(place.at("home/loaded").exists());
        });
    });
}

#[test]
fn paths_that_are_not_there_and_those_that_contradict_are_named() {
    case(Limit::default(), || {
        each(|place| {
            place.would_break(
                "",
                "read-write-paths = ['@/none']",
                &[
                    "its workers would not start: ",
                    "read-write-paths= `@/none`: ",
                ],
            );
            place.would_break(
                "",
                "inaccessible-paths = ['@/home']",
                &["inaccessible-paths= `@/home` hides `@/home` (home=), which the group needs"],
            );
        });
    });
}

/// Has the kernel refuse `ptrace` to a program, as some containers do.
const WITHOUT_PTRACE: &str = "import ctypes, os, struct, sys\n\
    number = {'x86_64': 101, 'aarch64': 117}[os.uname().machine]\n\
    steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x50001), (6, 0, 0, 0x7fff0000)]\n\
    text = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in steps))\n\
    program = struct.pack('HxxxxxxP', len(steps), ctypes.addressof(text))\n\
    libc = ctypes.CDLL(None)\n\
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0\n\
    os.execv(sys.argv[1], sys.argv[1:])\n";

#[test]
fn where_nothing_can_be_traced_the_load_still_tells() {
    case(Limit::default(), || {
        each(|place| {
            let python = Python::any().program.display().to_string();
            let check = || {
                let mut command = place.command(&[&python, "-c", WITHOUT_PTRACE]);
                place.said(command.arg("check"))
            };
            let unknown =
                "note     what isolation denies it cannot be told: tracing is not allowed here";
            place.define("open('@/beside/new', 'w')\n", "");
            let broken = check();
            assert_eq!(broken.code, CONFIGURATION, "{place:?}: {}", broken.text);
            for part in ["app.py`, line 1: FileNotFoundError: ", unknown] {
                assert!(
                    broken.text.contains(part),
                    "{place:?}: {part}: {}",
                    broken.text
                );
            }
            place.define("", "");
            let works = check();
            assert_eq!(works.code, OK, "{place:?}: {}", works.text);
            for part in ["loads in its isolation", unknown] {
                assert!(
                    works.text.contains(part),
                    "{place:?}: {part}: {}",
                    works.text
                );
            }
        });
    });
}

/// What the machine does not give an ordinary user is said, with what does.
#[test]
fn what_is_not_to_be_had_here_is_named_or_refused() {
    case(Limit::default(), || {
        let place = Place::new(true, "private");
        let text = place.loads("", "");
        let missing: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("isolation is to be had without"))
            .collect();
        let strict = Place::new(true, "strict").checked("", "isolation-fallback = false");
        assert_eq!(
            strict.code,
            if missing.is_empty() {
                OK
            } else {
                CONFIGURATION
            },
            "{text}{}",
            strict.text
        );
        let refused = "problem  its workers would not start: isolation=strict: ";
        assert_eq!(
            strict.text.contains(refused),
            !missing.is_empty(),
            "{text}{}",
            strict.text
        );
    });
}

/// Temporary directories of a check are not the next one's, nor anybody's.
#[test]
fn temporary_directories_of_a_check_go_with_it() {
    case(Limit::default(), || {
        each(|place| {
            let name = place.directory.path().file_name().expect("it has a name");
            let name = name.to_string_lossy().into_owned();
            let script = format!(
                "import os\nassert not os.path.exists('/tmp/{name}')\n\
                 for at in '/tmp', '/var/tmp', '/dev/shm':\n    open(at + '/{name}', 'w').close()\n"
            );
            place.loads(&script, "");
            place.loads(&script, "");
            let is_left = |base: &str| {
                let entries = fs::read_dir(base).into_iter().flatten().flatten();
                let mut ours = entries
                    .filter(|entry| entry.file_name().to_string_lossy().starts_with("wsgid-"));
                ours.any(|entry| below(&entry.path()).any(|path| path.ends_with(&name)))
            };
            for base in ["/tmp", "/var/tmp", "/dev/shm"] {
                assert!(!Path::new(base).join(&name).exists(), "{place:?}: {base}");
                let gone = until(Duration::from_secs(10), || (!is_left(base)).then_some(()));
                assert!(gone.is_some(), "{place:?}: something is left in {base}");
            }
        });
    });
}

/// The paths in a directory, down to where these temporary files are.
fn below(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let mut all = vec![directory.to_path_buf()];
    let mut begin = 0;
    for _ in 0..3 {
        let end = all.len();
        for at in begin..end {
            let entries = fs::read_dir(&all[at]).into_iter().flatten().flatten();
            all.extend(entries.map(|entry| entry.path()).collect::<Vec<_>>());
        }
        begin = end;
    }
    all.into_iter()
}
