//! One value of every structure that crosses a socket, and every frame kind.
//! The golden files, the split tests and the seeds of the fuzz targets are made
//! from them. Struct literals are complete on purpose: a new field does not
//! compile here before somebody has thought about old peers.

pub(crate) mod config;
pub(crate) mod control;

use serde_bytes::{ByteBuf, Bytes};
use wsgid_protocol::head::{FLAG_CLOSE, FLAG_END, FLAG_FLUSH};
use wsgid_protocol::payload::{encode, encode_frame_into};
use wsgid_protocol::request::{BodyError, BodyKind, Call, Hello, RequestHead, RequestOptions};
use wsgid_protocol::response::{Answer, EndReport, FilePart, ResponseHead};
use wsgid_protocol::span::{Span, SpanMessage, WorkerTimes};
use wsgid_protocol::{Failure, FrameHead, Kind};

/// A name and the bytes that belong to it.
pub(crate) struct Sample {
    /// Name of the golden file.
    pub(crate) name: String,
    /// What is on the wire.
    pub(crate) bytes: Vec<u8>,
}

impl Sample {
    fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            bytes,
        }
    }
}

/// Nonce and request number as §2 of PROTOCOL.md puts them together.
pub(crate) const ID: u64 = 0xC0FF_EE11_0000_0007;

/// A frame as it is on the wire.
pub(crate) fn frame(head: FrameHead, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    let mut out = FrameHead { len, ..head }.encode().to_vec();
    out.extend_from_slice(payload);
    out
}

fn coded<T: serde::Serialize>(head: FrameHead, value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame_into(head, value, &mut out).unwrap();
    out
}

fn interim() -> ResponseHead<'static> {
    ResponseHead {
        status: 103,
        reason: b(b"Early Hints"),
        headers: vec![(b(b"Link"), b(b"</a.css>"))],
    }
}

/// Every kind of frame, in the order of the table in PROTOCOL.md §3.
pub(crate) fn frames() -> Vec<Sample> {
    let head = |kind| FrameHead::new(kind, ID, 0);
    let fail = head(Kind::Fail)
        .with_code(Failure::WorkerSignalled.code())
        .with_flags(FLAG_CLOSE);
    vec![
        Sample::new(
            "frame-hello",
            coded(FrameHead::new(Kind::Hello, 0, 0), &hello()),
        ),
        Sample::new(
            "frame-request",
            coded(
                head(Kind::Request).with_flags(FLAG_END),
                &request(BodyKind::None),
            ),
        ),
        Sample::new(
            "frame-body",
            frame(head(Kind::Body).with_flags(FLAG_END), b"a=1&b=2"),
        ),
        Sample::new(
            "frame-body-error",
            frame(
                head(Kind::BodyError).with_code(BodyError::Timeout as u16),
                b"",
            ),
        ),
        Sample::new("frame-cancel", frame(head(Kind::Cancel), b"")),
        Sample::new(
            "frame-variable",
            frame(head(Kind::Variable).with_code(1), b"TLSv1.3"),
        ),
        Sample::new("frame-span", span_frame()),
        Sample::new(
            "frame-want",
            frame(head(Kind::Want), &65_536_u64.to_le_bytes()),
        ),
        Sample::new("frame-interim", coded(head(Kind::Interim), &interim())),
        Sample::new("frame-response", coded(head(Kind::Response), &response())),
        Sample::new(
            "frame-data",
            frame(head(Kind::Data).with_flags(FLAG_FLUSH), b"Hello World!\n"),
        ),
        Sample::new(
            "frame-file",
            coded(
                head(Kind::File).with_code(1),
                &FilePart {
                    offset: 4096,
                    len: 1 << 40,
                },
            ),
        ),
        Sample::new(
            "frame-log",
            frame(head(Kind::Log).with_code(4), "Stra\u{df}e".as_bytes()),
        ),
        Sample::new(
            "frame-end",
            coded(head(Kind::End).with_flags(FLAG_CLOSE), &end_report()),
        ),
        Sample::new(
            "frame-fail",
            frame(fail, b"worker 4711 was ended by SIGSEGV"),
        ),
        Sample::new(
            "frame-answer",
            coded(head(Kind::Answer), &answers().remove(1).1),
        ),
        Sample::new("frame-lookup", frame(head(Kind::Lookup), b"SSL_PROTOCOL")),
        Sample::new(
            "frame-control",
            coded(
                FrameHead::new(Kind::Control, 0, 0).with_code(1),
                &control::assign(),
            ),
        ),
    ]
}

/// Every structure that is encoded alone, each variant of each enumeration.
pub(crate) fn structures() -> Vec<Sample> {
    let mut all = vec![
        Sample::new("hello", encode(&hello()).unwrap()),
        Sample::new("response-head", encode(&response()).unwrap()),
        Sample::new(
            "file-part",
            encode(&FilePart {
                offset: 250,
                len: 251,
            })
            .unwrap(),
        ),
        Sample::new("end-report", encode(&end_report()).unwrap()),
    ];
    for (name, body) in bodies() {
        all.push(Sample::new(
            format!("request-head-{name}"),
            encode(&request(body)).unwrap(),
        ));
    }
    for (name, call) in calls() {
        all.push(Sample::new(format!("call-{name}"), encode(&call).unwrap()));
    }
    for (name, options) in options() {
        all.push(Sample::new(
            format!("request-options-{name}"),
            encode(&options).unwrap(),
        ));
    }
    for (name, answer) in answers() {
        all.push(Sample::new(
            format!("answer-{name}"),
            encode(&answer).unwrap(),
        ));
    }
    all.extend(control::samples());
    all.extend(config::samples());
    all
}

