//! A line on a worker's standard error that belongs to a request: its id stands in front, between two marks.
//! Written by the worker, read by the supervisor, which takes it for a claim.

/// No text has it.
const MARK: char = '\u{1e}';

/// httpd's own have eleven characters.
const ID_MAX: usize = 64;

/// A line with its request in front.
pub fn marked(id: &str, line: &str) -> String {
    format!("{MARK}{id}{MARK}{line}")
}

/// The id in front of a line, and the line. The id holds nothing but what is seen.
pub fn split(line: &[u8]) -> (Option<&str>, &[u8]) {
    parse(line).map_or((None, line), |(id, rest)| (Some(id), rest))
}

fn parse(line: &[u8]) -> Option<(&str, &[u8])> {
    let mark = MARK as u8;
    let behind = line.strip_prefix(&[mark])?;
    let len = behind.iter().take(ID_MAX).position(|byte| *byte == mark)?;
    let (id, rest) = behind.split_at(len);
    let is_id = !id.is_empty() && id.iter().all(u8::is_ascii_graphic);
    is_id.then_some((std::str::from_utf8(id).ok()?, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_marked_is_split() {
        assert_eq!(
            split(marked("lUeg@/DX3BQ", "a b").as_bytes()),
            (Some("lUeg@/DX3BQ"), &b"a b"[..])
        );
        assert_eq!(split(marked("x", "").as_bytes()), (Some("x"), &b""[..]));
    }

    #[test]
    fn all_else_is_the_line() {
        let long = format!("\u{1e}{}\u{1e}x", "y".repeat(ID_MAX));
        for line in [
            "",
            "a",
            "\u{1e}",
            "\u{1e}a",
            "\u{1e}\u{1e}a",
            "\u{1e}a b\u{1e}c",
            "\u{1e}\n\u{1e}",
            "\u{1e}ä\u{1e}",
            &long,
        ] {
            assert_eq!(split(line.as_bytes()), (None, line.as_bytes()), "{line:?}");
        }
    }
}
