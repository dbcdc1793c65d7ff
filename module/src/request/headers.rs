//! Rules for what a response head may hold. Pure. A worker checks the same for its
//! application's sake; here it is checked for the client's.

use wsgid_protocol::response::ResponseHead;
use wsgid_protocol::token::is_token;

/// What is wrong with a response head, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadHead {
    /// The worker breaks the protocol.
    OfWorker(String),
    /// A worker that keeps to the protocol says it on behalf of an application that
    /// goes too far.
    OfApplication(String),
}

/// What happens to a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderTreatment {
    /// It is left out: it is about the connection, which is httpd's business.
    Drop,
    /// httpd's own setter.
    ContentType,
    /// httpd's own setter, and the bytes are counted.
    ContentLength,
    /// Asks for the end of the client's connection.
    Connection,
    /// The table of headers, one row for each.
    Table,
    /// The same, of which a client can follow only one: the last.
    Single,
    /// The same, but an error page keeps it.
    ErrorTable,
}

/// Headers that do not just stand in the table, in small letters.
const SPECIAL: &[(&[u8], HeaderTreatment)] = &[
    (b"transfer-encoding", HeaderTreatment::Drop),
    (b"keep-alive", HeaderTreatment::Drop),
    (b"te", HeaderTreatment::Drop),
    (b"trailer", HeaderTreatment::Drop),
    (b"trailers", HeaderTreatment::Drop),
    (b"upgrade", HeaderTreatment::Drop),
    (b"proxy-connection", HeaderTreatment::Drop),
    (b"proxy-authenticate", HeaderTreatment::Drop),
    (b"proxy-authorization", HeaderTreatment::Drop),
    (b"date", HeaderTreatment::Drop),
    (b"server", HeaderTreatment::Drop),
    (b"content-type", HeaderTreatment::ContentType),
    (b"content-length", HeaderTreatment::ContentLength),
    (b"connection", HeaderTreatment::Connection),
    (b"www-authenticate", HeaderTreatment::ErrorTable),
    (b"location", HeaderTreatment::Single),
    (b"content-range", HeaderTreatment::Single),
    (b"last-modified", HeaderTreatment::Single),
];

/// What happens to the header named `name`.
pub(crate) fn treatment(name: &[u8]) -> HeaderTreatment {
    let special = SPECIAL
        .iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known));
    special.map_or(HeaderTreatment::Table, |(_, treatment)| *treatment)
}

/// Whether httpd may send a part of the answer: only the application knows whether two
/// answers are the same thing, and says so with a validator. A weak ETag says that they
/// need not be the same bytes.
pub(crate) fn allows_ranges(head: &ResponseHead<'_>) -> bool {
    let has = |name: &[u8], fits: fn(&[u8]) -> bool| {
        let mut fields = head.headers.iter();
        fields.any(|(known, value)| known.eq_ignore_ascii_case(name) && fits(value))
    };
    let has_validator = has(b"etag", |value| {
        !value.is_empty() && !value.starts_with(b"W/")
    }) || has(b"last-modified", |value| !value.is_empty());
    let is_none = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"none");
    has_validator && !has(b"accept-ranges", is_none)
}

/// Checks status, reason and every field.
pub(crate) fn check(head: &ResponseHead<'_>, field_max: usize) -> Result<(), BadHead> {
    if !(200..=599).contains(&head.status) {
        let text = format!("status {} is not between 200 and 599", head.status);
        return Err(BadHead::OfWorker(text));
    }
    check_fields(head, field_max)
}

/// Checks an interim response.
pub(crate) fn check_interim(head: &ResponseHead<'_>, field_max: usize) -> Result<(), BadHead> {
    if head.status != 103 {
        let text = format!("interim status {} is not 103", head.status);
        return Err(BadHead::OfWorker(text));
    }
    check_fields(head, field_max)
}

fn check_fields(head: &ResponseHead<'_>, field_max: usize) -> Result<(), BadHead> {
    if head.reason.iter().any(|byte| is_control(*byte)) {
        let text = "the reason phrase holds a control character";
        return Err(BadHead::OfWorker(text.to_owned()));
    }
    for (name, value) in &head.headers {
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            let text = format!("`{}` is not the name of a header", shown(name));
            return Err(BadHead::OfWorker(text));
        }
        if value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
            let name = shown(name);
            let text = format!("the value of header `{name}` holds a line end or NUL");
            return Err(BadHead::OfWorker(text));
        }
        let len = name.len() + value.len();
        if len > field_max {
            return Err(BadHead::OfApplication(format!(
                "header `{}` has {len} bytes, the most is {field_max} (option header-buffer-size)",
                shown(name)
            )));
        }
    }
    Ok(())
}

/// A name for the log: on one line, and not long.
fn shown(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let front: String = name.chars().take(80).collect();
    front.escape_debug().to_string()
}

fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// A length in digits alone, as a header has it.
pub(crate) fn length(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The one Content-Length of a response: digits, and the same each time.
pub(crate) fn content_length<'v>(
    values: impl Iterator<Item = &'v [u8]>,
) -> Result<Option<u64>, BadHead> {
    let mut known = None;
    for value in values {
        let number = length(value).filter(|number| i64::try_from(*number).is_ok());
        if number.is_none() {
            let value = String::from_utf8_lossy(value);
            let text = format!("Content-Length `{}` is not a number", value.escape_debug());
            return Err(BadHead::OfWorker(text));
        }
        if known.is_some() && known != number {
            let text = "there are two different values of Content-Length";
            return Err(BadHead::OfWorker(text.to_owned()));
        }
        known = number;
    }
    Ok(known)
}

