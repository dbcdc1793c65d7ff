//! The failure table and the table of kinds: what every row must keep.

use std::collections::HashSet;

use wsgid_protocol::Kind;
use wsgid_protocol::failure::{self, Failure, level};
use wsgid_protocol::frame::{self, Sender};
use wsgid_protocol::limits;
use wsgid_protocol::request::BodyError;

#[test]
fn codes_and_names_are_unique_and_lead_back_to_their_row() {
    let codes: HashSet<u16> = failure::TABLE
        .iter()
        .map(|row| row.failure.code())
        .collect();
    let names: HashSet<&str> = failure::TABLE.iter().map(|row| row.name).collect();
    assert_eq!(
        (codes.len(), names.len()),
        (failure::TABLE.len(), failure::TABLE.len())
    );
    assert!(!codes.contains(&0), "0 is a frame without a code");
    for row in failure::TABLE {
        assert_eq!(Failure::from_code(row.failure.code()), Some(row.failure));
        assert_eq!(row.failure.row().name, row.name);
        assert!(
            row.name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            "{}",
            row.name
        );
    }
    let known = (0..=u16::MAX)
        .filter(|&code| Failure::from_code(code).is_some())
        .count();
    assert_eq!(known, failure::TABLE.len());
}

#[test]
fn statuses_and_levels_are_those_of_failures() {
    for row in failure::TABLE {
        assert!(
            [400, 414, 431, 500, 502, 503, 504].contains(&row.status),
            "{} has {}",
            row.name,
            row.status
        );
        assert!(
            (level::CRIT..=level::DEBUG).contains(&row.level),
            "{}",
            row.name
        );
        // The application's own decision is no trouble, as in mod_wsgi.
        let meant = row.failure == Failure::ApplicationTimeout;
        assert!(
            row.status < 500 || row.level <= level::NOTICE || row.repeatable || meant,
            "{}: nobody would see it",
            row.name
        );
        for text in [row.text, row.cure] {
            assert!(
                !text.is_empty() && !text.contains('|') && !text.contains('\n'),
                "{}",
                row.name
            );
        }
    }
}

/// Only what provably no worker began may run a second time.
#[test]
fn repeatable_is_only_what_never_began() {
    let repeatable: Vec<Failure> = failure::TABLE
        .iter()
        .filter(|row| row.repeatable)
        .map(|row| row.failure)
        .collect();
    assert_eq!(repeatable, [Failure::NotStarted]);
}

#[test]
fn body_errors_keep_their_codes() {
    let all = [
        BodyError::ClientGone,
        BodyError::Timeout,
        BodyError::TooLarge,
        BodyError::Malformed,
        BodyError::Other,
    ];
    let texts: HashSet<&str> = all.iter().map(|error| error.text()).collect();
    assert_eq!(texts.len(), all.len());
    for (error, code) in all.into_iter().zip(1..) {
        assert_eq!((error as u16, BodyError::from_code(code)), (code, error));
    }
    assert_eq!(BodyError::from_code(0), BodyError::Other);
    assert_eq!(BodyError::from_code(u16::MAX), BodyError::Other);
}

#[test]
fn kinds_have_one_sender_and_limits_that_hang_together() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_byte(kind as u8), Some(kind));
        assert!(kind.max_len() <= limits::MAX_CONTROL_LEN);
    }
    for row in frame::TABLE {
        let way = match row.kind.sender() {
            Sender::Module => "module →",
            Sender::Worker => "worker",
            Sender::Control => "control sockets",
        };
        assert!(row.way.starts_with(way), "{:?}", row.kind);
    }
    const { assert!(limits::MAX_INLINE_BODY_LEN <= limits::MAX_BODY_LEN) };
    assert!(u64::from(limits::MAX_BODY_LEN) <= limits::MAX_WANT);
    assert!(
        2 * limits::MAX_NAME_LEN < limits::MAX_HELLO_LEN as usize,
        "two names fit in a HELLO"
    );
    const {
        assert!(
            limits::MAX_DESCRIPTORS <= 253,
            "the kernel takes 253 with one message"
        )
    };
}
