//! Whatever a structure holds comes back as it was; whatever bytes a peer sends
//! are a value or an error. The second half starts from real messages and
//! changes them, because random bytes seldom get past the first field.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

#[expect(dead_code, reason = "the golden files use all of it")]
mod samples;

use std::time::Duration;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};
use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::LogTarget;
use wsgid_protocol::control::{
    Command, FromParent, FromWorker, RecycleReason, RunningRequest, ToParent, ToWorker,
    WorkerReport,
};
use wsgid_protocol::in_flight::{Activity, RequestInFlight, WorkerRequests};
use wsgid_protocol::payload::{decode, decode_message, encode};
use wsgid_protocol::request::{BodyKind, Call, Hello, RequestHead, RequestOptions};
use wsgid_protocol::response::{Answer, EndReport, FilePart, HeadWriter, ResponseHead};
use wsgid_protocol::span::SpanMessage;
use wsgid_protocol::stamp::{FileStamp, StampedFile};

type Pair = (Vec<u8>, Vec<u8>);

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn pairs() -> impl Strategy<Value = Vec<Pair>> {
    vec((bytes(), bytes()), 0..60)
}

fn borrowed(pairs: &[Pair]) -> Vec<(&Bytes, &Bytes)> {
    pairs
        .iter()
        .map(|(name, value)| (Bytes::new(name), Bytes::new(value)))
        .collect()
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    assert_eq!(&decode::<T>(&encode(value).unwrap()).unwrap(), value);
}

fn call<'a>(which: u8, one: &'a [u8], two: &'a [u8]) -> Call<'a> {
    let (one, two) = (Bytes::new(one), Bytes::new(two));
    match which {
        0 => Call::Application,
        1 => Call::Handler,
        2 => Call::CheckPassword {
            user: one,
            password: two,
        },
        3 => Call::RealmHash {
            user: one,
            realm: two,
        },
        4 => Call::GroupsForUser { user: one },
        5 => Call::AllowAccess { host: one },
        _ => Call::Dispatch,
    }
}

fn body() -> impl Strategy<Value = BodyKind> {
    prop_oneof![
        Just(BodyKind::None),
        Just(BodyKind::Pull),
        any::<u32>().prop_map(BodyKind::Inline)
    ]
}

fn request_options() -> impl Strategy<Value = RequestOptions> {
    any::<[bool; 4]>().prop_map(
        |[script_reloading, file_frames, ignore_activity, interim]| RequestOptions {
            script_reloading,
            file_frames,
            ignore_activity,
            interim,
        },
    )
}

fn answer() -> impl Strategy<Value = Answer> {
    let buf = || bytes().prop_map(ByteBuf::from);
    prop_oneof![
        Just(Answer::Granted),
        Just(Answer::Denied),
        Just(Answer::Neutral),
        buf().prop_map(Answer::GrantedAs),
        buf().prop_map(Answer::RealmHash),
        vec(buf(), 0..5).prop_map(Answer::Groups),
        (of(buf()), of(buf()), of(buf())).prop_map(
            |(process_group, application_group, callable)| {
                Answer::Dispatch {
                    process_group,
                    application_group,
                    callable,
                }
            }
        ),
    ]
}

fn report() -> impl Strategy<Value = WorkerReport> {
    let running = (any::<u64>(), ".{0,20}", any::<u64>());
    let running = running.prop_map(|(connection, what, for_us)| RunningRequest {
        connection,
        what,
        for_us,
    });
    let numbers = (
        any::<u64>(),
        any::<u32>(),
        any::<u32>(),
        any::<u32>(),
        any::<u64>(),
    );
    (numbers, vec(any::<u64>(), 0..40), vec(running, 0..5)).prop_map(
        |(numbers, histogram, running)| {
            let (requests, in_flight, in_flight_max, connections, busy_us) = numbers;
            WorkerReport {
                requests,
                in_flight,
                in_flight_max,
                connections,
                busy_us,
                histogram,
                running,
                memory: Some(requests),
                cpu_us: Some(busy_us),
            }
        },
    )
}

fn requests() -> impl Strategy<Value = WorkerRequests> {
    let texts = (".{0,40}", ".{0,9}", ".{0,60}", of(".{0,90}"));
    let running =
        (any::<(u32, u64)>(), texts).prop_map(|((thread, for_us), (id, method, path, stack))| {
            RequestInFlight {
                thread,
                id,
                method,
                path,
                for_us,
                activity: Activity::Writing,
                stack,
            }
        });
    (any::<(bool, u32)>(), vec(running, 0..5)).prop_map(|((stacks, queued), running)| {
        WorkerRequests {
            stacks,
            queued,
            running,
        }
    })
}

