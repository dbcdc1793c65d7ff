//! The edges of payloads: what is left over, counted or too long, and that the
//! coders written by hand are those of the serializer.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

#[expect(dead_code, reason = "the golden files use all of it")]
mod samples;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::Bytes;
use wsgid_protocol::control::{FromWorker, WorkerReport};
use wsgid_protocol::limits::{MAX_ENVIRON_FIELDS, MAX_RESPONSE_FIELDS};
use wsgid_protocol::payload::{PayloadError, decode, encode, encode_frame_into};
use wsgid_protocol::request::{BodyKind, RequestHead};
use wsgid_protocol::response::{EndReport, FilePart, HeadWriter, ResponseHead};
use wsgid_protocol::{FrameHead, Kind};

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    assert_eq!(&decode::<T>(&encode(value).unwrap()).unwrap(), value);
}

#[test]
fn bytes_left_over_are_an_error() {
    let mut bytes = encode(&samples::response()).unwrap();
    bytes.push(0);
    assert!(matches!(
        decode::<ResponseHead<'_>>(&bytes),
        Err(PayloadError::Trailing(1))
    ));
    let mut bytes = encode(&FilePart { offset: 1, len: 2 }).unwrap();
    bytes.extend([0, 0]);
    assert!(matches!(
        decode::<FilePart>(&bytes),
        Err(PayloadError::Trailing(2))
    ));
}

#[test]
fn pairs_are_counted() {
    let empty = (Bytes::new(b""), Bytes::new(b""));
    let response = |count| {
        encode(&ResponseHead {
            headers: vec![empty; count],
            ..samples::response()
        })
        .unwrap()
    };
    assert_eq!(
        decode::<ResponseHead<'_>>(&response(MAX_RESPONSE_FIELDS))
            .unwrap()
            .headers
            .len(),
        MAX_RESPONSE_FIELDS
    );
    let error = decode::<ResponseHead<'_>>(&response(MAX_RESPONSE_FIELDS + 1))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("4097") && error.contains("at most 4096 pairs"),
        "{error}"
    );

    let error = ResponseHead::decode(&response(MAX_RESPONSE_FIELDS + 1))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("4097") && error.contains("at most 4096 pairs"),
        "{error}"
    );

    let request = |count| {
        encode(&RequestHead {
            environ: vec![empty; count],
            ..samples::request(BodyKind::None)
        })
        .unwrap()
    };
    assert!(decode::<RequestHead<'_>>(&request(MAX_ENVIRON_FIELDS)).is_ok());
    assert!(decode::<RequestHead<'_>>(&request(MAX_ENVIRON_FIELDS + 1)).is_err());
    assert!(RequestHead::decode(&request(MAX_ENVIRON_FIELDS)).is_ok());
    assert!(RequestHead::decode(&request(MAX_ENVIRON_FIELDS + 1)).is_err());
}

/// What the serializer writes for a report, and what it makes of every form of its numbers.
#[test]
fn reports_by_hand_are_those_of_the_serializer() {
    let numbers = [
        0_u64,
        1,
        250,
        251,
        0xFFFF,
        0x1_0000,
        u32::MAX.into(),
        1 << 32,
        u64::MAX,
    ];
    for (one, other) in numbers
        .iter()
        .flat_map(|one| numbers.map(|other| (*one, other)))
    {
        let report = EndReport {
            worker: u32::try_from(one).unwrap_or(7),
            in_flight: u32::try_from(other).unwrap_or(251),
            request_us: other,
            application_us: one,
            queue_us: other,
        };
        let coded = encode(&report).unwrap();
        let mut by_hand = Vec::new();
        report.encode_into(&mut by_hand);
        assert_eq!(by_hand, coded);
        assert_eq!(EndReport::decode(&coded).unwrap(), report);
        for end in 0..coded.len() {
            assert_eq!(EndReport::decode(&coded[..end]).ok(), None);
        }
        for (at, form) in
            (0..coded.len()).flat_map(|at| [251, 252, 253, 254, 255].map(|form| (at, form)))
        {
            let mut damaged = coded.clone();
            damaged[at] = form;
            assert_eq!(
                EndReport::decode(&damaged).ok(),
                decode::<EndReport>(&damaged).ok(),
                "{damaged:?}"
            );
        }
    }
}

/// Lengths of one, three, five and nine bytes, written shorter or longer than needed.
#[test]
fn lengths_by_hand_are_those_of_the_serializer() {
    for len in [0, 1, 250, 251, 252, 255, 256, 0xFFFF, 0x1_0000, 200_000] {
        let long = vec![b'x'; len];
        let head = ResponseHead {
            status: u16::try_from(len).unwrap_or(251),
            reason: Bytes::new(&long),
            headers: vec![(Bytes::new(&long), Bytes::new(b"v"))],
        };
        let coded = encode(&head).unwrap();
        assert_eq!(ResponseHead::decode(&coded).unwrap(), head);
        let mut by_hand = Vec::new();
        HeadWriter::new(&mut by_hand, head.status, &long, 1).field(&long, b"v");
        assert_eq!(by_hand, coded);
    }
    for number in [0_u64, 7, 250, 251, 200, 0xFFFF, 0x1_0000, u64::MAX] {
        let digits = number.to_le_bytes();
        for (first, len) in [(251, 2), (252, 4), (253, 8), (254, 8), (255, 8)] {
            for cut in 0..=len {
                let bytes = [&[first][..], &digits[..cut], &[0, 0]].concat();
                assert_eq!(
                    ResponseHead::decode(&bytes).ok(),
                    decode::<ResponseHead<'_>>(&bytes).ok(),
                    "{bytes:?}"
                );
            }
        }
    }
}

#[test]
fn a_frame_above_the_limit_of_its_kind_is_not_encoded() {
    let long = vec![b'x'; Kind::Response.max_len() as usize];
    let head = ResponseHead {
        headers: vec![(Bytes::new(b"X"), Bytes::new(&long))],
        ..samples::response()
    };
    let mut out = b"before".to_vec();
    let result = encode_frame_into(FrameHead::new(Kind::Response, 1, 0), &head, &mut out);
    assert!(matches!(
        result,
        Err(PayloadError::TooLong { max: 262_144, .. })
    ));
    assert_eq!(out, b"before", "nothing of it is left in the buffer");
}

#[test]
fn a_large_configuration_of_small_numbers_decodes() {
    // Small integers are one byte each on the wire and eight in the count that
    // the serializer's limit compares.
    let report = WorkerReport {
        histogram: vec![1; 200_000],
        ..WorkerReport::default()
    };
    comes_back(&FromWorker::Report(report.clone()));
    comes_back(&vec![1_u64; 4000]);
    comes_back(&vec![1_u64; 4 << 20]);
}

#[test]
fn a_payload_above_every_limit_is_refused() {
    assert!(matches!(
        decode::<Vec<u8>>(&vec![0; (16 << 20) + 1]),
        Err(PayloadError::TooLong { .. })
    ));
}
