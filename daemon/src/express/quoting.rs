//! How a value stands in a configuration of httpd and in a shell script. A leaf:
//! pure text, which `template` and those who write single lines go through.

/// A word of httpd's configuration, in double quotes.
pub(crate) fn httpd_word(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A word of httpd's configuration, in double quotes only where it needs them.
pub(crate) fn httpd_value(text: &str) -> String {
    let plain = !text.is_empty() && !text.contains([' ', '"', '\'', '\\', '#']);
    if plain {
        text.to_owned()
    } else {
        httpd_word(text)
    }
}

/// A word for a shell, in single quotes.
pub(crate) fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_their_reader() {
        let text = "it's \"x\" \\";
        assert_eq!(httpd_word(text), r#""it's \"x\" \\""#);
        assert_eq!(httpd_value(text), httpd_word(text));
        assert_eq!(httpd_value("%{GLOBAL}"), "%{GLOBAL}");
        assert_eq!(httpd_value(""), "\"\"");
        assert_eq!(shell_word(text), r#"'it'\''s "x" \'"#);
    }
}
