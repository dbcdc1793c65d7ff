//! Descriptors that sleep when they are closed or read, handed to whoever takes
//! them: by workers on each of their sockets, by a preloader, by local users and
//! by what runs as httpd's user. Nobody else waits for them. Each test runs with
//! what the kernel does against it, and without, as on a kernel before 6.16.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::MsgFlags;
use wsgid_protocol::control::Command as Asks;
use wsgid_protocol::refusal::WITHOUT_PASSRIGHTS;
use wsgid_protocol::request::{Hello, VERSIONS};
use wsgid_protocol::{FrameHead, Kind, payload};
use wsgid_tests::fuse::{self, Fuse};
use wsgid_tests::hostile::{self, FUSE_FILE, cases};
use wsgid_tests::sleeper::Sleeper;
use wsgid_tests::{
    Builder, Httpd, Limit, Site, TestUser, case, eventually, heavy_case, note, users,
};

/// What others wait at most; a close sleeps for 45 s.
const QUICK: Duration = Duration::from_secs(3);
/// What the offender's own client waits at most: perhaps a new worker starts.
const SOON: Duration = Duration::from_secs(12);

/// With the kernel's help, and without.
fn each_kernel(limit: Limit, test: impl Fn(fn() -> Builder) + Clone + Send + 'static) {
    for (name, builder) in [
        ("new", Httpd::builder as fn() -> Builder),
        ("old", old_kernel),
    ] {
        note(&format!("as on a kernel that is {name}"));
        let test = test.clone();
        heavy_case(limit, move || test(builder));
    }
}

fn old_kernel() -> Builder {
    Httpd::builder().environment(WITHOUT_PASSRIGHTS, PathBuf::from("1"))
}

fn hostile_home(site: &Site) -> PathBuf {
    hostile::home(site, env!("CARGO_BIN_EXE_hostile_worker"))
}

#[test]
fn the_supervisor_behaves_as_on_the_kernel_that_is_asked_for() {
    for (builder, is_old) in [
        (Httpd::builder as fn() -> Builder, false),
        (old_kernel, true),
    ] {
        case(Limit::seconds(60), move || {
            let site = Site::new();
            let httpd = sites(builder(), &site, "").start();
            let supervisor = httpd.supervisor().expect("it runs");
            assert_eq!(
                supervisor.environment().contains_key(WITHOUT_PASSRIGHTS),
                is_old
            );
            httpd.stop();
        });
    }
}

/// A good and a hostile group.
fn sites(builder: Builder, site: &Site, options: &str) -> Builder {
    let home = hostile_home(site).display().to_string();
    let options =
        format!("processes=2 threads=4 restart-burst=100000 python-home={home} {options}");
    builder
        .daemon(
            "good",
            &format!("processes=1 threads=8 {}", site.python_path()),
        )
        .daemon("hostile", &options)
        .mount("/good", &site.file("hello.py"), "good")
        .mount("/hostile", &site.write("hostile.wsgi", ""), "hostile")
}

/// Another site and an administrator are served as if nothing were.
fn assert_nobody_waits(httpd: &Httpd, after: &str) {
    let begun = Instant::now();
    let answer = httpd
        .client()
        .timeout(QUICK)
        .get("/good")
        .unwrap_or_else(|error| panic!("after {after}: {error}"));
    assert_eq!(answer.text(), "Hello World!");
    let status = httpd.wsgid(&["status"]);
    assert!(status.contains("good"), "after {after}: {status}");
    assert!(
        begun.elapsed() < QUICK,
        "after {after}: {:?}",
        begun.elapsed()
    );
}

#[test]
fn a_descriptor_that_sleeps_on_close_stops_nobody() {
    each_kernel(Limit::seconds(240), |builder| {
        let site = Site::new();
        let httpd = sites(builder(), &site, "").start();
        assert_eq!(httpd.get("/hostile/good").text(), cases::GOOD);
        assert_nobody_waits(&httpd, "nothing");
        for case in cases::sleepers() {
            let begun = Instant::now();
            // Whatever it is answered, it is answered.
            let answer = httpd
                .client()
                .timeout(SOON)
                .get(&format!("/hostile/{}", case.name));
            assert!(
                begun.elapsed() < SOON,
                "{}: {answer:?} after {:?}",
                case.name,
                begun.elapsed()
            );
            let whole = answer.as_ref().is_ok_and(|answer| answer.status < 500);
            assert!(
                case.expect != wsgid_tests::hostile::Expect::NotOk || !whole,
                "{}: {answer:?}",
                case.name
            );
            assert_nobody_waits(&httpd, case.name);
            eventually("the hostile group serves", SOON, || {
                let answer = httpd.client().timeout(SOON).get("/hostile/good").ok()?;
                (answer.text() == cases::GOOD).then_some(())
            });
        }
        // Every thread of httpd is free.
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    assert_eq!(
                        httpd
                            .client()
                            .timeout(QUICK)
                            .get("/good")
                            .expect("served")
                            .status,
                        200
                    )
                });
            }
        });
        assert!(begun.elapsed() < 2 * QUICK, "{:?}", begun.elapsed());
        assert!(
            !httpd.error_log().contains("panicked"),
            "{}",
            httpd.error_log()
        );
        httpd.stop();
    });
}

