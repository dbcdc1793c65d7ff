//! The codec of the supervisor splits a stream as the blocking reader does.
#![cfg(feature = "codec")]
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

#[expect(dead_code, reason = "the golden files use all of it")]
mod samples;

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};
use wsgid_protocol::codec::FrameCodec;
use wsgid_protocol::limits::{HEAD_LEN, MAX_CONTROL_LEN, MAX_HELLO_LEN};
use wsgid_protocol::{FrameHead, Kind};

fn sample_stream() -> Vec<u8> {
    samples::frames()
        .into_iter()
        .flat_map(|sample| sample.bytes)
        .collect()
}

/// Decodes the pieces and encodes what came out.
fn through(pieces: &[&[u8]]) -> Vec<u8> {
    let mut codec = FrameCodec::new(MAX_CONTROL_LEN);
    let (mut source, mut out) = (BytesMut::new(), BytesMut::new());
    for piece in pieces {
        source.extend_from_slice(piece);
        while let Some((head, payload)) = codec.decode(&mut source).unwrap() {
            assert_eq!(head.len as usize, payload.len());
            codec.encode((head, &payload), &mut out).unwrap();
        }
    }
    assert!(codec.decode_eof(&mut source).unwrap().is_none());
    out.to_vec()
}

#[test]
fn every_cut_gives_the_same_frames() {
    let bytes = sample_stream();
    for at in 0..=bytes.len() {
        let (front, rest) = bytes.split_at(at);
        assert!(through(&[front, rest]) == bytes, "cut at {at}");
    }
    let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(through(&pieces), bytes);
}

#[test]
fn an_end_inside_a_frame_is_an_error() {
    let frame = &samples::frames()[0].bytes;
    for at in 1..frame.len() {
        let mut source = BytesMut::from(&frame[..at]);
        assert!(
            FrameCodec::new(MAX_CONTROL_LEN)
                .decode_eof(&mut source)
                .is_err(),
            "cut at {at}"
        );
    }
}

#[test]
fn a_length_above_the_own_limit_is_refused_before_memory_is_taken() {
    let head = FrameHead::new(Kind::Control, 0, MAX_HELLO_LEN + 1).encode();
    let mut source = BytesMut::from(&head[..]);
    let error = FrameCodec::new(MAX_HELLO_LEN)
        .decode(&mut source)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "payload of 4097 bytes is above the limit of 4096"
    );
    assert!(source.capacity() < MAX_HELLO_LEN as usize);
}

#[test]
fn a_bad_head_is_an_error_that_says_why() {
    let mut head = FrameHead::new(Kind::Control, 0, 0).encode();
    head[4] = 0x77;
    let error = FrameCodec::new(MAX_CONTROL_LEN)
        .decode(&mut BytesMut::from(&head[..]))
        .unwrap_err();
    assert_eq!(error.to_string(), "unknown frame kind `0x77`");
}

#[test]
fn an_encoder_refuses_a_head_that_does_not_fit() {
    let mut out = BytesMut::new();
    let head = FrameHead::new(Kind::Control, 0, 5);
    assert!(
        FrameCodec::new(MAX_CONTROL_LEN)
            .encode((head, b"four"), &mut out)
            .is_err()
    );
    assert!(out.is_empty());
    assert_eq!(head.encode().len(), HEAD_LEN);
}
