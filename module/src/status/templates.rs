//! The forms in which the status is shown, each a template in `conf/status`: the
//! page, one file without anything from elsewhere, in light and dark; its section
//! on mod_status's page. Called by the handler; knows nothing of
//! requests.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, Output, State, UndefinedBehavior, context, escape_formatter};
use wsgid_protocol::clock::since_1970;
use wsgid_protocol::readable::escaped;
use wsgid_protocol::status::{GroupState, Status, Urgency};
use wsgid_protocol::text::duration;

use crate::status::overview::GroupOverview;

/// The whole page; loads itself again after so many seconds, if it is to.
pub(super) fn page(status: &Status, refresh: Option<u32>) -> Result<String, Error> {
    let how = context! { is_section => false, refresh };
    render("status.html", status, how)
}

/// A part of another page.
pub(super) fn section(status: &Status) -> Result<String, Error> {
    render("status.html", status, context! { is_section => true })
}

/// `name: value` lines of another page.
pub(super) fn auto(status: &Status) -> Result<String, Error> {
    render("auto.txt", status, context! {})
}

/// Where the supervisor does not answer.
pub(super) fn problem(problem: &str) -> Result<String, Error> {
    environment()?
        .get_template("problem.html")?
        .render(context! { problem })
}

fn render(template: &str, status: &Status, how: Value) -> Result<String, Error> {
    let groups = GroupOverview::all(status);
    environment()?.get_template(template)?.render(context! {
        status => Serde(status),
        groups => Serde(groups),
        states => Serde(GroupState::ALL),
        ..how
    })
}

fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build()?;
    environment.set_syntax(syntax);
    environment.set_formatter(write_one_line);
    environment.add_filter("duration", duration);
    environment.add_filter("ago", |at: u64| {
        duration(since_1970().as_secs().saturating_sub(at))
    });
    environment.add_filter("class", class);
    environment.add_filter("micros", micros);
    environment.add_filter("seconds", seconds);
    environment.add_filter("bytes", bytes);
    for (name, text) in [
        (
            "status.html",
            include_str!("../../../conf/status/status.html"),
        ),
        (
            "problem.html",
            include_str!("../../../conf/status/problem.html"),
        ),
        ("auto.txt", include_str!("../../../conf/status/auto.txt")),
    ] {
        environment.add_template(name, text)?;
    }
    Ok(environment)
}

/// A text of a client or site is one line, all of it is seen, and none of it is HTML.
fn write_one_line(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if !value.is_safe() => {
            escape_formatter(out, state, &Value::from(escaped(text.as_bytes())))
        }
        _ => escape_formatter(out, state, value),
    }
}

/// Microseconds as seconds.
fn seconds(micros: u64) -> String {
    format!("{:.1}", micros as f64 / 1e6)
}

/// The style of a group's, pool's or process's state.
fn class(word: &str) -> &'static str {
    let state = GroupState::ALL.iter().find(|state| state.word() == word);
    match state.map(|state| state.urgency()) {
        Some(Urgency::Bad) => "bad",
        Some(Urgency::Passing) => "warn",
        Some(Urgency::Good) => "good",
        Some(Urgency::Resting) => "soft",
        // Of a process.
        None => match word {
            "ready" => "good",
            "queued" => "warn",
            _ => "soft",
        },
    }
}

/// Bytes of memory, in a unit that reads well.
fn bytes(bytes: u64) -> String {
    match bytes >> 20 {
        mebi @ 0..=9999 => format!("{mebi} MiB"),
        mebi => format!("{} GiB", mebi >> 10),
    }
}

