//! The status as a page: one file without anything from elsewhere, in light and
//! dark. Every text comes from a configuration or a site, so all is escaped.

use std::fmt::Write as _;

use serde_json::Value;
use wsgid_protocol::readable::{escaped, escaped_lines};

use crate::status::overview;

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1d2433;--line:#e1e5ea;--soft:#667085;--good:#16794a;--warn:#a15c07;--bad:#c4320a;\
--badback:#fef3ee;--link:#1b5fc1;--back:#f5f6f8;--card:#fff}\
@media(prefers-color-scheme:dark){:root{--text:#e4e7ec;--line:#313945;--soft:#98a2b3;--good:#4cc38a;--warn:#f0b45b;\
--bad:#ff8a65;--badback:#33211d;--link:#7fb2ff;--back:#12151a;--card:#1b2027}}\
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:74rem;padding:1.5rem;background:var(--back);color:var(--text)}\
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}\
h1{font-size:1.4rem;margin:0}p,.soft{color:var(--soft);margin:.2rem 0}b{font-weight:600}\
section{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:1rem 1.2rem;margin:1rem 0;overflow-x:auto}\
h2{font-size:1.1rem;margin:0;overflow-wrap:anywhere}h3{font-size:.95rem;margin:1rem 0 .3rem;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th{font-weight:600;color:var(--soft);font-size:.8rem;white-space:nowrap}\
th,td{text-align:left;padding:.25rem .9rem .25rem 0;border-bottom:1px solid var(--line)}\
th:last-child,td:last-child{padding-right:0}tr:last-child td{border-bottom:0}\
td{white-space:nowrap}td.n,th.n{text-align:right}.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}\
.state::before{content:\"\\25CF\\A0\";font-size:.8em}\
h2 .state,h3 .state{font-weight:400;font-size:.85rem;margin-left:.6rem}\
.bars{display:flex;align-items:flex-end;gap:2px;height:3.5rem;margin:.8rem 0 .2rem;max-width:26rem}\
.bars i{flex:1;background:var(--good);opacity:.75;min-height:1px;border-radius:2px 2px 0 0}\
.legend{display:flex;justify-content:space-between;font-size:.75rem;color:var(--soft);max-width:26rem}\
pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85rem;margin:.4rem 0}\
pre.bad,p.bad{background:var(--badback);border-radius:.4rem;padding:.5rem .7rem;color:var(--bad)}\
summary{cursor:pointer;margin:.4rem 0}";

/// The whole page.
pub(super) fn render(status: &Value) -> String {
    let mut out = String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    out += "<meta name=\"viewport\" content=\"width=device-width\"><link rel=\"icon\" href=\"data:,\">";
    let _ = write!(
        out,
        "<title>Process groups</title><style>{STYLE}</style></head><body>"
    );
    out += "<h1>Process groups</h1>";
    out += &heading(status);
    out += &overview::summary(status);
    if list(status, "groups").len() > 1 {
        out += &overview::table(status);
    }
    out += &groups(status);
    out += "<p><a href=\"?json\">JSON</a> · <a href=\"?openmetrics\">OpenMetrics</a></p></body></html>\n";
    out
}

/// A part of another page.
pub(super) fn section(status: &Value) -> String {
    let (heading, summary) = (heading(status), overview::summary(status));
    format!(
        "<hr>\n<h2>Process groups of mod_wsgid</h2>\n{heading}{summary}{}\n",
        groups(status)
    )
}

/// Where the supervisor does not answer.
pub(super) fn problem(error: &str) -> String {
    format!(
        "<hr>\n<h2>Process groups of mod_wsgid</h2>\n<p>The supervisor gives no status: {}</p>\n",
        escape(error)
    )
}

/// `name: value` lines, as mod_status's `?auto` has them.
pub(super) fn short(status: &Value) -> String {
    let mut out = String::new();
    for group in list(status, "groups") {
        let name = escaped(text(group, "name").as_bytes());
        let pools = list(group, "pools");
        let sum = |key: &str| pools.iter().map(|pool| number(pool, key)).sum::<u64>();
        let workers = || pools.iter().flat_map(|pool| list(pool, "workers"));
        let ready = workers()
            .filter(|worker| text(worker, "state") == "ready")
            .count();
        let busy: u64 = workers().map(|worker| number(worker, "in_flight")).sum();
        let _ = write!(
            out,
            "WsgidReady {name}: {ready}\nWsgidInFlight {name}: {busy}\n"
        );
        let _ = write!(
            out,
            "WsgidWaiting {name}: {}\nWsgidRestarts {name}: {}\n",
            sum("waiting"),
            sum("restarts")
        );
    }
    out
}

pub(super) fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub(super) fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

pub(super) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A text of a client or tenant as one line of HTML.
pub(super) fn escape(text: &str) -> String {
    html(&escaped(text.as_bytes()))
}

/// The same for a text of several lines.
fn escape_lines(text: &str) -> String {
    html(&escaped_lines(text))
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            other => out.push(other),
        }
    }
    out
}

