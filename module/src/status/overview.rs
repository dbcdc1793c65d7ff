//! The overview on the status page: one row for each process group, so that on
//! a server with many the one that needs somebody is seen at once.

use std::fmt::Write as _;

use serde_json::Value;

use crate::status::page::{escape, histogram, list, micros, number, text};

/// How a group is, in a word, and the class of its colour.
pub(super) fn state(group: &Value) -> (&'static str, &'static str) {
    let pools = list(group, "pools");
    let workers = || pools.iter().flat_map(|pool| list(pool, "workers"));
    let is = |wanted: &str| workers().any(|worker| text(worker, "state") == wanted);
    let flag = |key: &str| group.get(key).and_then(Value::as_bool).unwrap_or(false);
    if !text(group, "problem").is_empty()
        || pools.iter().any(|pool| text(pool, "state") == "failed")
    {
        ("failed", "bad")
    } else if workers().any(|worker| !list(worker, "failed_scripts").is_empty()) {
        ("a script failed", "bad")
    } else if flag("removed") {
        ("leaving", "soft")
    } else if flag("stopped") {
        ("stopped", "soft")
    } else if pools
        .iter()
        .any(|pool| pool.get("next_generation").is_some_and(Value::is_number))
    {
        ("replacing", "warn")
    } else if is("ready") {
        ("running", "good")
    } else if is("starting") || is("queued") {
        ("starting", "warn")
    } else {
        ("idle", "soft")
    }
}

/// What a row counts.
#[derive(Default)]
struct Sums {
    ready: usize,
    processes: usize,
    in_flight: u64,
    waiting: u64,
    requests: u64,
    restarts: u64,
}

fn sums(group: &Value) -> Sums {
    let mut sums = Sums::default();
    for pool in list(group, "pools") {
        sums.waiting += number(pool, "waiting");
        sums.restarts += number(pool, "restarts");
        for worker in list(pool, "workers") {
            sums.processes += 1;
            sums.ready += usize::from(text(worker, "state") == "ready");
            sums.in_flight += number(worker, "in_flight");
            sums.requests += number(worker, "requests");
        }
    }
    sums
}

/// The time within which so many of a hundred requests ended.
fn percentile(group: &Value, percent: u64) -> Option<String> {
    let workers: Vec<Value> = list(group, "pools")
        .iter()
        .flat_map(|pool| list(pool, "workers"))
        .cloned()
        .collect();
    let sums = histogram(&workers);
    let all: u64 = sums.iter().sum();
    let wanted = (all * percent).div_ceil(100);
    let mut seen = 0;
    let at = sums.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    (all > 0)
        .then(|| at.map(|at| format!("&lt; {}", micros(at))))
        .flatten()
}

/// In one line: how many groups are how, and how much there is to do.
pub(super) fn summary(status: &Value) -> String {
    let groups = list(status, "groups");
    let mut words: Vec<String> = Vec::new();
    let all: Vec<Sums> = groups.iter().map(sums).collect();
    for (word, class) in [
        ("failed", "bad"),
        ("a script failed", "bad"),
        ("replacing", "warn"),
        ("starting", "warn"),
        ("running", "good"),
        ("stopped", "soft"),
        ("leaving", "soft"),
        ("idle", "soft"),
    ] {
        let count = groups
            .iter()
            .filter(|group| state(group) == (word, class))
            .count();
        if count > 0 {
            let word = if word == "a script failed" {
                "with a failed script"
            } else {
                word
            };
            words.push(format!("<b class=\"{class}\">{count} {word}</b>"));
        }
    }
    let sum = |count: fn(&Sums) -> u64| all.iter().map(count).sum::<u64>();
    format!(
        "<p>{} · {} requests in flight · {} waiting</p>",
        words.join(" · "),
        sum(|sums| sums.in_flight),
        sum(|sums| sums.waiting)
    )
}

/// The table.
pub(super) fn table(status: &Value) -> String {
    let mut out = "<section><table><tr><th>group<th>state<th>user<th class=\"n\">ready<th class=\"n\">in flight\
                   <th class=\"n\">waiting<th class=\"n\">requests<th class=\"n\">half take<th class=\"n\">99 % take\
                   <th class=\"n\">restarts</tr>"
        .to_owned();
    let mut rows: Vec<(usize, &Value)> = list(status, "groups").iter().enumerate().collect();
    // What needs somebody comes first; all else stays in the order of names.
    rows.sort_by_key(|(_, group)| match state(group).1 {
        "bad" => 0,
        "warn" => 1,
        _ => 2,
    });
    let count = |count: u64| {
        let class = if count == 0 { "n soft" } else { "n" };
        format!("<td class=\"{class}\">{count}")
    };
    for (index, group) in rows {
        let ((word, class), sums) = (state(group), sums(group));
        let _ = write!(
            out,
            "<tr><td><a href=\"#g{index}\">{}</a><td class=\"state {class}\">{word}<td>{}\
             <td class=\"n\">{} / {}{}{}{}<td class=\"n\">{}<td class=\"n\">{}{}</tr>",
            escape(text(group, "name")),
            escape(text(group, "user")),
            sums.ready,
            sums.processes,
            count(sums.in_flight),
            count(sums.waiting),
            count(sums.requests),
            percentile(group, 50).unwrap_or_default(),
            percentile(group, 99).unwrap_or_default(),
            count(sums.restarts),
        );
    }
    out += "</table></section>";
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn group(pool: &Value) -> Value {
        json!({ "name": "site", "pools": [pool] })
    }

    #[test]
    fn the_worst_decides() {
        let ready = json!({ "state": "ready" });
        for (status, expected) in [
            (json!({ "problem": "no such user", "pools": [] }), "failed"),
            (
                group(&json!({ "state": "failed", "workers": [] })),
                "failed",
            ),
            (
                group(&json!({ "workers": [{ "state": "ready", "failed_scripts": [{}] }] })),
                "a script failed",
            ),
            (
                group(&json!({ "next_generation": 3, "workers": [ready] })),
                "replacing",
            ),
            (
                group(&json!({ "next_generation": null, "workers": [ready] })),
                "running",
            ),
            (
                group(&json!({ "workers": [{ "state": "starting" }] })),
                "starting",
            ),
            (group(&json!({ "workers": [] })), "idle"),
            (json!({ "pools": [] }), "idle"),
            (json!({ "stopped": true, "pools": [] }), "stopped"),
        ] {
            assert_eq!(state(&status).0, expected, "{status}");
        }
    }

    #[test]
    fn percentiles_are_bounds() {
        let workers = json!([{ "histogram": [0, 98, 0, 1, 1] }]);
        let group = group(&json!({ "workers": workers }));
        assert_eq!(percentile(&group, 50).as_deref(), Some("&lt; 2 µs"));
        assert_eq!(percentile(&group, 99).as_deref(), Some("&lt; 8 µs"));
        assert_eq!(percentile(&json!({}), 50), None);
    }
}
