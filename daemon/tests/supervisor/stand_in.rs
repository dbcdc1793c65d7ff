//! A stand-in for the httpd parent and its children: starts the real
//! supervisor the way httpd does and speaks the protocol with it and with the
//! real workers behind it.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::MsgFlags;
use serde_bytes::Bytes;
use wsgid_protocol::blocking::{FrameReader, send_all, send_frame};
use wsgid_protocol::config::{LogFormat, LogTarget, Preload};
use wsgid_protocol::control::{Configuration, FromParent, ServerFacts, ToParent};
use wsgid_protocol::head::FLAG_END;
use wsgid_protocol::request::{BodyKind, Call, Hello, RequestHead, RequestOptions, VERSIONS};
use wsgid_protocol::status::{GroupStatus, Status};
use wsgid_protocol::{FrameHead, GroupConfig, Kind, payload};

/// A supervisor and the place it works in.
pub(crate) struct Httpd {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) child: Child,
    control: UnixStream,
    reader: FrameReader,
    _listener: UnixListener,
    generation: u64,
    /// Of the generation that is configured or asks.
    pub(crate) secret: [u8; 32],
}

/// What came back for a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Body(u16, String),
    Failed(u16, String),
    Lost,
}

impl Httpd {
    pub(crate) fn start() -> Self {
        Self::start_program(&crate::program())
    }

    pub(crate) fn start_program(program: &Path) -> Self {
        Self::start_with(program, &[])
    }

    /// As on a kernel without `SO_PASSRIGHTS`, or on this one.
    pub(crate) fn start_on(old_kernel: bool) -> Self {
        let without = [(wsgid_protocol::refusal::WITHOUT_PASSRIGHTS, "1")];
        Self::start_with(&crate::program(), if old_kernel { &without } else { &[] })
    }