fn stamped() -> impl Strategy<Value = StampedFile> {
    let stamp = any::<(u64, u64, u64, (i64, i64))>();
    let stamp = stamp.prop_map(|(device, inode, size, modified)| FileStamp {
        device,
        inode,
        size,
        modified,
    });
    ("/.{0,20}".prop_map(Into::into), of(stamp))
}

fn from_worker() -> impl Strategy<Value = FromWorker> {
    let failed = vec(("/.{0,20}".prop_map(Into::into), ".{0,60}"), 0..4);
    prop_oneof![
        (any::<(u32, u32, u32)>(), failed)
            .prop_map(|(python, failed)| FromWorker::Ready { python, failed }),
        any::<u64>().prop_map(|connection| FromWorker::Release { connection }),
        any::<u64>().prop_map(|connection| FromWorker::Closed { connection }),
        report().prop_map(FromWorker::Report),
        ".{0,200}".prop_map(|text| FromWorker::Dumped { text }),
        Just(FromWorker::Recycle(RecycleReason::LoadFailed)),
        Just(FromWorker::Heartbeat),
        Just(FromWorker::Forked),
        ".{0,200}".prop_map(|why| FromWorker::CannotFork { why }),
        "/.{0,20}".prop_map(|script| FromWorker::Loaded {
            script: script.into()
        }),
        ("/.{0,20}", ".{0,20}").prop_map(|(script, callable)| FromWorker::Called {
            script: script.into(),
            callable
        }),
        vec(stamped(), 0..4).prop_map(|files| FromWorker::Stamps { files }),
        stamped().prop_map(|(file, stamp)| FromWorker::Changed { file, stamp }),
        ("/.{0,20}", any::<bool>()).prop_map(|(script, on)| FromWorker::Reloading {
            script: script.into(),
            on
        }),
        ".{0,200}".prop_map(|why| FromWorker::Looks { why }),
        requests().prop_map(FromWorker::Requests),
    ]
}

