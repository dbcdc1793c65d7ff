//! The words of a directive's line: quotes and backslashes as httpd reads them,
//! and `name=value` where the value may be quoted. Pure.

use std::path::PathBuf;

/// What is left of the line.
pub(crate) struct Words<'l> {
    line: &'l [u8],
}

impl<'l> Words<'l> {
    pub(crate) fn new(line: &'l [u8]) -> Self {
        Self {
            line: line.trim_ascii(),
        }
    }

    /// The next word without its quotes; inside quotes a backslash keeps a
    /// quote or a backslash.
    pub(crate) fn next(&mut self) -> Option<String> {
        let line = self.line.trim_ascii_start();
        let first = *line.first()?;
        let mut word = Vec::new();
        let used = if first == b'"' || first == b'\'' {
            let mut at = 1;
            while let Some(&byte) = line.get(at) {
                if byte == first {
                    at += 1;
                    break;
                }
                let next = line.get(at + 1).copied();
                if byte == b'\\' && (next == Some(first) || next == Some(b'\\')) {
                    at += 1;
                }
                word.extend(line.get(at));
                at += 1;
            }
            at
        } else {
            let end = line
                .iter()
                .position(u8::is_ascii_whitespace)
                .unwrap_or(line.len());
            word.extend_from_slice(&line[..end]);
            end
        };
        self.line = line.get(used..).unwrap_or_default();
        Some(String::from_utf8_lossy(&word).into_owned())
    }

    pub(crate) fn need(&mut self, what: &str) -> Result<String, String> {
        self.next().ok_or_else(|| format!("{what} is missing"))
    }

    /// All words that are left, at least one.
    pub(crate) fn rest(&mut self, what: &str) -> Result<Vec<String>, String> {
        let mut words = vec![self.need(what)?];
        words.extend(std::iter::from_fn(|| self.next()));
        Ok(words)
    }

    /// The next `name=value`; the value may be quoted, and there may be space before it.
    pub(crate) fn next_option(&mut self) -> Result<Option<(String, String)>, String> {
        let line = self.line.trim_ascii_start();
        let quoted = matches!(line.first(), Some(b'"' | b'\''));
        let end = line
            .iter()
            .position(|byte| byte.is_ascii_whitespace() || *byte == b'=');
        if let Some(end) = end.filter(|end| *end > 0 && line[*end] == b'=' && !quoted) {
            let name = String::from_utf8_lossy(&line[..end]).into_owned();
            self.line = &line[end + 1..];
            return Ok(Some((name, self.next().unwrap_or_default())));
        }
        let Some(word) = self.next() else {
            return Ok(None);
        };
        // The whole option may be quoted, too.
        match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Some((name.to_owned(), value.to_owned())))
            }
            _ => Err(format!("`{word}` is not an option of the form name=value")),
        }
    }

    pub(crate) fn switch(&mut self) -> Result<bool, String> {
        let word = self.need("On or Off")?;
        on_or_off(&word)
    }

    pub(crate) fn absolute_path(&mut self, what: &str) -> Result<PathBuf, String> {
        let word = self.need(what)?;
        if word.starts_with('/') {
            Ok(PathBuf::from(word))
        } else {
            Err(format!("`{word}` is not an absolute path"))
        }
    }

    /// Refuses words that nobody asked for.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        match self.next() {
            None => Ok(()),
            Some(word) => Err(format!("`{word}` is one word too many")),
        }
    }
}

pub(crate) fn on_or_off(word: &str) -> Result<bool, String> {
    match word.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{word}` is neither On nor Off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_may_be_quoted() {
        let mut words = Words::new(br#" / "/srv/my site/wsgi.py" 'a "b"' "c \"d\" \x" "#);
        let all: Vec<_> = std::iter::from_fn(|| words.next()).collect();
        assert_eq!(all, ["/", "/srv/my site/wsgi.py", "a \"b\"", "c \"d\" \\x"]);
    }

    #[test]
    fn values_may_be_quoted() {
        let mut words =
            Words::new(br#"processes=2 display-name="my site" "env=A=b c" home= /srv x"#);
        assert_eq!(
            words.next_option(),
            Ok(Some(("processes".into(), "2".into())))
        );
        assert_eq!(
            words.next_option(),
            Ok(Some(("display-name".into(), "my site".into())))
        );
        assert_eq!(
            words.next_option(),
            Ok(Some(("env".into(), "A=b c".into())))
        );
        assert_eq!(
            words.next_option(),
            Ok(Some(("home".into(), "/srv".into())))
        );
        assert_eq!(
            words.next_option(),
            Err("`x` is not an option of the form name=value".into())
        );
        assert_eq!(words.next_option(), Ok(None));
    }

    #[test]
    fn a_word_too_many_is_an_error() {
        let mut words = Words::new(b"On Off");
        assert_eq!(words.switch(), Ok(true));
        assert_eq!(words.finish(), Err("`Off` is one word too many".into()));
        assert_eq!(
            Words::new(b"maybe").switch(),
            Err("`maybe` is neither On nor Off".into())
        );
        assert_eq!(Words::new(b"").switch(), Err("On or Off is missing".into()));
    }

    #[test]
    fn an_open_quote_ends_with_the_line() {
        let mut words = Words::new(b"\"abc\\");
        assert_eq!(words.next().as_deref(), Some("abc\\"));
        assert_eq!(words.next(), None);
    }
}
