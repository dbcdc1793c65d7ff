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

#[cfg(test)]
mod tests {
    use super::{count, cut};

    #[test]
    fn one_is_no_plural() {
        assert_eq!(count(1_u32, "process"), "1 process");
        assert_eq!(count(0_usize, "process"), "0 processes");
        assert_eq!(count(2_u64, "process group"), "2 process groups");
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