#[test]
fn a_preloader_and_what_it_forks_stop_nobody() {
    each_kernel(Limit::seconds(120), |builder| {
        let site = Site::new();
        let httpd = sites(builder(), &site, "preload=On").start();
        assert_nobody_waits(
            &httpd,
            "a preloader that sends a sleeper as it becomes ready, and for a worker",
        );
        httpd.wait_for_log("was not forked", SOON);
        assert_nobody_waits(&httpd, "a worker that was not forked");
        eventually("a worker without its preloader", SOON, || {
            let answer = httpd.client().timeout(SOON).get("/hostile/good").ok()?;
            (answer.text() == cases::GOOD).then_some(())
        });
        httpd.stop();
    });
}

fn command() -> Vec<u8> {
    framed(
        Kind::Control,
        &payload::encode(&Asks::Status).expect("a command"),
    )
}

/// Sends bytes with a descriptor that only the supervisor has when it looks.
fn send_sleeper(httpd: &Httpd, stream: &UnixStream, bytes: &[u8], flags: MsgFlags) {
    let supervisor = nix::unistd::Pid::from_raw(httpd.supervisor().expect("it runs").number);
    kill(supervisor, Signal::SIGSTOP).expect("it is ours");
    // A kernel that refuses it has said so.
    let _ = Sleeper::new()
        .expect("a connection")
        .send(stream, bytes, flags);
    wsgid_tests::wait::let_run(Duration::from_millis(50));
    kill(supervisor, Signal::SIGCONT).expect("it is ours");
}

fn framed(kind: Kind, bytes: &[u8]) -> Vec<u8> {
    let head = FrameHead::new(kind, 0, u32::try_from(bytes.len()).expect("it is short"));
    [&head.encode()[..], bytes].concat()
}

#[test]
fn a_command_with_a_descriptor_that_sleeps_stops_nobody() {
    each_kernel(Limit::seconds(120), |builder| {
        let site = Site::new();
        let httpd = sites(builder(), &site, "").start();
        let whole = command();
        let parts: [(&str, &[u8], MsgFlags); 4] = [
            ("a whole command", &whole, MsgFlags::empty()),
            (
                "half a command",
                &whole[..whole.len() - 1],
                MsgFlags::empty(),
            ),
            ("garbage", &[0xEE; 100], MsgFlags::empty()),
            ("an urgent byte", b"!", MsgFlags::MSG_OOB),
        ];
        for (name, bytes, flags) in parts {
            let mut stream =
                UnixStream::connect(httpd.control_socket()).expect("everybody may connect");
            send_sleeper(&httpd, &stream, bytes, flags);
            let _ = stream.write_all(&whole);
            assert_nobody_waits(&httpd, name);
            stream
                .set_read_timeout(Some(SOON))
                .expect("a socket has a timeout");
            let _ = stream.read(&mut [0; 16]);
            drop(stream);
            assert_nobody_waits(&httpd, name);
        }
        httpd.stop();
    });
}

/// Sends descriptors that sleep to the control socket, for a minute. Its children
/// end at once, so that the last copies are those that were sent.
const NEIGHBOUR: &str = r#"
import array, os, socket, struct, sys, time
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(1000)
def child():
    kept = []
    sleeper = socket.socket()
    sleeper.connect(listener.getsockname())
    sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 45))
    sleeper.setblocking(False)
    try:
        while True: sleeper.send(bytes(65536))
    except BlockingIOError: pass
    for _ in range(3):
        try:
            stream = socket.socket(socket.AF_UNIX)
            stream.connect(sys.argv[1])
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sleeper.fileno()]))
            stream.sendmsg([bytes(5)], [rights])
        except OSError: pass
        kept.append(stream)
for _ in range(3000):
    number = os.fork()
    if number == 0:
        try: child()
        finally: os._exit(0)
    os.waitpid(number, 0)
    time.sleep(0.02)
"#;

/// Ends with the test, also if that fails.
struct Neighbour(Child);

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn neighbour(user: &TestUser, httpd: &Httpd) -> Neighbour {
    let child = Command::new("setpriv")
        .args([
            &format!("--reuid={}", user.uid),
            &format!("--regid={}", user.gid),
            "--clear-groups",
        ])
        .args(["/usr/bin/python3", "-c", NEIGHBOUR])
        .arg(httpd.control_socket())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("setpriv is installed");
    Neighbour(child)
}