/// The status line that httpd is to send. To a number alone httpd adds the usual
/// reason where there is one, and else the space that has to be there.
pub(crate) fn status_line(status: u16, reason: &[u8]) -> Vec<u8> {
    let space: &[u8] = if reason.is_empty() { b"" } else { b" " };
    [status.to_string().as_bytes(), space, reason].concat()
}

/// The media type in small letters, as httpd compares it (AddOutputFilterByType);
/// its parameters as they are.
pub(crate) fn content_type(value: &[u8]) -> Vec<u8> {
    let end = value
        .iter()
        .position(|byte| *byte == b';')
        .unwrap_or(value.len());
    let mut value = value.to_vec();
    value[..end].make_ascii_lowercase();
    value
}

#[cfg(test)]
mod tests {
    use serde_bytes::Bytes;

    use super::*;

    fn verdict(status: u16, reason: &str, headers: &[(&str, &str)]) -> Result<(), BadHead> {
        let headers = headers
            .iter()
            .map(|(name, value)| (Bytes::new(name.as_bytes()), Bytes::new(value.as_bytes())))
            .collect();
        check(
            &ResponseHead {
                status,
                reason: Bytes::new(reason.as_bytes()),
                headers,
            },
            100,
        )
    }

    #[test]
    fn ordinary_heads_pass() {
        assert_eq!(
            verdict(
                200,
                "OK",
                &[("Set-Cookie", "a=b"), ("X-T\u{65}st", "\u{e9} \t")]
            ),
            Ok(())
        );
        assert_eq!(verdict(599, "", &[]), Ok(()));
    }

    #[test]
    fn a_part_is_sent_only_of_what_has_a_validator() {
        for (headers, expected) in [
            (&[][..], false),
            (&[("Content-Length", "10")], false),
            (&[("ETag", "\"a\"")], true),
            (&[("etag", "a")], true),
            (&[("ETag", "")], false),
            (&[("ETag", "W/\"a\"")], false),
            (&[("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")], true),
            (
                &[("ETag", "W/\"a\""), ("Last-Modified", "Mon, 01 Jan 2024")],
                true,
            ),
            (&[("ETag", "\"a\""), ("Accept-Ranges", "bytes")], true),
            (&[("ETag", "\"a\""), ("accept-ranges", " None")], false),
        ] {
            let fields = headers.iter();
            let head = ResponseHead {
                status: 200,
                reason: Bytes::new(b"OK"),
                headers: fields
                    .map(|(name, value)| {
                        (Bytes::new(name.as_bytes()), Bytes::new(value.as_bytes()))
                    })
                    .collect(),
            };
            assert_eq!(allows_ranges(&head), expected, "{headers:?}");
        }
    }

    #[test]
    fn what_could_split_a_response_does_not() {
        for (status, reason, headers) in [
            (199, "OK", &[][..]),
            (600, "OK", &[]),
            (99, "OK", &[]),
            (200, "O\rK", &[]),
            (200, "OK\0", &[]),
            (200, "OK", &[("", "x")]),
            (200, "OK", &[("a b", "x")]),
            (200, "OK", &[("a:", "x")]),
            (200, "OK", &[("a", "x\r\nb: c")]),
            (200, "OK", &[("a", "x\0")]),
            (200, "OK", &[("a", "x\n")]),
        ] {
            assert!(
                verdict(status, reason, headers).is_err(),
                "{status} {reason:?} {headers:?}"
            );
        }
        assert!(verdict(200, "OK", &[("a", &"x".repeat(100))]).is_err());
    }

    #[test]
    fn headers_of_the_connection_are_dropped() {
        for name in [
            "Transfer-Encoding",
            "KEEP-ALIVE",
            "te",
            "Upgrade",
            "Trailer",
            "Date",
            "Server",
        ] {
            assert_eq!(treatment(name.as_bytes()), HeaderTreatment::Drop, "{name}");
        }
        assert_eq!(treatment(b"WWW-Authenticate"), HeaderTreatment::ErrorTable);
        assert_eq!(treatment(b"Set-Cookie"), HeaderTreatment::Table);
        assert_eq!(treatment(b"content-TYPE"), HeaderTreatment::ContentType);
    }

    #[test]
    fn content_length_is_one_number() {
        let read = |values: &[&str]| content_length(values.iter().map(|value| value.as_bytes()));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["12"]), Ok(Some(12)));
        assert_eq!(read(&["12", "12"]), Ok(Some(12)));
        for bad in [
            &["12", "13"][..],
            &["-1"],
            &["+1"],
            &[""],
            &["1 2"],
            &["0x1"],
            &["99999999999999999999"],
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_status_without_a_reason_gets_that_of_httpd() {
        assert_eq!(status_line(204, b""), b"204");
        assert_eq!(status_line(418, b"I'm a teapot"), b"418 I'm a teapot");
    }

    #[test]
    fn a_media_type_is_compared_in_small_letters() {
        assert_eq!(
            content_type(b"TEXT/Html; Charset=UTF-8"),
            b"text/html; Charset=UTF-8"
        );
        assert_eq!(content_type(b"Text/Plain"), b"text/plain");
        assert_eq!(content_type(b""), b"");
    }
}
