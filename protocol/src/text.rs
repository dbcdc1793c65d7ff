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

#[cfg(test)]
mod tests {
    use super::cut;

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