fn heading(status: &Value) -> String {
    let groups = list(status, "groups").len();
    format!(
        "<p>mod_wsgid {} · {groups} {} · supervisor {} has been running for {}</p>",
        escape(text(status, "version")),
        if groups == 1 { "group" } else { "groups" },
        number(status, "pid"),
        duration(number(status, "uptime_s"))
    )
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn groups(status: &Value) -> String {
    list(status, "groups")
        .iter()
        .enumerate()
        .map(|(index, one)| group(index, one))
        .collect()
}

fn group(index: usize, group: &Value) -> String {
    let mut out = format!(
        "<section id=\"g{index}\"><h2>{}</h2>",
        escape(text(group, "name"))
    );
    let _ = write!(
        out,
        "<p>user {} · {} × {} threads · {}</p>",
        escape(text(group, "user")),
        processes(group),
        number(group, "threads"),
        escape(text(group, "origin"))
    );
    if let Some(problem) = group.get("problem").and_then(Value::as_str) {
        let _ = write!(out, "<p class=\"bad\">{}</p>", escape(problem));
    }
    let pools = list(group, "pools");
    if pools.is_empty() {
        out += "<p>no request has asked for it yet</p>";
    }
    out.extend(pools.iter().map(pool));
    out += "</section>";
    out
}

fn processes(group: &Value) -> String {
    match (number(group, "processes"), number(group, "processes_max")) {
        (least, most) if most > least => format!("{least} to {most} processes"),
        (1, _) => "1 process".to_owned(),
        (count, _) => format!("{count} processes"),
    }
}

fn pool(pool: &Value) -> String {
    let name = match text(pool, "application_group") {
        "" => "main application group".to_owned(),
        name => format!("application group {}", escape(name)),
    };
    let (state, next) = (
        text(pool, "state"),
        pool.get("next_generation").and_then(Value::as_u64),
    );
    let (state, mood) = match (state, next) {
        ("running", None) => (state, "good"),
        ("running", Some(_)) => ("replacing", "warn"),
        ("failed", _) => (state, "bad"),
        _ => (state, "soft"),
    };
    let mut out = format!(
        "<h3>{name}<span class=\"state {mood}\">{}</span></h3>",
        escape(state)
    );
    let next = next
        .map(|next| format!(", {next} starts"))
        .unwrap_or_default();
    let _ = write!(
        out,
        "<p>generation {}{next} · {} waiting · {} restarts</p>",
        number(pool, "generation"),
        number(pool, "waiting"),
        number(pool, "restarts")
    );
    let mut problems = [text(pool, "cause"), text(pool, "last_problem")].to_vec();
    problems.dedup();
    for problem in problems.into_iter().filter(|problem| !problem.is_empty()) {
        let _ = write!(out, "<pre class=\"bad\">{}</pre>", escape(problem));
    }
    if let Some(given_up) = pool.get("given_up").filter(|given_up| given_up.is_object()) {
        out += &failures(list(given_up, "failed_scripts").iter());
    }
    out += &workers(list(pool, "workers"));
    out += &latency(list(pool, "workers"));
    let causes = list(pool, "causes");
    if !causes.is_empty() {
        out += "<details><summary class=\"soft\">why processes were replaced</summary>";
        for cause in causes {
            let _ = write!(out, "<pre>{}</pre>", escape(text(cause, "text")));
        }
        out += "</details>";
    }
    out
}

fn workers(workers: &[Value]) -> String {
    if workers.is_empty() {
        return String::new();
    }
    let mut out = "<table><tr><th>process<th>state<th>Python<th class=\"n\">running for<th class=\"n\">requests\
                   <th class=\"n\">in flight<th class=\"n\">connections</tr>"
        .to_owned();
    for worker in workers {
        let state = text(worker, "state");
        let mood = match state {
            "ready" => "good",
            "starting" | "queued" => "warn",
            _ => "soft",
        };
        let _ = write!(
            out,
            "<tr><td>{}<td class=\"state {mood}\">{}<td>{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}</tr>",
            number(worker, "pid"),
            escape(state),
            escape(text(worker, "python")),
            duration(number(worker, "uptime_s")),
            number(worker, "requests"),
            number(worker, "in_flight"),
            number(worker, "connections")
        );
    }
    out += "</table>";
    out + &failures(
        workers
            .iter()
            .flat_map(|worker| list(worker, "failed_scripts")),
    )
}

/// Scripts that failed to load, each once.
fn failures<'v>(all: impl Iterator<Item = &'v Value>) -> String {
    let mut failures: Vec<&Value> = Vec::new();
    for failed in all {
        // Each worker of a group fails in the same way, mostly.
        if !failures.contains(&failed) {
            failures.push(failed);
        }
    }
    let mut out = String::new();
    for failed in failures {
        let (script, traceback) = (
            escape(text(failed, "script")),
            escape_lines(text(failed, "traceback")),
        );
        let _ = write!(
            out,
            "<details><summary class=\"bad\">{script} failed</summary><pre>{traceback}</pre></details>"
        );
    }
    out
}

