//! What is said as a line of httpd's error log:
//! `[Sun Nov 22 13:00:00.123456 2026] [wsgid:notice] [pid N] text`, or as an object in JSON.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use wsgid_protocol::config::LogFormat;
use wsgid_protocol::readable::{escaped, escaped_json};

/// The front of a line, up to and with the process id.
pub(super) fn prefix(level: &str, pid: u32) -> String {
    let time = now("%a %b %d %H:%M:%S.%6f %Y");
    format!("[{time}] [wsgid:{level}] [pid {pid}] ")
}

/// The local time, in the words of `strftime(3)`.
fn now(format: &str) -> String {
    // It is read once, as the C library does: no line waits for a disk.
    static ZONE: LazyLock<TimeZone> = LazyLock::new(TimeZone::system);
    let now = Timestamp::now().to_zoned_datetime(ZONE.clone());
    now.strftime(format).to_string()
}

/// What a line is made of.
pub(super) struct LineParts<'l> {
    pub(super) level: &'l str,
    pub(super) pid: u32,
    /// Whose process it is; none: the supervisor's.
    pub(super) group: Option<&'l str>,
    /// The request that it belongs to, as a worker says.
    pub(super) request: Option<&'l str>,
    /// As it was said.
    pub(super) text: &'l [u8],
}

impl LineParts<'_> {
    /// The line with its end. Names and texts of clients and tenants are in many: whatever they
    /// hold, it is one line.
    pub(super) fn line(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Text => self.as_text(),
            LogFormat::Json => self.as_json() + "\n",
        }
    }

    fn as_text(&self) -> String {
        let front = prefix(self.level, self.pid);
        let text = escaped(self.text);
        match (self.group, self.request) {
            (Some(group), Some(id)) => format!("{front}[group {group}] [{id}] {text}\n"),
            (Some(group), None) => format!("{front}[group {group}] {text}\n"),
            (None, _) => format!("{front}{text}\n"),
        }
    }

    fn as_json(&self) -> String {
        #[derive(Serialize)]
        struct JsonLine<'l> {
            time: String,
            level: &'l str,
            pid: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            group: Option<&'l str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            worker: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            request: Option<&'l str>,
            /// See `supervisor_line.rs` of the protocol.
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'l str>,
            text: &'l str,
        }
        let text = String::from_utf8_lossy(self.text);
        let (id, text) = match self.group {
            None => split_id(&text),
            Some(_) => (None, &*text),
        };
        let line = serde_json::to_string(&JsonLine {
            time: now("%Y-%m-%dT%H:%M:%S.%6f%:z"),
            level: self.level,
            pid: self.pid,
            group: self.group,
            worker: self.group.map(|_| self.pid),
            request: self.request,
            id,
            text,
        });
        // Texts and numbers always have a form.
        escaped_json(&line.unwrap_or_default())
    }
}

/// The id in front of a line of ours, and the rest.
fn split_id(text: &str) -> (Option<&str>, &str) {
    match text.split_once(": ") {
        Some((id, rest)) if is_id(id) => (Some(id), rest),
        _ => (None, text),
    }
}

fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix("WSGID").unwrap_or_default();
    digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_digit())
}

/// A line of ours without its front: level, process id and the rest.
pub(super) fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let (level, rest) = line.split_once("] [wsgid:")?.1.split_once("] [pid ")?;
    let (pid, text) = rest.split_once("] ")?;
    Some((level, pid, text.trim_end_matches('\n')))
}

/// `Nov  2 13:00:00`, as syslog has it.
pub(super) fn short_time() -> String {
    now("%b %e %H:%M:%S")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn json(group: Option<&str>, text: &[u8]) -> Value {
        let parts = LineParts {
            level: "error",
            pid: 42,
            group,
            request: group.map(|_| "id"),
            text,
        };
        let line = parts.line(LogFormat::Json);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.ends_with('\n') && !line.contains(['\u{9b}', '\u{202e}', '\u{1b}']));
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn a_line_in_json_has_its_parts_whatever_was_said() {
        let own = json(None, b"WSGID0240: it ended: so");
        assert_eq!(
            (&own["id"], &own["text"]),
            (&"WSGID0240".into(), &"it ended: so".into())
        );
        assert_eq!((&own["level"], &own["pid"]), (&"error".into(), &42.into()));
        assert_eq!((own.get("group"), own.get("worker")), (None, None));
        let time: jiff::Timestamp = own["time"].as_str().unwrap().parse().unwrap();
        assert!(time.duration_until(Timestamp::now()).as_secs().abs() < 60);
        // A site that speaks like the supervisor gets none of its ids.
        let of_site = json(
            Some("a\"b"),
            "WSGID0240: \"\n\u{9b}\u{202e}\x1b\\ \u{e4}".as_bytes(),
        );
        assert_eq!(
            (&of_site["group"], &of_site["worker"]),
            (&"a\"b".into(), &42.into())
        );
        assert_eq!(
            (of_site.get("id"), &of_site["request"]),
            (None, &"id".into())
        );
        assert_eq!(
            of_site["text"],
            "WSGID0240: \"\n\u{9b}\u{202e}\x1b\\ \u{e4}"
        );
        assert_eq!(json(Some("g"), b"\xff")["text"], "\u{fffd}");
    }

    #[test]
    fn ids_are_four_digits() {
        for text in [
            "WSGID024: x",
            "WSGID02400: x",
            "WSGIDabcd: x",
            "x WSGID0240: y",
            "WSGID0240",
        ] {
            assert_eq!(split_id(text), (None, text));
        }
    }

    #[test]
    fn a_line_is_taken_apart_as_it_was_made() {
        let line = format!("{}[group g] text] [pid 3] x\n", super::prefix("error", 42));
        assert_eq!(
            super::parts(&line),
            Some(("error", "42", "[group g] text] [pid 3] x"))
        );
        assert_eq!(super::parts("something else"), None);
    }
}
