//! The requests that wait in httpd until a thread may be spent on them: the supervisor does
//! not see them, so they are put into what it says. Called by the handler.

use std::collections::BTreeMap;

use serde_json::Value;
use wsgid_protocol::status::Status;

use crate::workers::child;

/// How many wait, for each process group that has some.
fn counts() -> BTreeMap<String, u64> {
    let Some(child) = child::get() else {
        return BTreeMap::new();
    };
    let threads = child.reserve.threads(child.plan.groups.values());
    let waiting = threads.groups.into_iter();
    waiting
        .map(|(name, (_, waiting))| (name, u64::from(waiting)))
        .filter(|(_, waiting)| *waiting > 0)
        .collect()
}

pub(super) fn add(status: &mut Status) {
    add_counts(status, &counts());
}

fn add_counts(status: &mut Status, counts: &BTreeMap<String, u64>) {
    for group in &mut status.groups {
        group.waiting_in_httpd = counts.get(&group.name).copied().unwrap_or(0);
    }
}

/// The same in the JSON as it came: a supervisor of a newer release may say more than a
/// [`Status`] has.
pub(super) fn add_to_json(json: &[u8]) -> String {
    add_counts_to_json(json, &counts())
}

fn add_counts_to_json(json: &[u8], counts: &BTreeMap<String, u64>) -> String {
    let whole = || String::from_utf8_lossy(json).into_owned();
    if counts.is_empty() {
        return whole();
    }
    let Ok(mut status) = serde_json::from_slice::<Value>(json) else {
        return whole();
    };
    let groups = status.get_mut("groups").and_then(Value::as_array_mut);
    for group in groups.into_iter().flatten() {
        let count = group["name"].as_str().and_then(|name| counts.get(name));
        if let (Some(count), Some(group)) = (count.copied(), group.as_object_mut()) {
            group.insert("waiting_in_httpd".to_owned(), count.into());
        }
    }
    status.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_gets_what_waits_for_it() {
        let counts = BTreeMap::from([("shop".to_owned(), 3)]);
        let json = br#"{"ok":true,"groups":[{"name":"shop","new":[1]},{"name":"wiki"},7]}"#;
        let status: Value = serde_json::from_str(&add_counts_to_json(json, &counts)).unwrap();
        let expected = serde_json::json!({"ok": true, "groups": [
            {"name": "shop", "new": [1], "waiting_in_httpd": 3}, {"name": "wiki"}, 7]});
        assert_eq!(status, expected);
        for other in ["[1]", "no JSON", "{}"] {
            assert_eq!(add_counts_to_json(other.as_bytes(), &counts), other);
        }
        let json = br#"{"groups":[{"name":"shop"},{"name":"wiki"}]}"#;
        let mut status: Status = serde_json::from_slice(json).unwrap();
        add_counts(&mut status, &counts);
        let waiting: Vec<u64> = status.groups.iter().map(|one| one.waiting()).collect();
        assert_eq!(waiting, [3, 0]);
    }
}