fn group() -> impl Strategy<Value = GroupConfig> {
    // What options can hold: no NUL, and nothing that separates values.
    let texts = (
        ".{0,20}",
        of("[a-z\u{e9} ]{1,20}"),
        of("/[a-z\u{e9} ]{0,20}"),
        vec(("[A-Z]{1,9}", "[^\u{0}]{0,9}"), 0..4),
        vec("/[a-z\u{e9} ]{0,9}", 0..4),
    );
    let numbers = (
        of(0_u32..0o1000),
        1_u32..5000,
        of(5000_u32..10_000),
        any::<u64>(),
        of(-20_i32..20),
        any::<bool>(),
    );
    let log = prop_oneof![
        Just(LogTarget::Supervisor),
        (0_usize..300).prop_map(LogTarget::Descriptor),
        "/[^\u{0}]{0,9}".prop_map(|path| LogTarget::File(path.into())),
    ];
    (texts, numbers, any::<u32>(), log).prop_map(|(texts, numbers, millis, log)| {
        let (name, user, home, env, path) = texts;
        let mut group = GroupConfig::new(name, "file:1");
        group.user = user;
        group.home = home.map(Into::into);
        group.env = env;
        group.python_path = path.into_iter().map(Into::into).collect();
        (
            group.umask,
            group.processes,
            group.processes_max,
            group.memory_limit,
            group.cpu_priority,
            group.preload,
        ) = numbers;
        group.request_timeout = Duration::from_millis(millis.into());
        group.log = log;
        group
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn request_heads(
        (which, one, two, script) in (0_u8..7, bytes(), bytes(), bytes()),
        (body, options, times) in (body(), request_options(), any::<(u64, u64)>()),
        environ in pairs(),
    ) {
        let head = RequestHead {
            call: call(which, &one, &two),
            script: Bytes::new(&script),
            callable: Bytes::new(&one),
            body,
            options,
            request_start_us: times.0,
            queue_start_us: times.1,
            environ: borrowed(&environ),
        };
        let coded = encode(&head).unwrap();
        prop_assert_eq!(&decode::<RequestHead<'_>>(&coded).unwrap(), &head);
        prop_assert_eq!(&RequestHead::decode(&coded).unwrap(), &head);
        let mut by_hand = Vec::new();
        head.encode_into(&mut by_hand).unwrap();
        prop_assert_eq!(by_hand, coded);
    }

    #[test]
    fn response_heads(status in any::<u16>(), reason in bytes(), headers in pairs()) {
        let head = ResponseHead { status, reason: Bytes::new(&reason), headers: borrowed(&headers) };
        let coded = encode(&head).unwrap();
        prop_assert_eq!(&decode::<ResponseHead<'_>>(&coded).unwrap(), &head);
        prop_assert_eq!(&ResponseHead::decode(&coded).unwrap(), &head);
        let mut by_hand = Vec::new();
        let mut writer = HeadWriter::new(&mut by_hand, head.status, head.reason, head.headers.len());
        head.headers.iter().for_each(|(name, value)| writer.field(name, value));
        prop_assert!(writer.is_complete());
        prop_assert_eq!(by_hand, coded);
    }

    #[test]
    fn hellos(names in (".{0,60}", ".{0,60}"), numbers in any::<(u16, u16, u32, u64, u32, bool)>(), secret in any::<[u8; 32]>()) {
        let (version_min, version_max, pid, generation, nonce, from_request) = numbers;
        let (group, application_group) = names;
        comes_back(&Hello { version_min, version_max, group, application_group, pid, generation, nonce, secret, from_request });
    }

    #[test]
    fn small_structures(a in any::<u64>(), b in any::<u64>(), worker in any::<u32>(), in_flight in any::<u32>()) {
        comes_back(&FilePart { offset: a, len: b });
        comes_back(&EndReport { worker, in_flight, request_us: a, application_us: b, queue_us: a });
        comes_back(&ToWorker::Assign { connection: a, nonce: worker });
        comes_back(&FromParent::GenerationEnded(b));
        comes_back(&ToParent::Applied { generation: a, problems: vec![b.to_string()] });
        comes_back(&Command::Restart { group: a.to_string() });
    }

    #[test]
    fn answers(answer in answer()) {
        comes_back(&answer);
    }

    #[test]
    fn messages_of_a_worker(message in from_worker()) {
        comes_back(&message);
    }

    #[test]
    fn group_definitions(group in group()) {
        comes_back(&group);
    }

    /// A byte changed, cut off, or put in: a value that comes back, or an error.
    #[test]
    fn damaged_messages(
        which in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(),
        (byte, way) in (any::<u8>(), 0..3),
    ) {
        let all = samples::structures();
        let mut bytes = all[which.index(all.len())].bytes.clone();
        let at = at.index(bytes.len() + 1);
        match way {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, byte),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
        }
        decode_as_everything(&bytes);
    }

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..200)) {
        decode_as_everything(&bytes);
    }
}

/// Decodes the bytes as every structure; what decodes must come back.
fn decode_as_everything(bytes: &[u8]) {
    fn one<'de, T: Deserialize<'de> + Serialize>(bytes: &'de [u8]) {
        if let Ok(value) = decode::<T>(bytes) {
            // Integers may be written longer than needed, so compare with what
            // we write ourselves.
            let ours = encode(&value).unwrap();
            assert!(ours.len() <= bytes.len());
        }
    }
    /// What travels by name may be longer when it is written again: `1G` is a
    /// number then.
    fn by_name<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        if let Ok(value) = decode::<T>(bytes) {
            comes_back(&value);
        }
    }
    assert_eq!(
        RequestHead::decode(bytes).ok(),
        decode::<RequestHead<'_>>(bytes).ok()
    );
    assert_eq!(
        ResponseHead::decode(bytes).ok(),
        decode::<ResponseHead<'_>>(bytes).ok()
    );
    assert_eq!(
        EndReport::decode(bytes).ok(),
        decode::<EndReport>(bytes).ok()
    );
    one::<Hello>(bytes);
    one::<RequestHead<'_>>(bytes);
    one::<ResponseHead<'_>>(bytes);
    one::<FilePart>(bytes);
    one::<EndReport>(bytes);
    one::<SpanMessage>(bytes);
    one::<Answer>(bytes);
    by_name::<FromParent>(bytes);
    one::<ToParent>(bytes);
    by_name::<ToWorker>(bytes);
    one::<FromWorker>(bytes);
    one::<Command>(bytes);
    by_name::<GroupConfig>(bytes);
    let _ = (
        FromParent::read(bytes),
        ToWorker::read_spec(bytes),
        Hello::foreign(bytes),
    );
    let _ = (
        decode_message::<FromWorker>(bytes),
        decode_message::<ToParent>(bytes),
    );
}
