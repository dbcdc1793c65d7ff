//! The JSON that the supervisor answers with: `status/status.json` is what the
//! command line and programs of people read, and a peer of another release still
//! understands it. The file is changed by hand, and only ever by adding to it.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use serde_json::{Value, json};
use wsgid_protocol::answers::{
    AwaitedPool, Begun, CommandError, Commanded, Done, Dumped, ErrorAnswer, ErrorKind, Reexecuting,
    Reloaded, WorkerStacks, from_json, to_json,
};
use wsgid_protocol::status::{GroupState, PreloaderState, Status, SupervisorStatus, WorkerPhase};

const SAMPLE: &str = include_str!("status/status.json");
const MANY_SITES: &str = include_str!("../../docs/many-sites.md");

fn read(json: &Value) -> Status {
    from_json(json.to_string().as_bytes()).unwrap().unwrap()
}

fn written(answer: &Result<Done, CommandError>) -> Value {
    serde_json::from_slice(&to_json(answer).unwrap()).unwrap()
}

#[test]
fn the_pinned_status_is_read_and_written_as_it_is() {
    let sample: Value = serde_json::from_str(SAMPLE).unwrap();
    let status = read(&sample);
    assert_eq!(status.groups[0].workers().count(), 2);
    assert_eq!(status.supervisor.as_ref().unwrap().generations, [2, 3]);
    assert_eq!(written(&Ok(Done::Status(status))), sample);
}

/// Calls for each object of the sample.
fn each_object(value: &mut Value, change: &mut impl FnMut(&mut serde_json::Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            map.values_mut()
                .for_each(|value| each_object(value, change));
            change(map);
        }
        Value::Array(list) => list.iter_mut().for_each(|value| each_object(value, change)),
        _ => {}
    }
}

#[test]
fn fields_of_a_newer_release_are_passed_over() {
    let mut newer: Value = serde_json::from_str(SAMPLE).unwrap();
    let expected = read(&newer);
    each_object(&mut newer, &mut |map| {
        // The keys of numbers alone are names, not fields: each is a count already.
        if !map.is_empty() && map.values().all(Value::is_u64) {
            return;
        }
        map.insert("hover_height".to_owned(), json!([{ "of": 9 }, null]));
    });
    assert_eq!(read(&newer), expected);
}

#[test]
fn a_status_without_any_one_field_is_read() {
    let sample: Value = serde_json::from_str(SAMPLE).unwrap();
    let mut keys = std::collections::BTreeSet::new();
    each_object(&mut sample.clone(), &mut |map| {
        keys.extend(map.keys().cloned());
    });
    keys.remove("ok");
    for key in keys {
        let mut older = sample.clone();
        each_object(&mut older, &mut |map| drop(map.remove(&key)));
        let _: Status = read(&older);
    }
    assert_eq!(read(&json!({ "ok": true })), Status::default());
}

#[test]
fn words_of_a_newer_release_are_unknown() {
    let pool = json!({ "state": "levitating", "preloader": { "state": "hovering" },
        "workers": [{ "state": "floating" }] });
    let status = read(&json!({ "ok": true, "groups": [{ "pools": [pool] }] }));
    let pool = &status.groups[0].pools[0];
    assert_eq!(pool.state, GroupState::Unknown);
    assert_eq!(
        pool.preloader.as_ref().unwrap().state,
        PreloaderState::Unknown
    );
    assert_eq!(pool.workers[0].state, WorkerPhase::Unknown);
    assert_eq!(pool.workers[0].state.word(), "unknown");
}

#[test]
fn who_may_not_command_the_supervisor_is_told_less() {
    let status = Status::default();
    assert_eq!(
        written(&Ok(Done::Status(status.clone())))["reexecs"],
        Value::Null
    );
    let whole = Status {
        supervisor: Some(SupervisorStatus::default()),
        ..status
    };
    let json = written(&Ok(Done::Status(whole)));
    assert_eq!(json["reexecs"], 0);
    assert!(json.as_object().unwrap().contains_key("reexec_problem"));
}

/// Each key of the sample stands in the tables for people.
#[test]
fn every_key_is_documented() {
    let tables = MANY_SITES.split("### Status for programs").nth(1).unwrap();
    each_object(&mut serde_json::from_str(SAMPLE).unwrap(), &mut |map| {
        for key in map.keys() {
            assert!(tables.contains(&format!("`{key}`")), "{key}");
        }
    });
}