    fn start_with(program: &Path, environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(
            dir.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let listener = UnixListener::bind(dir.path().join("httpd.sock")).unwrap();
        let (control, theirs) = UnixStream::pair().unwrap();
        let (a, b) = (inheritable(theirs.as_fd()), inheritable(listener.as_fd()));
        let child = Command::new("bash")
            .arg("-c")
            .arg(format!(
                "exec \"$0\" supervise --httpd --log-level debug 3<&{} 4<&{}",
                a.as_raw_fd(),
                b.as_raw_fd()
            ))
            .arg(program)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let reader = FrameReader::new(0);
        control
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Self {
            dir,
            child,
            control,
            reader,
            _listener: listener,
            generation: 0,
            secret: [7; 32],
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Writes a script and gives its path.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn configure(&mut self, groups: Vec<GroupConfig>) -> Vec<String> {
        let message = self.configuration(groups);
        self.say(&message);
        match self.reply() {
            ToParent::Applied { problems, .. } => problems,
            ToParent::Refused { reason, .. } => panic!("{reason}"),
        }
    }

    /// The configuration of the next generation.
    pub(crate) fn configuration(&mut self, groups: Vec<GroupConfig>) -> FromParent {
        self.generation += 1;
        FromParent::Configure(Configuration {
            versions: VERSIONS,
            generation: self.generation,
            secret: self.secret,
            httpd_uid: nobody(),
            httpd_gid: nobody(),
            server: ServerFacts::default(),
            groups,
            log: LogTarget::Supervisor,
            log_level: None,
            log_format: LogFormat::Text,
            unreadable: None,
        })
    }

    /// What the supervisor answers.
    pub(crate) fn reply(&mut self) -> ToParent {
        let frame = self.reader.next(self.control.as_fd()).unwrap();
        payload::decode(frame.payload).unwrap()
    }

    pub(crate) fn say(&self, message: &FromParent) {
        self.say_bytes(&payload::encode(message).unwrap());
    }

    /// Says what may be no message of this release.
    pub(crate) fn say_bytes(&self, bytes: &[u8]) {
        let head = FrameHead::new(Kind::Control, 0, u32::try_from(bytes.len()).unwrap());
        send_frame(self.control.as_fd(), head, bytes, &[]).unwrap();
    }

    pub(crate) fn status(&self) -> Status {
        serde_json::from_value(self.status_json()).unwrap()
    }

    pub(crate) fn status_json(&self) -> serde_json::Value {
        let socket = self.dir.path().join("control.sock");
        let out = Command::new(crate::program())
            .args(["status", "--json", "--socket"])
            .arg(socket)
            .output();
        serde_json::from_slice(&out.unwrap().stdout).unwrap()
    }

    pub(crate) fn command(&self, name: &str, group: &str) -> i32 {
        let socket = self.dir.path().join("control.sock");
        let mut command = Command::new(crate::program());
        command
            .args([name, group, "--socket"])
            .arg(socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().unwrap().code().unwrap()
    }

    /// Process ids of the workers in this state.
    pub(crate) fn workers(&self, state: &str) -> Vec<i32> {
        let status = self.status();
        let workers = status.groups.iter().flat_map(GroupStatus::workers);
        let pids = workers
            .filter(|worker| worker.state.word() == state)
            .map(|worker| worker.pid);
        pids.map(|pid| i32::try_from(pid).unwrap()).collect()
    }

    /// Requests that run.
    pub(crate) fn in_flight(&self) -> u64 {
        let status = self.status();
        let workers = status.groups.iter().flat_map(GroupStatus::workers);
        workers.map(|worker| worker.in_flight).sum()
    }

    pub(crate) fn connect(&self, group: &str, nonce: u32, script: &Path, path: &str) -> Connection {
        self.greet(
            UnixStream::connect(self.dir.path().join("httpd.sock")).unwrap(),
            group,
            nonce,
            script,
            path,
        )
    }

    /// Says HELLO and asks on a connection.
    pub(crate) fn greet(
        &self,
        stream: UnixStream,
        group: &str,
        nonce: u32,
        script: &Path,
        path: &str,
    ) -> Connection {
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut connection = Connection {
            stream,
            reader: FrameReader::new(1),
            nonce,
            count: 0,
        };
        let hello = payload::encode(&Hello {
            version_min: VERSIONS.0,
            version_max: VERSIONS.1,
            group: group.into(),
            application_group: String::new(),
            pid: std::process::id(),
            generation: self.generation,
            nonce,
            secret: self.secret,
            from_request: false,
        })
        .unwrap();
        let head = FrameHead::new(Kind::Hello, 0, u32::try_from(hello.len()).unwrap()).encode();
        connection
            .send(&[&head[..], &hello].concat(), script, path)
            .unwrap();
        connection
    }

    pub(crate) fn get(&self, group: &str, script: &Path, path: &str) -> Answer {
        self.connect(group, 0x1234_5678, script, path).answer()
    }

    /// Waits for something to come true; panics with the log otherwise.
    pub(crate) fn wait(&self, what: &str, mut is: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(15);
        while !is(self) {
            assert!(
                Instant::now() < deadline,
                "{what} did not happen; log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Httpd {
    fn drop(&mut self) {
        self.say(&FromParent::Shutdown);
        let deadline = Instant::now() + Duration::from_secs(8);
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                self.child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if std::thread::panicking() {
            use std::io::Write;
            std::io::stderr().write_all(self.log().as_bytes()).unwrap();
        }
    }
}

/// A connection of an httpd child.
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    pub(crate) reader: FrameReader,
    pub(crate) nonce: u32,
    count: u64,
}

impl Connection {
    /// Sends a request on an open connection.
    pub(crate) fn request(&mut self, script: &Path, path: &str) -> std::io::Result<()> {
        self.send(&[], script, path)
    }

    fn send(&mut self, front: &[u8], script: &Path, path: &str) -> std::io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        self.count += 1;
        let pairs: [(&str, &str); 8] = [
            ("REQUEST_METHOD", "GET"),
            ("SCRIPT_NAME", ""),
            ("PATH_INFO", path),
            ("QUERY_STRING", ""),
            ("SERVER_NAME", "localhost"),
            ("SERVER_PORT", "80"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REQUEST_URI", path),
        ];
        let request = RequestHead {
            call: Call::Application,
            script: Bytes::new(script.as_os_str().as_bytes()),
            callable: Bytes::new(b"application"),
            body: BodyKind::None,
            options: RequestOptions {
                script_reloading: true,
                ..RequestOptions::default()
            },
            request_start_us: 1,
            queue_start_us: 1,
            environ: pairs
                .iter()
                .map(|(k, v)| (Bytes::new(k.as_bytes()), Bytes::new(v.as_bytes())))
                .collect(),
        };
        let bytes = payload::encode(&request).unwrap();
        let id = u64::from(self.nonce) << 32 | self.count;
        let head = FrameHead::new(Kind::Request, id, u32::try_from(bytes.len()).unwrap())
            .with_flags(FLAG_END)
            .encode();
        let mut slices = [
            IoSlice::new(front),
            IoSlice::new(&head),
            IoSlice::new(&bytes),
        ];
        send_all(self.stream.as_fd(), &mut slices, &[], MsgFlags::empty()).map(drop)
    }

    /// The whole answer to the request in flight.
    pub(crate) fn answer(&mut self) -> Answer {
        let (mut status, mut body) = (0, Vec::new());
        loop {
            let Ok(frame) = self.reader.next(self.stream.as_fd()) else {
                return Answer::Lost;
            };
            match frame.head.kind {
                Kind::Response => {
                    let head: wsgid_protocol::response::ResponseHead<'_> =
                        payload::decode(frame.payload).unwrap();
                    status = head.status;
                }
                Kind::Data => body.extend_from_slice(frame.payload),
                Kind::End => return Answer::Body(status, String::from_utf8(body).unwrap()),
                Kind::Fail => {
                    return Answer::Failed(
                        frame.head.code,
                        String::from_utf8_lossy(frame.payload).into_owned(),
                    );
                }
                _ => {}
            }
        }
    }
}

/// A group that runs `script` with the Python on PATH.
pub(crate) fn group(name: &str, script: &Path) -> GroupConfig {
    let mut config = GroupConfig::new(name, "test:1");
    config.preload_scripts = vec![Preload {
        script: script.to_path_buf(),
        application_group: String::new(),
        callable: Some("application".into()),
    }];
    config.runs.add_file(&script.to_string_lossy());
    config.threads = 4;
    config
}

pub(crate) fn nobody() -> u32 {
    if nix::unistd::geteuid().is_root() {
        65534
    } else {
        nix::unistd::geteuid().as_raw()
    }
}

pub(crate) fn inheritable(fd: std::os::fd::BorrowedFd<'_>) -> OwnedFd {
    let copy = fd.try_clone_to_owned().unwrap();
    fcntl(&copy, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    copy
}
