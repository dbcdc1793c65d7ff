//! What one release makes of the words of another: older and newer by a field, a
//! kind of message, an option, a version.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

#[expect(dead_code, reason = "the golden files use all of it")]
mod samples;

use serde_json::Value;
use wsgid_protocol::control::{
    Command, FromParent, FromWorker, RecycleReason, ToParent, ToWorker, WorkerReport,
};
use wsgid_protocol::front::Front;
use wsgid_protocol::payload::{decode, decode_message, encode};
use wsgid_protocol::request::{Hello, VERSIONS};
use wsgid_protocol::variant_names;

/// The fixed front of a message, and the JSON behind it.
fn split(bytes: &[u8]) -> (Vec<u8>, Value) {
    let (front, rest) = bytes.split_at(1 + Front::LEN);
    let start = rest.iter().position(|byte| *byte == b'{').unwrap();
    (
        front.to_vec(),
        serde_json::from_slice(&rest[start..]).unwrap(),
    )
}

fn join(front: &[u8], body: &Value) -> Vec<u8> {
    let body = serde_bytes::ByteBuf::from(serde_json::to_vec(body).unwrap());
    [front, &encode(&body).unwrap()].concat()
}

fn configure() -> (Vec<u8>, Value) {
    let mut configuration = samples::control::configuration();
    configuration.versions = VERSIONS;
    split(&encode(&FromParent::Configure(configuration)).unwrap())
}