/// Durations of requests, all workers together: entry `n` is below 2^n µs.
pub(super) fn histogram(workers: &[Value]) -> Vec<u64> {
    let mut sums: Vec<u64> = Vec::new();
    for worker in workers {
        for (at, count) in list(worker, "histogram").iter().enumerate() {
            if sums.len() <= at {
                sums.push(0);
            }
            if let Some(sum) = sums.get_mut(at) {
                *sum += count.as_u64().unwrap_or(0);
            }
        }
    }
    sums
}

fn latency(workers: &[Value]) -> String {
    let sums = histogram(workers);
    let most = sums.iter().copied().max().unwrap_or(0);
    let (Some(first), Some(last)) = (
        sums.iter().position(|sum| *sum > 0),
        sums.iter().rposition(|sum| *sum > 0),
    ) else {
        return String::new();
    };
    let mut out =
        "<div class=\"bars\" role=\"img\" aria-label=\"durations of requests\">".to_owned();
    for (at, count) in sums.iter().enumerate().take(last + 1).skip(first) {
        let height = count * 100 / most.max(1);
        let title = format!("{count} below {}", micros(at));
        let _ = write!(out, "<i style=\"height:{height}%\" title=\"{title}\"></i>");
    }
    let (from, to) = (
        if first == 0 {
            "0".to_owned()
        } else {
            micros(first - 1)
        },
        micros(last),
    );
    let _ = write!(
        out,
        "</div><div class=\"legend\"><span>{from}</span><span>duration of requests</span><span>{to}</span></div>"
    );
    out
}

/// 2^exponent microseconds, in a unit that reads well.
pub(super) fn micros(exponent: usize) -> String {
    let micros = 1_u64
        .checked_shl(u32::try_from(exponent).unwrap_or(u32::MAX))
        .unwrap_or(u64::MAX);
    match micros {
        0..=999 => format!("{micros} µs"),
        1000..=999_999 => format!("{} ms", micros / 1000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_sites_say_is_escaped() {
        let evil = "<script>alert('x')</script>\"&\u{202e}\u{2028}";
        let status = json!({ "groups": [{ "name": evil, "user": evil, "origin": evil, "problem": evil, "pools": [{
            "application_group": evil, "state": evil, "cause": evil, "last_problem": evil,
            "causes": [{ "at": 1, "text": evil }],
            "given_up": { "why": evil, "failed_scripts": [{ "script": evil, "traceback": evil }] },
            "workers": [{ "pid": 1, "state": evil, "python": evil, "histogram": [1, 0, 5],
                "failed_scripts": [{ "script": evil, "traceback": evil }] }],
        }] }] });
        for page in [render(&status), section(&status), problem(evil)] {
            assert!(!page.contains("<script") && !page.contains("'x'"), "{page}");
            assert!(page.contains("&lt;script&gt;") && page.contains("&amp;\\u{202e}\\u{2028}"));
            assert!(
                !page.contains(['\u{202e}', '\u{2028}']),
                "it turns the text around"
            );
        }
    }

    #[test]
    fn what_does_not_show_is_made_visible() {
        assert_eq!(
            escape("a\nb\u{1b}[2J\u{202e}\u{9b}\t\u{e9}"),
            "a\\x0ab\\x1b[2J\\u{202e}\\x9b\t\u{e9}"
        );
        assert_eq!(escape_lines("a\nb\r"), "a\nb\\x0d");
    }

    #[test]
    fn a_status_of_another_form_is_no_panic() {
        for status in [
            json!(null),
            json!({ "groups": 7 }),
            json!({ "groups": [{}, null, { "pools": [null] }] }),
        ] {
            assert!(render(&status).ends_with("</html>\n"));
            let _ = short(&status);
        }
    }
}
