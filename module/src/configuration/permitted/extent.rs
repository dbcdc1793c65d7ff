//! Parts of the file system or of the URLs: what a section is about, where a
//! script is; and whether the one reaches the other. Pure.

/// A part of the paths, of files or of URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of them.
    All,
    /// This path and everything below it.
    At(String),
    /// Something at or below it; which only a request says.
    Within(String),
}

/// Whether a section is in force for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Applies {
    Never,
    Perhaps,
    Always,
}

impl Extent {
    pub(super) fn at(path: &str) -> Self {
        Self::At(trimmed(path).to_owned())
    }

    /// What is at `path`, whatever comes from its first character in `variable` on.
    pub(super) fn of(path: &str, variable: &[char]) -> Self {
        fixed_front(path, variable).map_or_else(|| Self::at(path), Self::Within)
    }

    /// Whether a section with this extent is in force for what is in `target`.
    pub(super) fn applies(&self, target: &Self) -> Applies {
        match (self, target) {
            (Self::All, _) => Applies::Always,
            (Self::At(own), Self::All) if own == "/" => Applies::Always,
            (_, Self::All) => Applies::Perhaps,
            (Self::At(own), Self::At(other) | Self::Within(other)) if is_below(other, own) => {
                Applies::Always
            }
            (Self::At(own) | Self::Within(own), Self::At(other) | Self::Within(other))
                if is_below(own, other) || is_below(other, own) =>
            {
                Applies::Perhaps
            }
            _ => Applies::Never,
        }
    }
}

/// Whether `path` is `directory` or below it.
pub(super) fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path without a slash at its end.
pub(super) fn trimmed(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    }
}

/// A path as httpd makes it absolute: without `.`, `..` and several slashes in a
/// row. A slash at the end stays.
pub(super) fn absolute(root: &str, path: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{root}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", parts.join("/"))
}

/// The directory that `text` is in whatever comes from its first character in
/// `variable` on; `None` if all of it is fixed.
pub(super) fn fixed_front(text: &str, variable: &[char]) -> Option<String> {
    let end = text.find(variable)?;
    let slash = text[..end].rfind('/').unwrap_or(0);
    Some(trimmed(&text[..slash]).to_owned())
}

/// Likewise for a regular expression that paths have to match.
pub(super) fn regex_front(pattern: &str) -> String {
    const SPECIAL: &[char] = &[
        '.', '*', '+', '?', '[', ']', '(', ')', '{', '}', '|', '\\', '^', '$',
    ];
    match pattern.strip_prefix('^') {
        Some(rest) if rest.starts_with('/') && !has_alternatives(rest) => {
            fixed_front(rest, SPECIAL)
                .unwrap_or_else(|| fixed_front(&format!("{rest}*"), &['*']).unwrap_or_default())
        }
        _ => "/".to_owned(),
    }
}

/// Whether a `|` stands outside of all parentheses.
fn has_alternatives(pattern: &str) -> bool {
    let mut depth = 0_i32;
    pattern.chars().any(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == '|' && depth == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fronts_end_at_a_directory() {
        for (text, expected) in [
            ("/srv/$1/x", Some("/srv")),
            ("/srv/a$1", Some("/srv")),
            ("/$1", Some("/")),
            ("$1", Some("/")),
            ("/srv/x", None),
        ] {
            assert_eq!(fixed_front(text, &['$']).as_deref(), expected, "{text}");
        }
        for (pattern, expected) in [
            ("^/srv/www/[^/]+/x", "/srv/www"),
            ("^/srv/www/", "/srv/www"),
            ("^/srv/www", "/srv"),
            ("/srv/www/", "/"),
            ("^/srv/(a|b)/", "/srv"),
            ("^/srv/a|^/home/b", "/"),
            ("^/srv/www\\.example/x", "/srv"),
            ("", "/"),
        ] {
            assert_eq!(regex_front(pattern), expected, "{pattern}");
        }
        for (path, expected) in [
            ("/a//b/./c/", "/a/b/c/"),
            ("x.wsgi", "/base/x.wsgi"),
            ("/a/../../b", "/b"),
            ("/", "/"),
            ("../x", "/x"),
        ] {
            assert_eq!(absolute("/base", path), expected, "{path}");
        }
    }
}