fn refusal(bytes: &[u8]) -> String {
    match FromParent::read(bytes).unwrap().unwrap() {
        FromParent::Configure(new) => {
            assert_eq!(
                (new.generation, new.httpd_uid),
                (3, 33),
                "the front is read"
            );
            new.refusal().unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_configuration_with_fields_that_nobody_knows_is_read() {
    let (front, mut body) = configure();
    body["hover"] = Value::from(7);
    body["server"]["engine"] = Value::from("rotary");
    let FromParent::Configure(read) = FromParent::read(&join(&front, &body)).unwrap().unwrap()
    else {
        panic!()
    };
    assert_eq!(read.refusal(), None);
    assert_eq!(
        (read.groups.len(), read.server),
        (2, samples::control::server())
    );
    body.as_object_mut().unwrap().remove("server");
    let FromParent::Configure(read) = FromParent::read(&join(&front, &body)).unwrap().unwrap()
    else {
        panic!()
    };
    assert_eq!((read.refusal(), read.groups.len()), (None, 2));
}

#[test]
fn a_configuration_of_another_version_is_refused_whatever_it_is() {
    let (mut front, _) = configure();
    front[1..5].copy_from_slice(&[3, 0, 3, 0]);
    for rest in [
        &b""[..],
        b"\xff\xff\xff\xff garbage",
        &[0; 400],
        b"\x02{}",
        b"\xfd\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let why = refusal(&[&front, rest].concat());
        assert!(
            why.contains("versions 3 to 3") && why.contains("supervisor 2 to 2"),
            "{why}"
        );
        assert!(why.contains("stop and start httpd"), "{why}");
    }
}

#[test]
fn a_configuration_that_is_cut_off_anywhere_is_refused() {
    let (front, body) = configure();
    let whole = join(&front, &body);
    for len in 1..whole.len() {
        match FromParent::read(&whole[..len]) {
            Ok(Some(FromParent::Configure(new))) => assert!(new.refusal().is_some(), "{len} bytes"),
            other => panic!("{len} bytes: {other:?}"),
        }
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_refused() {
    let (front, body) = configure();
    for field in ["secret", "groups", "httpd_uid", "generation"] {
        let mut less = body.clone();
        less.as_object_mut().unwrap().remove(field);
        let why = refusal(&join(&front, &less));
        assert!(
            why.contains("cannot be read") && why.contains(field),
            "{why}"
        );
    }
    refusal(&[&front[..], b"\x05garba"].concat());
    refusal(&front);
}

#[test]
fn a_kind_that_nobody_knows_is_none() {
    fn unknown<T: serde::de::DeserializeOwned>() {
        let kinds = u8::try_from(variant_names::names::<T>().len()).unwrap();
        assert!(decode_message::<T>(&[kinds, 1, 2, 3]).unwrap().is_none());
        assert!(decode_message::<T>(&[kinds]).unwrap().is_none());
        assert!(
            decode_message::<T>(&[251, 0xFF, 0xFF, 9])
                .unwrap()
                .is_none()
        );
        assert!(decode_message::<T>(&[]).is_err());
    }
    unknown::<FromParent>();
    unknown::<ToParent>();
    unknown::<ToWorker>();
    unknown::<FromWorker>();
    unknown::<Command>();
    let reason = encode(&FromWorker::Recycle(RecycleReason::Memory)).unwrap();
    assert_eq!(
        decode_message(&[reason[0], 77]).unwrap(),
        Some(FromWorker::Recycle(RecycleReason::Other)),
        "a worker that wants to be replaced is, whatever for"
    );
}

#[test]
fn fields_at_the_end_come_and_go() {
    for (name, message) in samples::control::from_worker() {
        let bytes = encode(&message).unwrap();
        let longer = [&bytes[..], b"\x07\x01x"].concat();
        assert_eq!(decode_message(&longer).unwrap(), Some(message), "{name}");
    }
    let report = WorkerReport {
        requests: 7,
        in_flight: 2,
        ..WorkerReport::default()
    };
    let bytes = encode(&FromWorker::Report(report.clone())).unwrap();
    assert_eq!(
        decode_message(&bytes[..3]).unwrap(),
        Some(FromWorker::Report(report)),
        "the rest is zero"
    );
    assert_eq!(
        decode_message(&[6, 9]).unwrap(),
        Some(FromWorker::Heartbeat)
    );
    let stop = encode(&ToWorker::Stop { within_ms: 5 }).unwrap();
    assert_eq!(
        decode_message(&[&stop[..], &[1]].concat()).unwrap(),
        Some(ToWorker::Stop { within_ms: 5 })
    );
    let refused = ToParent::Refused {
        generation: 1,
        reason: "why".to_owned(),
    };
    let bytes = [&encode(&refused).unwrap()[..], b"more"].concat();
    assert_eq!(decode_message(&bytes).unwrap(), Some(refused));
}

#[test]
fn a_worker_follows_no_specification_that_it_does_not_understand() {
    let spec = samples::control::spec();
    let bytes = encode(&ToWorker::Spec(Box::new(spec.clone()))).unwrap();
    assert_eq!(
        ToWorker::read_spec(&bytes).unwrap(),
        (Box::new(spec.clone()), false)
    );
    let bytes = encode(&ToWorker::Preload(Box::new(spec.clone()))).unwrap();
    assert_eq!(
        ToWorker::read_spec(&bytes).unwrap(),
        (Box::new(spec.clone()), true)
    );
    let (front, mut body) = split(&bytes);
    body["hover"] = Value::from(7);
    body.as_object_mut().unwrap().remove("callables");
    assert_eq!(
        ToWorker::read_spec(&join(&front, &body))
            .unwrap()
            .0
            .identity,
        spec.identity
    );

    let why = ToWorker::read_spec(&[&[0, 1, 0, 1, 0][..], &[0; 90]].concat()).unwrap_err();
    assert!(
        why.contains("versions 1 to 1")
            && why.contains("this worker 2 to 2")
            && why.contains("reexec"),
        "{why}"
    );
    let mut newer = spec;
    newer.group = samples::config::some();
    let why = ToWorker::read_spec(&encode(&ToWorker::Spec(Box::new(newer))).unwrap()).unwrap_err();
    assert!(
        why.contains("`full`") && why.contains("`hover-height`"),
        "{why}"
    );
    assert!(ToWorker::read_spec(&encode(&ToWorker::Drain).unwrap()).is_err());
    assert!(ToWorker::read_spec(&[]).is_err());
}

#[test]
fn whoever_is_not_named_is_nobody() {
    let spec: wsgid_protocol::control::WorkerSpec = serde_json::from_str("{}").unwrap();
    assert_eq!(
        (spec.identity.uid, spec.identity.gid),
        (u32::MAX, u32::MAX),
        "never root"
    );
}

#[test]
fn the_versions_of_a_hello_are_read_first() {
    let ours = Hello {
        version_min: 2,
        version_max: 2,
        ..samples::hello()
    };
    let bytes = encode(&ours).unwrap();
    assert_eq!(Hello::foreign(&bytes), None);
    assert_eq!(decode::<Hello>(&bytes).unwrap(), ours);
    let why = Hello::foreign(b"\x03\x04what follows is nobody's business").unwrap();
    assert!(
        why.contains("versions 3 to 4") && why.contains("supervisor 2 to 2"),
        "{why}"
    );
    assert!(Hello::foreign(&[1, 1]).is_some());
    assert_eq!(Hello::foreign(&[]), None);
}
