//! Frames come out of a stream as they were put in, wherever it is cut, through
//! `FrameReader` over a socketpair and through `FrameCodec`; and what breaks a
//! rule is refused before anything is kept for it.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

#[expect(dead_code, reason = "the golden files use all of it")]
mod samples;

use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::sys::socket::MsgFlags;
use proptest::prelude::*;
use wsgid_protocol::blocking::{FrameReader, ReadError};
use wsgid_protocol::head::HeadError;
use wsgid_protocol::limits::{HEAD_LEN, MAX_BODY_LEN, MAX_LOG_LEN};
use wsgid_protocol::{FrameHead, Kind};

type Owned = (FrameHead, Vec<u8>);

/// All sample frames behind each other.
fn sample_stream() -> (Vec<u8>, Vec<Owned>) {
    let mut bytes = Vec::new();
    let mut frames = Vec::new();
    for sample in samples::frames() {
        let (head, payload) = sample.bytes.split_at(HEAD_LEN);
        frames.push((
            FrameHead::parse(head.first_chunk().unwrap()).unwrap(),
            payload.to_vec(),
        ));
        bytes.extend_from_slice(&sample.bytes);
    }
    (bytes, frames)
}

/// Takes what is complete.
fn drain(reader: &mut FrameReader, into: &mut Vec<Owned>) {
    while let Some(frame) = reader.next_buffered().unwrap() {
        into.push((frame.head, frame.payload.to_vec()));
    }
}