pub(crate) fn b(bytes: &[u8]) -> &Bytes {
    Bytes::new(bytes)
}

pub(crate) fn hello() -> Hello {
    let mut secret = [0; 32];
    (0_u8..)
        .zip(&mut secret)
        .for_each(|(index, byte)| *byte = index * 8);
    Hello {
        version_min: 2,
        version_max: 3,
        group: "shop".to_owned(),
        application_group: "www.example.com|/shop".to_owned(),
        pid: 4711,
        generation: 3,
        nonce: 0xC0FF_EE11,
        secret,
        from_request: true,
    }
}

pub(crate) fn request(body: BodyKind) -> RequestHead<'static> {
    RequestHead {
        call: Call::Application,
        script: b(b"/srv/shop/wsgi.py"),
        callable: b(b"application"),
        body,
        options: RequestOptions {
            script_reloading: true,
            file_frames: true,
            ignore_activity: false,
            interim: true,
        },
        request_start_us: 1_700_000_000_000_000,
        queue_start_us: 1_700_000_000_000_250,
        environ: vec![
            (b(b"REQUEST_METHOD"), b(b"POST")),
            (b(b"PATH_INFO"), b(b"/caf\xe9")),
            (b(b"QUERY_STRING"), b(b"")),
            (b(b"HTTP_COOKIE"), b(&[b'x'; 300])),
        ],
    }
}

pub(crate) fn bodies() -> Vec<(&'static str, BodyKind)> {
    vec![
        ("none", BodyKind::None),
        ("inline", BodyKind::Inline(65_536)),
        ("pull", BodyKind::Pull),
    ]
}

pub(crate) fn calls() -> Vec<(&'static str, Call<'static>)> {
    vec![
        ("application", Call::Application),
        ("handler", Call::Handler),
        (
            "check-password",
            Call::CheckPassword {
                user: b(b"anna"),
                password: b(b"s\xe9same"),
            },
        ),
        (
            "realm-hash",
            Call::RealmHash {
                user: b(b"anna"),
                realm: b(b"staff"),
            },
        ),
        ("groups-for-user", Call::GroupsForUser { user: b(b"anna") }),
        (
            "allow-access",
            Call::AllowAccess {
                host: b(b"192.0.2.7"),
            },
        ),
        ("dispatch", Call::Dispatch),
    ]
}

/// One switch at a time: two that change places must show.
pub(crate) fn options() -> Vec<(&'static str, RequestOptions)> {
    let off = RequestOptions::default();
    vec![
        (
            "script-reloading",
            RequestOptions {
                script_reloading: true,
                ..off
            },
        ),
        (
            "file-frames",
            RequestOptions {
                file_frames: true,
                ..off
            },
        ),
        (
            "ignore-activity",
            RequestOptions {
                ignore_activity: true,
                ..off
            },
        ),
        (
            "interim",
            RequestOptions {
                interim: true,
                ..off
            },
        ),
    ]
}

pub(crate) fn response() -> ResponseHead<'static> {
    ResponseHead {
        status: 404,
        reason: b(b"Not Found"),
        headers: vec![
            (b(b"Content-Type"), b(b"text/html; charset=utf-8")),
            (b(b"Set-Cookie"), b(b"a=1")),
            (b(b"Set-Cookie"), b(b"b=2")),
            (b(b"X-Empty"), b(b"")),
        ],
    }
}

fn span_frame() -> Vec<u8> {
    let head = FrameHead::new(Kind::Span, 0, 0);
    coded(head, &SpanMessage::Ended(span()))
}

pub(crate) fn span() -> Span {
    Span {
        trace_id: [0x0a; 16],
        span_id: [0x0b; 8],
        parent: Some([0x0c; 8]),
        group: "shop".into(),
        method: "GET".into(),
        route: "/shop".into(),
        status: 502,
        failure: "worker-signalled".into(),
        cause: "worker 4711 was ended by SIGKILL".into(),
        start_us: 1_700_000_000_000_000,
        took_us: 70_000,
        httpd_us: 200,
        by_worker: Some(WorkerTimes {
            queue_us: 300,
            application_us: 60_000,
        }),
        worker: 4711,
        request_id: "Zx1aB".into(),
        lost: 2,
    }
}

pub(crate) fn end_report() -> EndReport {
    EndReport {
        worker: 4711,
        in_flight: 3,
        request_us: 70_000,
        application_us: 5_000_000_000,
        queue_us: 900,
    }
}

pub(crate) fn answers() -> Vec<(&'static str, Answer)> {
    let buf = |text: &[u8]| ByteBuf::from(text);
    vec![
        ("granted", Answer::Granted),
        ("granted-as", Answer::GrantedAs(buf(b"anna"))),
        ("denied", Answer::Denied),
        ("neutral", Answer::Neutral),
        (
            "realm-hash",
            Answer::RealmHash(buf(b"d41d8cd98f00b204e9800998ecf8427e")),
        ),
        (
            "groups",
            Answer::Groups(vec![buf(b"staff"), buf(b"caf\xe9")]),
        ),
        (
            "dispatch",
            Answer::Dispatch {
                process_group: Some(buf(b"shop")),
                application_group: None,
                callable: Some(buf(b"application")),
            },
        ),
    ]
}