/// 2^exponent microseconds, in a unit that reads well.
fn micros(exponent: u32) -> String {
    match 1_u64.checked_shl(exponent).unwrap_or(u64::MAX) {
        micros @ 0..=999 => format!("{micros} µs"),
        micros @ 1000..=999_999 => format!("{} ms", micros / 1000),
        micros => format!("{} s", micros / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use wsgid_protocol::in_flight::RequestInFlight;
    use wsgid_protocol::status::{
        CauseStatus, FailedScript, GivenUpStatus, GroupStatus, PoolStatus, WorkerStatus,
    };

    use super::*;

    const SAMPLE: &str = include_str!("../../../protocol/tests/status/status.json");

    /// A status in which every text says this.
    fn saying(text: &str) -> Status {
        let text = || text.to_owned();
        let failed_scripts = vec![FailedScript {
            script: text(),
            traceback: text(),
        }];
        let worker = WorkerStatus {
            python: Some(text()),
            histogram: vec![1, 0, 5],
            failed_scripts: failed_scripts.clone(),
            running: vec![RequestInFlight {
                method: text(),
                path: text(),
                ..RequestInFlight::default()
            }],
            ..WorkerStatus::default()
        };
        let pool = PoolStatus {
            application_group: text(),
            state: GroupState::Failed,
            cause: Some(text()),
            last_problem: Some(text()),
            causes: vec![CauseStatus {
                at: 1,
                text: text(),
                stacks: Some(text()),
                ..CauseStatus::default()
            }],
            given_up: Some(GivenUpStatus {
                why: text(),
                failed_scripts,
                ..GivenUpStatus::default()
            }),
            workers: vec![worker],
            ..PoolStatus::default()
        };
        let group = GroupStatus {
            name: text(),
            user: Some(text()),
            origin: text(),
            problem: Some(text()),
            pools: vec![pool],
            ..GroupStatus::default()
        };
        Status {
            version: text(),
            groups: vec![group.clone(), group],
            ..Status::default()
        }
    }

    #[test]
    fn what_sites_say_is_escaped() {
        let evil = "<script>alert('x')</script>\"&\u{202e}\u{2028}";
        let status = saying(evil);
        for page in [
            page(&status, None).unwrap(),
            section(&status).unwrap(),
            problem(evil).unwrap(),
        ] {
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
        let page = page(&saying("a\nb\u{1b}[2J\u{202e}\u{9b}\t\u{e9}\r"), None).unwrap();
        let line = "a\\x0ab\\x1b[2J\\u{202e}\\x9b\t\u{e9}\\x0d";
        assert!(page.contains(&format!("<h2>{line}</h2>")), "{page}");
        let traceback = "<pre>\na\nb\\x1b[2J\\u{202e}\\x9b\t\u{e9}\\x0d\n</pre>";
        assert!(page.contains(traceback), "{page}");
    }

    #[test]
    fn all_that_the_sample_says_is_shown() {
        let status: Status = serde_json::from_str(SAMPLE).unwrap();
        let page = page(&status, None).unwrap();
        for text in [
            "supervisor 4711 has been running for 24 h",
            "1 to 4 processes × 5 threads",
            "<h2>wiki</h2>",
            "user `wiki` does not exist",
            "no request has asked for it yet",
            "main application group<span class=\"state bad\">serving old code</span>",
            "generation 7, 8 starts",
            "title=\"990 below 8 µs\"",
            "<td class=\"n\">40.1 s<td>POST &#x2f;basket&#x2f;pay<td>4802<td class=\"n\">2<td>waiting</tr>",
            "3 waiting · 3 restarts",
            "<td class=\"state warn\">starting",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert!(page.ends_with("</body></html>\n"), "{page}");
        for status in [Status::default(), saying("")] {
            assert!(super::page(&status, None).unwrap().ends_with("</html>\n"));
            assert!(section(&status).unwrap().starts_with("<hr>\n<h2>"));
        }
    }

    #[test]
    fn mod_status_gets_a_line_for_each_number() {
        let status: Status = serde_json::from_str(SAMPLE).unwrap();
        let expected = "WsgidState wiki: cannot start\nWsgidReady wiki: 0\nWsgidInFlight wiki: 0\n\
                        WsgidWaiting wiki: 0\nWsgidRestarts wiki: 0\n\
                        WsgidState shop: serving old code\nWsgidReady shop: 1\nWsgidInFlight shop: 2\n\
                        WsgidWaiting shop: 3\nWsgidRestarts shop: 3\n";
        assert_eq!(auto(&status).unwrap(), expected);
    }
}
