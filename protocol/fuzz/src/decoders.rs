//! One function for each decoder that reads a peer's bytes. It must neither
//! panic nor loop nor take memory out of proportion, and what it accepts must
//! come back when it is encoded again. Called by the fuzz targets and, over the
//! seeds, by `protocol/tests/seeds.rs`.

use std::fmt::Debug;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use bytes::BytesMut;
use nix::sys::socket::MsgFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_util::codec::Decoder;
use wsgid_protocol::blocking::FrameReader;
use wsgid_protocol::codec::FrameCodec;
use wsgid_protocol::control::{Command, FromParent, FromWorker, ToParent, ToWorker};
use wsgid_protocol::limits::{HEAD_LEN, MAX_CONTROL_LEN};
use wsgid_protocol::payload::{decode, decode_message, encode};
use wsgid_protocol::request::{Hello, RequestHead};
use wsgid_protocol::response::{Answer, EndReport, FilePart, ResponseHead};
use wsgid_protocol::span::SpanMessage;
use wsgid_protocol::{FrameHead, GroupConfig, option};

/// A function that is fuzzed.
pub type Target = fn(&[u8]);

/// All of them by the name of their target and of their seeds.
pub const ALL: [(&str, Target); 7] = [
    ("frames", frames),
    ("hello", hello),
    ("request", request),
    ("response", response),
    ("control", control),
    ("answer", answer),
    ("option", option),
];

/// Reader and codec split the same bytes into the same frames, and stop at the
/// same place.
pub fn frames(data: &[u8]) {
    // More than a socket's buffer would block the writer.
    let data = &data[..data.len().min(64 * 1024)];
    assert_eq!(by_reader(data), by_codec(data));
}

type Split = (Vec<(FrameHead, Vec<u8>)>, bool);

fn by_reader(data: &[u8]) -> Split {
    let (mut near, far) = UnixStream::pair().expect("a pair of sockets");
    near.write_all(data).expect("it fits in the socket");
    drop(near);
    let mut reader = FrameReader::new(1);
    let mut frames = Vec::new();
    loop {
        match reader.next_buffered() {
            Ok(Some(frame)) => frames.push((frame.head, frame.payload.to_vec())),
            Ok(None) => match reader.fill(far.as_fd(), MsgFlags::empty()) {
                Ok(0) => return (frames, true),
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            },
            Err(_) => return (frames, false),
        }
    }
}

fn by_codec(data: &[u8]) -> Split {
    let mut codec = FrameCodec::new(MAX_CONTROL_LEN);
    let mut source = BytesMut::new();
    let mut frames = Vec::new();
    // In pieces, because a codec sees a stream and not a message.
    for piece in data.chunks(HEAD_LEN + 1) {
        source.extend_from_slice(piece);
        loop {
            match codec.decode(&mut source) {
                Ok(Some((head, payload))) => frames.push((head, payload.to_vec())),
                Ok(None) => break,
                Err(_) => return (frames, false),
            }
        }
    }
    (frames, true)
}

/// HELLO.
pub fn hello(data: &[u8]) {
    returns::<Hello>(data);
    let _ = Hello::foreign(data);
}

/// The head of a request.
pub fn request(data: &[u8]) {
    returns::<RequestHead<'_>>(data);
    assert_eq!(
        RequestHead::decode(data).ok(),
        decode::<RequestHead<'_>>(data).ok()
    );
}

/// What the module decodes from a worker, but ANSWER.
pub fn response(data: &[u8]) {
    returns::<ResponseHead<'_>>(data);
    assert_eq!(
        ResponseHead::decode(data).ok(),
        decode::<ResponseHead<'_>>(data).ok()
    );
    returns::<EndReport>(data);
    assert_eq!(EndReport::decode(data).ok(), decode::<EndReport>(data).ok());
    returns::<FilePart>(data);
    returns::<SpanMessage>(data);
}

/// The messages of the control sockets.
pub fn control(data: &[u8]) {
    by_name::<FromParent>(data);
    returns::<ToParent>(data);
    by_name::<ToWorker>(data);
    returns::<FromWorker>(data);
    returns::<Command>(data);
    by_name::<GroupConfig>(data);
    // As their receivers read them, from any release.
    if let Ok(Some(message)) = FromParent::read(data) {
        encode(&message).expect("what was read encodes");
    }
    let _ = (
        ToWorker::read_spec(data),
        decode_message::<ToWorker>(data),
        decode_message::<FromWorker>(data),
    );
    let _ = (
        decode_message::<ToParent>(data),
        decode_message::<Command>(data),
    );
}

/// ANSWER.
pub fn answer(data: &[u8]) {
    returns::<Answer>(data);
}

/// Options as `name=value`, one a line, set on one group.
pub fn option(data: &[u8]) {
    let mut group = GroupConfig::new("site", "fuzz");
    for (name, value) in String::from_utf8_lossy(data)
        .lines()
        .filter_map(|line| line.split_once('='))
    {
        let before = group.clone();
        match group.set(name, value) {
            Ok(()) => assert!(option::TABLE.iter().any(|row| row.name == name)),
            Err(error) => {
                assert!(error.to_string().contains(name));
                assert_eq!(group, before, "a refused value leaves nothing behind");
            }
        }
    }
    // What the options make of a group must reach the supervisor and the worker.
    let sent = encode(&group).expect("options hold text only");
    assert_eq!(
        decode::<GroupConfig>(&sent).expect("what we encode decodes"),
        group
    );
}

/// What decodes, encodes, in no more bytes (integers may come longer than
/// needed), to something that stays the same from then on.
fn returns<'de, T: Deserialize<'de> + Serialize + Debug>(data: &'de [u8]) {
    let Ok(value) = decode::<T>(data) else { return };
    let once = encode(&value).expect("what was decoded encodes");
    assert!(once.len() <= data.len(), "{value:?}");
}

/// The same for what travels by name, which may be longer when it is written
/// again: `1G` is a number then.
fn by_name<T: DeserializeOwned + Serialize + PartialEq + Debug>(data: &[u8]) {
    let Ok(value) = decode::<T>(data) else { return };
    let once = encode(&value).expect("what was decoded encodes");
    assert_eq!(decode::<T>(&once).expect("what we encode decodes"), value);
}
