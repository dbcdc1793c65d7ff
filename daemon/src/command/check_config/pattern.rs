//! Does a section hold for a file or a URL? Wildcards are compared as httpd
//! does. Regular expressions are decided where their literal front decides;
//! otherwise the answer is "perhaps", which the findings say.

use std::path::Path;

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Yes,
    Perhaps,
    No,
}

impl Holds {
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Perhaps,
        }
    }

    fn of(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }
}

/// `*`, `?` and `[…]`; a slash is matched by a slash only.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    glob_from(&pattern, &text)
}

fn glob_from(pattern: &[char], text: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else {
        return text.is_empty();
    };
    let one = |fits: bool, rest: &[char]| {
        fits && text
            .split_first()
            .is_some_and(|(_, text)| glob_from(rest, text))
    };
    let next = text.first().copied();
    match first {
        '*' => glob_from(rest, text) || one(next != Some('/'), pattern),
        '?' => one(next != Some('/'), rest),
        '[' => match rest.iter().position(|c| *c == ']').filter(|end| *end > 0) {
            Some(end) => {
                let set = &rest[..end];
                let (negated, set) = match set.split_first() {
                    Some(('!' | '^', set)) => (true, set),
                    _ => (false, set),
                };
                one(
                    next.is_some_and(|c| c != '/' && in_set(set, c) != negated),
                    &rest[end + 1..],
                )
            }
            None => one(next == Some('['), rest),
        },
        c => one(next == Some(*c), rest),
    }
}

fn in_set(set: &[char], c: char) -> bool {
    let ranges = set
        .windows(3)
        .any(|part| part[1] == '-' && (part[0]..=part[2]).contains(&c));
    ranges || set.contains(&c)
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// A regular expression, as far as its literal front goes.
pub(crate) fn regex(pattern: &str, text: &str) -> Holds {
    let (anchored, pattern) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let special = |c: char| "\\.[](){}*+?|^$".contains(c);
    let mut front = pattern.split(special).next().unwrap_or_default();
    let rest = &pattern[front.len()..];
    // A quantifier is about the last character of the front.
    if rest.starts_with(['*', '?', '{']) {
        front = front
            .char_indices()
            .next_back()
            .map_or("", |(at, _)| &front[..at]);
    }
    if pattern.contains('|') {
        return Holds::Perhaps;
    }
    let begins = if anchored {
        text.starts_with(front)
    } else {
        text.contains(front)
    };
    match (begins, rest) {
        (false, _) => Holds::No,
        (true, "") => Holds::Yes,
        (true, "$") => Holds::of(if anchored {
            text == front
        } else {
            text.ends_with(front)
        }),
        (true, _) => Holds::Perhaps,
    }
}

/// `<Directory path>`.
pub(crate) fn directory(path: &str, file: &Path) -> Holds {
    let Some(parent) = file.parent() else {
        return Holds::No;
    };
    if !has_wildcard(path) {
        return Holds::of(parent.starts_with(path));
    }
    let wanted = path.trim_end_matches('/').split('/').count();
    let front: Vec<&str> = parent
        .to_str()
        .unwrap_or_default()
        .split('/')
        .take(wanted)
        .collect();
    Holds::of(front.len() == wanted && glob(path.trim_end_matches('/'), &front.join("/")))
}

/// `<Location path>`.
pub(crate) fn location(path: &str, url: &str) -> Holds {
    if has_wildcard(path) {
        return if glob(path, url) {
            Holds::Yes
        } else {
            Holds::Perhaps
        };
    }
    let bare = path.trim_end_matches('/');
    let url = url.trim_end_matches('/');
    let same = url == bare;
    Holds::of(
        same || url
            .strip_prefix(bare)
            .is_some_and(|rest| rest.starts_with('/')),
    )
}

/// `<Files name>`.
pub(crate) fn files(name: &str, file: &Path) -> Holds {
    let own = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    Holds::of(glob(name, own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Holds::{No, Perhaps, Yes};

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("*.wsgi", "app.wsgi", true),
            ("*.wsgi", "app.py", false),
            ("/home/*/public", "/home/alice/public", true),
            ("/home/*/public", "/home/a/b/public", false),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[", "[", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn sections() {
        let file = Path::new("/srv/shop/app/wsgi.py");
        for (path, expected) in [
            ("/srv/shop", Yes),
            ("/", Yes),
            ("/srv/shop/", Yes),
            ("/srv/sho", No),
            ("/srv/*/app", Yes),
            ("/x/*", No),
        ] {
            assert_eq!(directory(path, file), expected, "{path}");
        }
        for (path, url, expected) in [
            ("/", "/app", Yes),
            ("/app", "/app", Yes),
            ("/app/", "/app", Yes),
            ("/app", "/apple", No),
            ("/app/admin", "/app", No),
        ] {
            assert_eq!(location(path, url), expected, "{path} {url}");
        }
        assert_eq!((files("wsgi.py", file), files("*.wsgi", file)), (Yes, No));
    }

    #[test]
    fn regular_expressions_that_cannot_be_decided_are_perhaps() {
        for (pattern, text, expected) in [
            ("^/site", "/site/x", Yes),
            ("^/site", "/other", No),
            ("^/site/[^/]+/login", "/site", No),
            ("^/site(/|$)", "/site", Perhaps),
            ("^/sites?", "/site", Perhaps),
            ("^/$", "/", Yes),
            ("^/(a|b)", "/c", Perhaps),
            ("admin", "/x/admin", Yes),
        ] {
            assert_eq!(regex(pattern, text), expected, "{pattern} {text}");
        }
    }
}
