//! The words of a directive's line, with httpd's quotes; an option's value may
//! be quoted by itself. The module has refused what it cannot read.

/// The words of a line.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    // Whether the word is an option whose value is still to come, behind space perhaps.
    let mut waits = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match quote {
            Some(open) if c == open => {
                quote = None;
                waits = false;
            }
            Some(open) => {
                let escaped = c == '\\'
                    && chars
                        .peek()
                        .is_some_and(|next| *next == open || *next == '\\');
                let c = if escaped {
                    chars.next().unwrap_or(c)
                } else {
                    c
                };
                word.get_or_insert_default().push(c);
            }
            None if c.is_whitespace() && waits => {}
            None if c.is_whitespace() => words.extend(word.take()),
            // A quote opens a word, or the value of an option.
            None if matches!(c, '"' | '\'')
                && word.as_ref().is_none_or(|word| word.ends_with('=')) =>
            {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None => {
                let word = word.get_or_insert_default();
                let name = word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
                waits = c == '=' && name && !word.is_empty();
                word.push(c);
            }
        }
    }
    words.extend(word);
    words
}

/// The value of an option among words.
pub(crate) fn option<'w>(words: &'w [String], name: &str) -> Option<&'w str> {
    words
        .iter()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_be_quoted() {
        let all = words(r#"/ "/srv/my site/x.py" display-name="a \"b\"" 'c d' env=it's"#);
        assert_eq!(
            all,
            [
                "/",
                "/srv/my site/x.py",
                "display-name=a \"b\"",
                "c d",
                "env=it's"
            ]
        );
        assert_eq!(option(&all, "display-name"), Some("a \"b\""));
        assert_eq!(option(&all, "display"), None);
        assert!(words("  ").is_empty());
        let all = words(r#"x home= /srv lang="" threads= "#);
        assert_eq!(all, ["x", "home=/srv", "lang=", "threads="]);
    }
}