/// What a reader makes of these pieces, each sent alone over a socket that does
/// not block.
fn read_pieces(pieces: &[&[u8]]) -> Vec<Owned> {
    let (mut near, far) = UnixStream::pair().unwrap();
    let mut reader = FrameReader::new(0);
    let mut frames = Vec::new();
    for piece in pieces {
        for part in piece.chunks(32 * 1024) {
            near.write_all(part).unwrap();
            loop {
                drain(&mut reader, &mut frames);
                match reader.fill(far.as_fd(), MsgFlags::MSG_DONTWAIT) {
                    Ok(0) => panic!("the stream has not ended"),
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    assert!(reader.is_empty(), "bytes are left over");
    frames
}

#[test]
fn every_cut_gives_the_same_frames() {
    let (bytes, frames) = sample_stream();
    for at in 0..=bytes.len() {
        let (front, rest) = bytes.split_at(at);
        assert_eq!(read_pieces(&[front, rest]), frames, "cut at {at}");
    }
}

#[test]
fn one_byte_at_a_time_gives_the_same_frames() {
    let (bytes, frames) = sample_stream();
    let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read_pieces(&pieces), frames);
}

#[test]
fn the_end_between_frames_is_told_from_the_end_inside_one() {
    let (bytes, frames) = sample_stream();
    for at in 0..bytes.len() {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(&bytes[..at]).unwrap();
        drop(near);
        let mut reader = FrameReader::new(0);
        let mut whole = 0;
        let error = loop {
            match reader.next(far.as_fd()) {
                Ok(frame) => whole += HEAD_LEN + frame.payload.len(),
                Err(error) => break error,
            }
        };
        match error {
            ReadError::Closed => assert_eq!(whole, at),
            ReadError::Truncated => assert!(whole < at, "cut at {at}"),
            other => panic!("cut at {at}: {other}"),
        }
    }
    assert_eq!(frames.len(), Kind::ALL.len());
}

#[test]
fn a_receive_timeout_loses_nothing() {
    let (bytes, frames) = sample_stream();
    let (mut near, far) = UnixStream::pair().unwrap();
    far.set_read_timeout(Some(std::time::Duration::from_millis(1)))
        .unwrap();
    let mut reader = FrameReader::new(0);
    let mut got = Vec::new();
    for piece in bytes.chunks(97) {
        near.write_all(piece).unwrap();
        loop {
            match reader.next(far.as_fd()) {
                Ok(frame) => got.push((frame.head, frame.payload.to_vec())),
                Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(got, frames);
}

/// The error for a head with these bytes in front of an open stream: it must
/// come from the head alone, without waiting for the payload.
fn refused(bytes: &[u8; HEAD_LEN], reader: FrameReader) -> HeadError {
    let (mut near, far) = UnixStream::pair().unwrap();
    near.write_all(bytes).unwrap();
    let mut reader = reader;
    match reader.next(far.as_fd()) {
        Err(ReadError::Head(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_length_above_the_limit_of_its_kind_is_refused_at_once() {
    for kind in Kind::ALL {
        for len in [kind.max_len() + 1, u32::MAX] {
            let head = FrameHead::new(kind, 1, len).encode();
            assert_eq!(
                refused(&head, FrameReader::new(0)),
                HeadError::TooLong {
                    len,
                    max: kind.max_len(),
                    kind
                }
            );
        }
        let most = FrameHead::new(kind, 1, kind.max_len());
        assert_eq!(FrameHead::parse(&most.encode()).unwrap(), most);
    }
}

#[test]
fn unknown_kinds_and_critical_flags_are_refused_and_others_ignored() {
    let head = FrameHead::new(Kind::Data, 1, 0).encode();
    for byte in 0..=u8::MAX {
        let mut changed = head;
        changed[4] = byte;
        let known = Kind::ALL.iter().any(|&kind| kind as u8 == byte);
        assert_eq!(
            FrameHead::parse(&changed).is_ok(),
            known,
            "kind {byte:#04x}"
        );
        if !known {
            assert_eq!(
                refused(&changed, FrameReader::new(0)),
                HeadError::UnknownKind(byte)
            );
        }
        let mut changed = head;
        changed[5] = byte;
        assert_eq!(
            FrameHead::parse(&changed).is_ok(),
            byte & 0xF0 == 0,
            "flags {byte:#04x}"
        );
    }
}

#[test]
fn a_frame_of_the_longest_kind_of_body_goes_through() {
    let payload: Vec<u8> = (0..MAX_BODY_LEN).map(|index| (index % 251) as u8).collect();
    let head = FrameHead::new(Kind::Data, 9, MAX_BODY_LEN);
    let bytes = samples::frame(head, &payload);
    let twice = [bytes.clone(), bytes].concat();
    assert_eq!(
        read_pieces(&[&twice]),
        vec![(head, payload.clone()), (head, payload)]
    );
}

#[test]
fn a_sender_refuses_what_a_receiver_would() {
    let (near, far) = UnixStream::pair().unwrap();
    let send = |head, payload: &[u8]| {
        wsgid_protocol::blocking::send_frame(near.as_fd(), head, payload, &[])
    };
    let long = vec![0; MAX_LOG_LEN as usize + 1];
    let refused = [
        send(FrameHead::new(Kind::Log, 1, MAX_LOG_LEN + 1), &long),
        send(FrameHead::new(Kind::Log, 1, 4), b"abc"),
    ];
    for result in refused {
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
    drop(near);
    assert!(
        matches!(
            FrameReader::new(0).next(far.as_fd()),
            Err(ReadError::Closed)
        ),
        "nothing was sent"
    );
}

#[test]
fn a_send_that_times_out_half_way_is_an_error() {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_write_timeout(Some(std::time::Duration::from_millis(20)))
        .unwrap();
    let payload = vec![7; MAX_BODY_LEN as usize];
    let head = FrameHead::new(Kind::Data, 1, MAX_BODY_LEN);
    let mut results =
        (0..16).map(|_| wsgid_protocol::blocking::send_frame(near.as_fd(), head, &payload, &[]));
    let error = results
        .find_map(Result::err)
        .expect("nobody reads, so the socket fills");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    drop(far);
}

#[test]
fn a_send_that_may_not_wait_says_how_much_went() {
    use std::io::{IoSlice, Read as _};
    let (near, mut far) = UnixStream::pair().unwrap();
    let payload = vec![7; 4 << 20];
    let mut slices = [IoSlice::new(&[]), IoSlice::new(&payload), IoSlice::new(&[])];
    let sent =
        wsgid_protocol::blocking::send_all(near.as_fd(), &mut slices, &[], MsgFlags::MSG_DONTWAIT)
            .unwrap();
    assert!(sent > 0 && sent < payload.len());
    drop(near);
    let mut got = Vec::new();
    far.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), sent);
}

#[test]
fn more_slices_than_the_kernel_takes_at_once() {
    use std::io::{IoSlice, Read as _};
    let (near, mut far) = UnixStream::pair().unwrap();
    let bytes: Vec<[u8; 1]> = (0..5000_u32).map(|index| [(index % 256) as u8]).collect();
    let mut slices: Vec<IoSlice<'_>> = bytes.iter().map(|byte| IoSlice::new(byte)).collect();
    assert_eq!(
        wsgid_protocol::blocking::send_all(near.as_fd(), &mut slices, &[], MsgFlags::empty())
            .unwrap(),
        5000
    );
    drop(near);
    let mut got = Vec::new();
    far.read_to_end(&mut got).unwrap();
    assert_eq!(got, bytes.concat());
}

fn any_frame() -> impl Strategy<Value = Owned> {
    let head = (0..Kind::ALL.len(), 0_u8..16, any::<u16>(), any::<u64>());
    (head, 0_u32..100_000).prop_map(|((kind, flags, code, id), len)| {
        let kind = Kind::ALL[kind];
        let len = len.min(kind.max_len());
        let payload = (0..len).map(|index| (index % 253) as u8).collect();
        (
            FrameHead {
                len,
                kind,
                flags,
                code,
                id,
            },
            payload,
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn heads_round_trip((head, _) in any_frame()) {
        prop_assert_eq!(FrameHead::parse(&head.encode()).unwrap(), head);
    }

    #[test]
    fn sixteen_bytes_are_a_head_or_an_error(bytes in any::<[u8; HEAD_LEN]>()) {
        if let Ok(head) = FrameHead::parse(&bytes) {
            prop_assert_eq!(head.encode(), bytes);
            prop_assert!(head.len <= head.kind.max_len());
        }
    }

    #[test]
    fn any_frames_cut_anywhere(
        frames in proptest::collection::vec(any_frame(), 1..6),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(head, payload)| samples::frame(*head, payload)).collect();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(read_pieces(&pieces), frames);
    }
}
