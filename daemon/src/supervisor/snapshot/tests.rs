//! What each release wrote is read by this one: whole, with any one field
//! missing, and with fields that nobody knows.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use serde_json::{Value, json};
use wsgid_protocol::control::{FromWorker, ToWorker};

use super::{ConnectionRecord, ConnectionSnapshot, Pending, ProcessGroup, State, WorkerEvent};
use wsgid_policy::ids::WorkerId;

fn states() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/states")
}

fn pinned() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(states())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        (path.display().to_string(), value)
    };
    files.map(read).collect()
}

fn read(value: &Value) -> Result<State, String> {
    serde_json::from_value(value.clone()).map_err(|error| error.to_string())
}

/// With what is seldom in a state: something of every structure.
fn with_everything(value: &Value) -> Value {
    let mut state = read(value).unwrap();
    let definition = state.groups[0].definition.clone();
    let (id, pool) = (WorkerId(9), state.pools[0].id);
    state.spawns.push(Pending {
        pool,
        worker: id,
        slot: 3,
        generation: 2,
        definition,
        ..Pending::default()
    });
    state
        .events
        .push((id, WorkerEvent::Says(FromWorker::Heartbeat)));
    state
        .events
        .push((id, WorkerEvent::Exited(ExitStatus::from_raw(9))));
    state.workers[0]
        .outbox
        .push(ToWorker::Stop { within_ms: 5 });
    let record = ConnectionRecord {
        nonce: 7,
        pool,
        owner: None,
    };
    state.connections.push(ConnectionSnapshot {
        id: 99,
        fd: Some(99),
        worker: Some(id),
        record,
    });
    let mut value = serde_json::to_value(&state).unwrap();
    let instant = value["started"].clone();
    let pool = &mut value["pools"][0];
    pool["given_up"] = json!({
        "at": { "secs_since_epoch": 1, "nanos_since_epoch": 2 }, "generation": 2, "why": "it hangs",
        "other_definition": false, "failed": { "/srv/app.py": "ImportError" },
    });
    pool["refusing"] = json!([41, "it failed"]);
    pool["machine"]["next"] = pool["machine"]["current"].clone();
    pool["machine"]["mode"] = json!({ "Failed": { "until": instant, "cause": "it fails" } });
    let member = pool["machine"]["members"]
        .as_object_mut()
        .unwrap()
        .values_mut()
        .next()
        .unwrap();
    member["recycle"] = json!({ "reason": "Memory", "at": instant });
    let hello = json!({
        "version_min": 2, "version_max": 2, "group": "site", "application_group": "", "pid": 1, "generation": 1,
        "nonce": 1, "secret": vec![0; 32], "from_request": false,
    });
    value["incoming"] = json!([[77, hello]]);
    value
}

/// The fields of a time, which are serde's own.
const OF_TIMES: [&str; 4] = ["secs", "nanos", "secs_since_epoch", "nanos_since_epoch"];

/// Pointers to all fields of all structures; the tag of a variant is none.
fn fields(value: &Value, at: &str, out: &mut Vec<String>) {
    let is_tag = |name: &str| name.starts_with(|first: char| first.is_ascii_uppercase());
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let here = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                if !(map.len() == 1 && is_tag(name) || OF_TIMES.contains(&name.as_str())) {
                    out.push(here.clone());
                }
                fields(inner, &here, out);
            }
        }
        Value::Array(list) => {
            list.iter()
                .enumerate()
                .for_each(|(index, inner)| fields(inner, &format!("{at}/{index}"), out));
        }
        _ => {}
    }
}

fn without(value: &Value, field: &str) -> Value {
    let mut value = value.clone();
    let (parent, name) = field.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/").replace("~0", "~");
    value
        .pointer_mut(parent)
        .unwrap()
        .as_object_mut()
        .unwrap()
        .remove(&name)
        .unwrap();
    value
}

/// Adds a field to every structure.
fn with_more(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(with_more);
            let is_tag = map.len() == 1
                && map
                    .keys()
                    .all(|name| name.starts_with(|c: char| c.is_ascii_uppercase()));
            // A map of data has no fields: its keys are names, paths or numbers.
            let is_field = |name: &String| {
                !name.is_empty()
                    && !OF_TIMES.contains(&name.as_str())
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            };
            if !map.is_empty() && map.keys().all(is_field) && !is_tag {
                map.insert("hover_height".to_owned(), json!([{ "of": 9 }, null, "cm"]));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(with_more),
        _ => {}
    }
}