#[test]
fn other_answers_are_read_as_they_are_written() {
    let dumped = Dumped {
        asked: 2,
        workers: vec![WorkerStacks {
            pid: 5,
            stacks: "in waits".to_owned(),
        }],
    };
    let json = to_json(&Ok(Done::Dumped(dumped.clone()))).unwrap();
    assert_eq!(from_json(&json).unwrap(), Ok(dumped));
    let awaited = AwaitedPool {
        group: "a".to_owned(),
        application_group: String::new(),
        generation: 3,
    };
    let begun = Begun {
        pid: 7,
        awaited: Some(vec![awaited]),
    };
    let reloaded = Reloaded {
        problems: vec!["site `a`: no".to_owned()],
        begun: begun.clone(),
    };
    let json = to_json(&Ok(Done::Reloaded(reloaded.clone()))).unwrap();
    assert_eq!(from_json(&json).unwrap(), Ok(reloaded));
    let reexecuting = Reexecuting { pid: 4, reexecs: 1 };
    let json = to_json(&Ok(Done::Reexecuting(reexecuting.clone()))).unwrap();
    assert_eq!(from_json(&json).unwrap(), Ok(reexecuting));
    let commanded = Commanded {
        group: "a".to_owned(),
        pools: 2,
        begun,
    };
    let json = to_json(&Ok(Done::Commanded(commanded.clone()))).unwrap();
    assert_eq!(from_json(&json).unwrap(), Ok(commanded));
    // A supervisor that does not tell what it has begun.
    let older = br#"{"ok":true,"group":"a","pools":2}"#;
    let older: Commanded = from_json(older).unwrap().unwrap();
    assert_eq!((older.pools, older.begun.awaited), (2, None));
    assert_eq!(
        written(&Ok(Done::Draining { draining: true })),
        json!({ "ok": true, "draining": true })
    );
}

#[test]
fn errors_have_a_kind_and_a_text() {
    let group = || "shop".to_owned();
    for (error, kind, text) in [
        (
            CommandError::NotSupervisors { uid: 9 },
            "denied",
            "uid 9 may not command the supervisor",
        ),
        (
            CommandError::NotOwner {
                uid: 9,
                group: group(),
            },
            "denied",
            "uid 9 may not command process group `shop`: only root and the user that it runs as may",
        ),
        (
            CommandError::HttpdOwnsNone {
                uid: 9,
                group: group(),
            },
            "denied",
            "uid 9 may not command process group `shop`: it is httpd's own user, which owns none",
        ),
        (
            CommandError::NoSuchGroup { group: group() },
            "no-such-group",
            "process group `shop` is not defined",
        ),
        (
            CommandError::ConfiguredByHttpd,
            "unsupported",
            "this supervisor is configured by httpd; say apachectl graceful",
        ),
        (
            CommandError::TooManyDescriptors {
                wanted: 20,
                allowed: 10,
            },
            "failed",
            "20 descriptors are needed for it and 10 are allowed; raise LimitNOFILE",
        ),
        (
            CommandError::AboutToEnd,
            "failed",
            "the supervisor is about to end",
        ),
        (
            CommandError::NotUnderstood("Body is no command".to_owned()),
            "not-a-command",
            "the supervisor does not understand this: Body is no command",
        ),
        (
            CommandError::NoAnswer,
            "timeout",
            "the supervisor gave no answer",
        ),
    ] {
        let json = json!({ "error": kind, "text": text });
        let read = from_json::<Status>(json.to_string().as_bytes()).unwrap();
        let expected = ErrorAnswer {
            kind: error.kind(),
            text: text.to_owned(),
        };
        assert_eq!(read, Err(expected));
        assert_eq!(written(&Err(error)), json);
    }
    let newer = from_json::<Status>(br#"{"error":"too-high","text":"x"}"#);
    assert_eq!(newer.unwrap().unwrap_err().kind, ErrorKind::Unknown);
}

#[test]
fn what_is_no_answer_of_a_supervisor_is_refused() {
    for said in ["[]", "{}", "5", "", "{\"ok\":false}", "{\"error\":7}"] {
        assert!(from_json::<Status>(said.as_bytes()).is_err(), "{said}");
    }
}
