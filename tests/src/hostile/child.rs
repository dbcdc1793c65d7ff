//! A child of httpd that was taken over: it knows the secret, has httpd's user, and
//! asks for what it likes. Learned from a real child by standing in the
//! supervisor's place for a moment; spoken by the program `hostile_child`.

use std::fs;
use std::io::{self, BufRead as _, IoSlice, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::MsgFlags;
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;
use wsgid_protocol::blocking::{FrameReader, send_all};
use wsgid_protocol::head::FLAG_END;
use wsgid_protocol::payload::{decode, encode};
use wsgid_protocol::request::{BodyKind, Call, Hello, RequestHead, RequestOptions, VERSIONS};
use wsgid_protocol::response::ResponseHead;
use wsgid_protocol::{FrameHead, Kind};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What a request calls in its script, by name.
pub const CALLS: [&str; 7] = [
    "application",
    "handler",
    "password",
    "hash",
    "groups",
    "access",
    "dispatch",
];

/// What the program is told first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Orders {
    /// The supervisor's socket.
    pub socket: PathBuf,
    /// The process group.
    pub group: String,
    /// Of httpd.
    pub secret: [u8; 32],
    /// Of httpd.
    pub generation: u64,
    /// What to ask for on one connection: what is called, and the script.
    pub requests: Vec<(String, PathBuf)>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A whole response.
    Body(u16, String),
    /// A question was answered.
    Answered,
    /// FAIL, with its code and text.
    Failed(u16, String),
    /// The connection ended.
    Lost(String),
}

/// Lets a child of httpd, which `ask` has connect, say HELLO to us.
///
/// # Panics
/// If it does not.
pub fn overhear(socket: &Path, ask: impl FnOnce() + Send) -> Hello {
    let aside = socket.with_extension("aside");
    fs::rename(socket, &aside).expect("the socket can be moved");
    let listener = UnixListener::bind(socket).expect("there is room for another one");
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).expect("it is ours");
    let hello = std::thread::scope(|scope| {
        let asking = scope.spawn(ask);
        let (stream, _) = listener.accept().expect("a child connects");
        let mut reader = FrameReader::new(0);
        let frame = reader.next(stream.as_fd()).expect("it says something");
        let hello: Hello = decode(frame.payload).expect("it says HELLO");
        fs::rename(&aside, socket).expect("the socket can be moved back");
        drop(listener);
        drop(stream);
        asking.join().expect("the request ends");
        hello
    });
    assert_ne!(hello.secret, [0; 32], "{hello:?}");
    hello
}

/// The program: orders as JSON on standard input, an outcome a line.
///
/// # Errors
/// If the supervisor cannot be reached.
pub fn run() -> io::Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let orders: Orders = serde_json::from_str(&line)?;
    let stream = UnixStream::connect(&orders.socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut child = Child {
        stream,
        reader: FrameReader::new(1),
        count: 0,
    };
    let mut out = io::stdout().lock();
    for (call, script) in &orders.requests {
        let outcome = match child.ask(&orders, call, script) {
            Ok(()) => child.outcome(),
            Err(error) => Outcome::Lost(error.to_string()),
        };
        writeln!(out, "{}", serde_json::to_string(&outcome)?)?;
    }
    Ok(())
}

/// The upper half of the numbers of requests.
const NONCE: u32 = 0x0BAD_C0DE;

struct Child {
    stream: UnixStream,
    reader: FrameReader,
    count: u64,
}

impl Child {
    fn ask(&mut self, orders: &Orders, call: &str, script: &Path) -> io::Result<()> {
        let mut bytes = Vec::new();
        if self.count == 0 {
            bytes = hello(orders);
        }
        self.count += 1;
        let name: &[u8] = b"known";
        let call = match call {
            "handler" => Call::Handler,
            "password" => Call::CheckPassword {
                user: Bytes::new(name),
                password: Bytes::new(name),
            },
            "hash" => Call::RealmHash {
                user: Bytes::new(name),
                realm: Bytes::new(name),
            },
            "groups" => Call::GroupsForUser {
                user: Bytes::new(name),
            },
            "access" => Call::AllowAccess {
                host: Bytes::new(name),
            },
            "dispatch" => Call::Dispatch,
            _ => Call::Application,
        };
        let request = RequestHead {
            call,
            script: Bytes::new(script.as_os_str().as_encoded_bytes()),
            callable: Bytes::new(b"application"),
            body: BodyKind::None,
            options: RequestOptions {
                script_reloading: true,
                ..RequestOptions::default()
            },
            request_start_us: 1,
            queue_start_us: 1,
            environ: [
                ("REQUEST_METHOD", "GET"),
                ("SCRIPT_NAME", ""),
                ("PATH_INFO", "/"),
                ("SERVER_PROTOCOL", "HTTP/1.1"),
            ]
            .map(|(name, value)| (Bytes::new(name.as_bytes()), Bytes::new(value.as_bytes())))
            .into(),
        };
        let payload = encode(&request).map_err(io::Error::other)?;
        let id = (u64::from(NONCE) << 32) | self.count;
        let head = FrameHead::new(
            Kind::Request,
            id,
            u32::try_from(payload.len()).unwrap_or(u32::MAX),
        );
        bytes.extend_from_slice(&head.with_flags(FLAG_END).encode());
        bytes.extend_from_slice(&payload);
        send_all(
            self.stream.as_fd(),
            &mut [IoSlice::new(&bytes)],
            &[],
            MsgFlags::empty(),
        )
        .map(drop)
    }

    fn outcome(&mut self) -> Outcome {
        let mut status = 0;
        let mut body = Vec::new();
        let mut is_answered = false;
        loop {
            let frame = match self.reader.next(self.stream.as_fd()) {
                Ok(frame) => frame,
                Err(error) => return Outcome::Lost(error.to_string()),
            };
            match frame.head.kind {
                Kind::Response => match decode::<ResponseHead<'_>>(frame.payload) {
                    Ok(head) => status = head.status,
                    Err(error) => return Outcome::Lost(error.to_string()),
                },
                Kind::Data => body.extend_from_slice(frame.payload),
                Kind::Answer => is_answered = true,
                Kind::End if is_answered => return Outcome::Answered,
                Kind::End => {
                    return Outcome::Body(status, String::from_utf8_lossy(&body).into_owned());
                }
                Kind::Fail => {
                    let text = String::from_utf8_lossy(frame.payload).into_owned();
                    return Outcome::Failed(frame.head.code, text);
                }
                _ => {}
            }
        }
    }
}

fn hello(orders: &Orders) -> Vec<u8> {
    let hello = Hello {
        version_min: VERSIONS.0,
        version_max: VERSIONS.1,
        group: orders.group.clone(),
        application_group: String::new(),
        pid: std::process::id(),
        generation: orders.generation,
        nonce: NONCE,
        secret: orders.secret,
        from_request: false,
    };
    super::bytes::whole(
        FrameHead::new(Kind::Hello, 0, 0),
        &super::bytes::encoded(&hello),
    )
}
