//! The sockets between httpd, the supervisor and workers, as the kernel shows
//! them: who may connect, where they are, and that there are no others.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::thread;

use wsgid_protocol::blocking::FrameReader;
use wsgid_protocol::request::Hello;
use wsgid_protocol::{Kind, payload};
use wsgid_tests::{Httpd, Limit, Pid, Site, case, eventually, users};

use crate::SOON;

/// A socket of the Unix domain that listens: `__SO_ACCEPTCON`.
const LISTENS: u32 = 1 << 16;

/// Rows of `/proc/net/unix` by inode: the flags and the name.
fn unix_sockets() -> HashMap<String, (u32, String)> {
    let text = fs::read_to_string("/proc/net/unix").expect("Linux");
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(words.get(3)?, 16).ok()?;
        let name = words.get(7).copied().unwrap_or_default().to_owned();
        Some(((*words.get(6)?).to_owned(), (flags, name)))
    };
    text.lines().skip(1).filter_map(row).collect()
}

/// Inodes of TCP sockets that listen.
fn tcp_listeners() -> BTreeSet<String> {
    let files = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|file| fs::read_to_string(file).unwrap_or_default());
    let rows = files.iter().flat_map(|text| text.lines().skip(1));
    let words = rows.map(|line| line.split_whitespace().collect::<Vec<_>>());
    words
        .filter(|row| row.get(3) == Some(&"0A"))
        .filter_map(|row| row.get(9).map(|inode| (*inode).to_owned()))
        .collect()
}

/// Inodes of a process's sockets.
fn sockets_of(process: Pid) -> Vec<String> {
    let descriptors = process.descriptors();
    let inode = |what: &String| Some(what.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    descriptors.values().filter_map(inode).collect()
}

#[test]
fn root_the_request_socket_is_httpds_and_workers_listen_on_nothing() {
    case(Limit::default(), || {
        let Some([one, two, _]) = users::three() else {
            return;
        };
        let site = Site::new();
        let group = |user: &users::TestUser| {
            format!(
                "threads=2 user={} group={} {}",
                user.name,
                user.group,
                site.python_path()
            )
        };
        let httpd = Httpd::builder()
            .daemon("one", &group(one))
            .daemon("two", &format!("{} preload=On", group(two)))
            .mount("/one", &site.file("hello.py"), "one")
            .mount("/two", &site.file("hello.py"), "two")
            .start();
        for path in ["/one", "/two"] {
            assert_eq!(httpd.get(path).status, 200);
        }
        let socket = httpd.control_socket().with_file_name("httpd.sock");
        let seen = fs::metadata(&socket).expect("it is there");
        assert_eq!(seen.permissions().mode() & 0o7777, 0o600);
        assert_eq!(seen.uid(), users::of_httpd().uid);
        let directory = fs::metadata(socket.parent().expect("a directory")).expect("it is there");
        assert_eq!(
            (directory.uid(), directory.permissions().mode() & 0o022),
            (0, 0),
            "only root can write there"
        );
        // The path stays as long as httpd runs.
        let before = seen.ino();
        httpd.graceful();
        eventually("another generation of httpd", SOON, || {
            (httpd
                .error_log()
                .matches("resuming normal operations")
                .count()
                >= 2)
                .then_some(())
        });
        assert_eq!(httpd.get("/one").status, 200);
        assert_eq!(fs::metadata(&socket).expect("it is there").ino(), before);

        let supervisor = httpd.supervisor().expect("it runs");
        let workers = httpd.workers();
        assert!(workers.len() >= 2, "{workers:?}");
        let known = unix_sockets();
        let listening = tcp_listeners();
        for process in workers.iter().copied().chain([supervisor]) {
            for inode in sockets_of(process) {
                let (flags, name) = known.get(&inode).cloned().unwrap_or_default();
                assert!(
                    !name.starts_with('@'),
                    "{process:?} has the abstract name {name}"
                );
                let listens = flags & LISTENS != 0 || listening.contains(&inode);
                assert!(
                    !listens || process == supervisor,
                    "worker {process:?} listens on {name}"
                );
            }
        }
        httpd.stop();
    });
}

/// A supervisor that takes down what httpd says, and closes the connection.
#[test]
fn numbers_of_requests_cannot_be_foretold() {
    case(Limit::default(), || {
        let site = Site::new();
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
            .expect("it is ours");
        let path = directory.path().join("httpd.sock");
        let listener = UnixListener::bind(&path).expect("it is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("it is ours");
        let taken = thread::spawn(move || {
            let mut nonces = Vec::new();
            while nonces.len() < 12 {
                let (mut stream, _) = listener.accept().expect("httpd connects");
                let mut reader = FrameReader::new(0);
                let frame = reader.next(stream.as_fd()).expect("HELLO");
                assert_eq!(frame.head.kind, Kind::Hello);
                let nonce = payload::decode::<Hello>(frame.payload)
                    .expect("HELLO")
                    .nonce;
                let frame = reader.next(stream.as_fd()).expect("REQUEST");
                assert_eq!(
                    (frame.head.kind, frame.head.id),
                    (Kind::Request, u64::from(nonce) << 32 | 1)
                );
                stream.set_nonblocking(true).expect("it is a socket");
                let _ = stream.read(&mut [0; 4096]);
                nonces.push(nonce);
            }
            nonces
        });
        let httpd = Httpd::builder()
            .line(format!(
                "WSGIDaemonSocket {}\nWSGIDaemonProcess site",
                path.display()
            ))
            .mount("/", &site.file("hello.py"), "site")
            .start();
        while !taken.is_finished() {
            assert!(httpd.get("/").status >= 500);
        }
        let nonces = taken.join().expect("httpd says what it has to");
        let different: BTreeSet<_> = nonces.iter().collect();
        assert_eq!(different.len(), nonces.len(), "{nonces:?}");
        // Neither counted nor small: each bit is set in some and not in others.
        let ones = nonces.iter().fold(0, |all, nonce| all | nonce);
        let zeros = nonces.iter().fold(0, |all, nonce| all | !nonce);
        assert!((ones & zeros).count_ones() >= 28, "{nonces:08x?}");
        httpd.stop();
    });
}