#[test]
fn the_state_of_this_release_is_pinned() {
    let name = concat!(
        env!("CARGO_PKG_VERSION_MAJOR"),
        ".",
        env!("CARGO_PKG_VERSION_MINOR"),
        ".json"
    );
    assert!(
        states().join(name).exists(),
        "tests/states/{name} is missing; run UPDATE_STATES=1 cargo test -p wsgid --test supervisor state_that_is_pinned"
    );
}

#[test]
fn every_pinned_state_is_read() {
    for (name, value) in pinned() {
        let state = read(&value).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(state.refusal(), None, "{name}");
        assert!(
            state.workers.iter().all(super::WorkerSnapshot::is_whole),
            "{name}"
        );
        assert!(
            state.groups.len() >= 2 && state.pools.len() >= 2 && state.connections.len() >= 2,
            "{name}"
        );
        let understood = |group: &ProcessGroup| {
            let config = &group.definition.config;
            !group.definition.is_missing() && config.unread.is_empty()
        };
        assert!(state.groups.iter().any(understood), "{name}");
    }
}

#[test]
fn a_state_with_any_one_field_missing_is_read() {
    for (name, value) in pinned() {
        let value = with_everything(&value);
        let mut all = Vec::new();
        fields(&value, "", &mut all);
        assert!(all.len() > 150, "{name}: {} fields", all.len());
        for field in all {
            let state = read(&without(&value, &field))
                .unwrap_or_else(|error| panic!("{name} without {field}: {error}"));
            assert_eq!(
                state.refusal().is_some(),
                field == "/listener",
                "{name} without {field}"
            );
        }
    }
}

#[test]
fn a_state_with_fields_that_nobody_knows_is_read() {
    for (name, value) in pinned() {
        let value = with_everything(&value);
        let mut more = value.clone();
        with_more(&mut more);
        assert_ne!(more, value);
        let state = read(&more).unwrap_or_else(|error| panic!("{name}: {error}"));
        let plain = read(&value).unwrap();
        let config = |state: &State| state.groups[0].definition.config.clone();
        assert_eq!(config(&state), config(&plain));
        assert_eq!(
            (state.pools.len(), state.workers.len()),
            (plain.pools.len(), plain.workers.len())
        );
    }
}

#[test]
fn a_message_that_nobody_knows_is_left_out() {
    for (name, value) in pinned() {
        let mut value = with_everything(&value);
        let events = value["events"].as_array().unwrap().len();
        value["events"]
            .as_array_mut()
            .unwrap()
            .push(json!([9, { "Says": { "Levitates": 1 } }]));
        value["messages"]
            .as_array_mut()
            .unwrap()
            .push(json!([{ "Hover": 1 }, []]));
        value["workers"][0]["outbox"]
            .as_array_mut()
            .unwrap()
            .push(json!("Hover"));
        let state = read(&value).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (
                state.events.len(),
                state.messages.len(),
                state.workers[0].outbox.len()
            ),
            (events, 0, 1)
        );
    }
}

#[test]
fn a_generation_without_its_secret_has_one_that_nobody_knows() {
    for (name, value) in pinned() {
        let generation =
            (0..9).find(|index| value.pointer(&format!("/known/{index}/secret")).is_some());
        let field = format!(
            "/known/{}/secret",
            generation.unwrap_or_else(|| panic!("{name} has no secret"))
        );
        let known = read(&value).unwrap().known[generation.unwrap()].secret;
        let secrets: Vec<_> = (0..3)
            .map(|_| {
                read(&without(&value, &field)).unwrap().known[generation.unwrap()]
                    .secret
                    .unwrap()
            })
            .collect();
        for (index, secret) in secrets.iter().enumerate() {
            assert_ne!(Some(*secret), known, "{name}");
            assert!(
                !secrets[index + 1..].contains(secret),
                "{name}: it can be foretold"
            );
            assert!(
                secret.chunks(8).all(|part| part != [0; 8]),
                "{name}: {secret:?}"
            );
        }
    }
}
