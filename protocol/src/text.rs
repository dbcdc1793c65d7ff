//! Texts that have to fit: into a frame, a record of httpd's log, a message. Used
//! by all three programs.

/// The front of a text: as much as so many bytes have room for, in whole
/// characters.
pub fn cut(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// `1 process`, `2 processes`.
pub fn count(number: impl TryInto<u64>, one: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let ending = match (number, one.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {one}{ending}")
}

/// Seconds, in a unit that reads well.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The bytes that a part of a URL stands for: `%41` is `A`. What is no code stays as it is.
pub fn percent_decoded(mut text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        let code = rest.get(..2).filter(|_| *first == b'%');
        let code = code.filter(|code| code.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        out.push(byte.unwrap_or(*first));
        let taken = if byte.is_some() { 2 } else { 0 };
        text = rest.get(taken..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{count, cut, percent_decoded};

    #[test]
    fn one_is_no_plural() {
        assert_eq!(count(1_u32, "process"), "1 process");
        assert_eq!(count(0_usize, "process"), "0 processes");
        assert_eq!(count(2_u64, "process group"), "2 process groups");
    }

    #[test]
    fn codes_are_bytes_and_nothing_else_is() {
        for (text, bytes) in [
            (&b""[..], &b""[..]),
            (b"a%20b", b"a b"),
            (b"%C3%a9", b"\xc3\xa9"),
            (b"%zz%4%", b"%zz%4%"),
            (b"%+1", b"%+1"),
        ] {
            assert_eq!(percent_decoded(text), bytes);
        }
    }

    #[test]
    fn characters_stay_whole() {
        assert_eq!(cut("plain", 5), "plain");
        assert_eq!(cut("plain", 4), "plai");
        assert_eq!(cut("süß", 2), "s");
        assert_eq!(cut("süß", 3), "sü");
        assert_eq!(cut("ß", 1), "");
        assert_eq!(cut("", 0), "");
    }
}