#[test]
fn root_a_user_without_a_site_stops_nobody_with_descriptors() {
    each_kernel(Limit::seconds(120), |builder| {
        let Some([one, _, _]) = users::three() else {
            return;
        };
        let site = Site::new();
        let httpd = sites(builder(), &site, "").start();
        let mut neighbour = neighbour(one, &httpd);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(6) {
            assert_nobody_waits(&httpd, "descriptors of a user without a site");
        }
        assert!(
            neighbour.0.try_wait().expect("a child").is_none(),
            "it goes on all the time"
        );
        drop(neighbour);
        let told = httpd
            .error_log()
            .matches("sent descriptors where none is due")
            .count();
        assert!(told <= 1, "{told} lines about one offender");
        eventually("no descriptor is left", SOON, || {
            (httpd.supervisor().expect("it runs").descriptors().len() < 60).then_some(())
        });
        httpd.stop();
    });
}

fn hello() -> Vec<u8> {
    let hello = Hello {
        version_min: VERSIONS.0,
        version_max: VERSIONS.1,
        group: "good".into(),
        application_group: String::new(),
        pid: std::process::id(),
        generation: 1,
        nonce: 1,
        secret: [0; 32],
        from_request: false,
    };
    framed(Kind::Hello, &payload::encode(&hello).expect("a HELLO"))
}

fn request_socket(httpd: &Httpd) -> PathBuf {
    httpd.control_socket().with_file_name("httpd.sock")
}

#[test]
fn a_hello_with_a_descriptor_that_sleeps_stops_nobody() {
    each_kernel(Limit::seconds(120), |builder| {
        let site = Site::new();
        let httpd = sites(builder(), &site, "").start();
        let whole = hello();
        for (name, bytes) in [
            ("a HELLO", &whole[..]),
            ("half a HELLO", &whole[..20]),
            ("garbage", &[0xEE; 60]),
        ] {
            let stream =
                UnixStream::connect(request_socket(&httpd)).expect("this user may connect");
            send_sleeper(&httpd, &stream, bytes, MsgFlags::empty());
            assert_nobody_waits(&httpd, name);
            drop(stream);
            assert_nobody_waits(&httpd, name);
            // Unread when it is refused: the secret is wrong.
            let mut stream =
                UnixStream::connect(request_socket(&httpd)).expect("this user may connect");
            stream.write_all(bytes).expect("it fits");
            send_sleeper(&httpd, &stream, b"more", MsgFlags::empty());
            assert_nobody_waits(&httpd, name);
        }
        httpd.stop();
    });
}

#[test]
fn silent_connections_of_one_process_keep_nobody_waiting() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        // One silent process of httpd's user beside httpd: as many as it may have.
        let httpd = sites(Httpd::builder(), &site, "").start();
        let path = request_socket(&httpd);
        let count = 900;
        let (soft, hard) =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
                .expect("a limit");
        let wanted = hard.min(soft.max(2048));
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, wanted, hard)
            .expect("it may");
        let silent: Vec<_> = (0..count)
            .map(|_| UnixStream::connect(&path).expect("this user may connect"))
            .collect();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    assert_eq!(
                        httpd
                            .client()
                            .timeout(QUICK)
                            .get("/good")
                            .expect("served")
                            .status,
                        200
                    )
                });
            }
        });
        assert!(
            begun.elapsed() < QUICK,
            "{:?} beside {} silent ones",
            begun.elapsed(),
            silent.len()
        );
        drop(silent);
        httpd.stop();
    });
}

const WRAPPER: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '10')])
    return environ['wsgi.file_wrapper'](open('FILE', 'rb'))
";

#[test]
fn root_a_file_that_never_answers_stops_nobody() {
    if let Err(reason) = fuse::possible() {
        return note(&format!("left out: {reason}"));
    }
    each_kernel(Limit::seconds(120), |builder| {
        let fuse = Fuse::mount().expect("it could be mounted before");
        let site = Site::new();
        let script = site.write(
            "wrapper.py",
            &WRAPPER.replace("FILE", &fuse.file().display().to_string()),
        );
        let options = format!("env={FUSE_FILE}={}", fuse.file().display());
        let httpd = sites(builder(), &site, &options)
            .mount("/wrapper", &script, "good")
            .start();
        // A site may serve its own: the worker reads it.
        fuse.answer(true);
        assert_eq!(httpd.get("/wrapper").text().as_bytes(), fuse::CONTENT);
        fuse.answer(false);
        for _ in 0..30 {
            let begun = Instant::now();
            let answer = httpd.client().timeout(SOON).get("/hostile/file-of-fuse");
            assert!(
                answer.as_ref().map_or(true, |answer| answer.status >= 500),
                "{answer:?}"
            );
            assert!(
                begun.elapsed() < SOON,
                "{answer:?} after {:?}",
                begun.elapsed()
            );
            assert_nobody_waits(&httpd, "a file that never answers");
        }
        let log = httpd.error_log();
        assert!(log.contains("may never answer (FUSE)"), "{log}");
        // Children whose descriptors are being flushed end when the program does.
        drop(fuse);
        httpd.stop();
    });
}
