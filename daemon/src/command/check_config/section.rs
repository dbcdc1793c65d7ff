//! Does a section hold for a file or a URL? Wildcards are compared as httpd
//! does. Regular expressions are decided where their literal front decides;
//! otherwise the answer is "perhaps", which the findings say.

use std::ffi::OsStr;
use std::path::Path;

use wsgid_protocol::report::Node;

use super::words::words;

/// The answer; of several sections the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holds {
    No,
    Perhaps,
    Yes,
}

impl From<bool> for Holds {
    fn from(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }
}

/// A section of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// With its `<`, in small letters.
    pub(crate) name: String,
    /// Its path or pattern.
    pub(crate) word: String,
    is_regex: bool,
}

impl Section {
    pub(crate) fn new(node: &Node) -> Self {
        let name = node.name.to_ascii_lowercase();
        let mut words = words(&node.arguments).into_iter();
        Self {
            is_regex: name.ends_with("match") || node.arguments.trim_start().starts_with('~'),
            word: words.find(|word| word != "~").unwrap_or_default(),
            name,
        }
    }

    /// How late it is merged.
    pub(crate) fn rank(&self) -> (u8, usize) {
        match self.name.as_str() {
            "<directory" | "<directorymatch" if self.is_regex => (1, usize::MAX),
            "<directory" => (1, self.word.matches('/').count()),
            "<files" | "<filesmatch" => (2, 0),
            "<location" | "<locationmatch" => (3, 0),
            _ => (4, 0),
        }
    }

    /// Whether it holds for a request; what other modules have may.
    pub(crate) fn holds(&self, url: &str, file: &Path) -> Holds {
        let (text, holds): (_, fn(&str, &str) -> Holds) = match self.name.as_str() {
            "<directory" | "<directorymatch" => (file.parent().and_then(Path::to_str), directory),
            "<files" | "<filesmatch" => (file.file_name().and_then(OsStr::to_str), name),
            "<location" | "<locationmatch" => (Some(url), location),
            "<proxy" => return Holds::No,
            _ => return Holds::Perhaps,
        };
        let holds = if self.is_regex { regex } else { holds };
        holds(&self.word, text.unwrap_or_default())
    }
}

/// `*`, `?` and `[…]`; a slash is matched by a slash only.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = split_first(pattern) else {
        return text.is_empty();
    };
    let (next, after) = split_first(text).unzip();
    let after = after.unwrap_or_default();
    let is_part = next.is_some_and(|c| c != '/');
    match first {
        '*' => glob(rest, text) || (is_part && glob(pattern, after)),
        '?' => is_part && glob(rest, after),
        '[' => match rest.split_once(']') {
            Some((set, rest)) if !set.is_empty() => {
                is_part && next.is_some_and(|c| in_set(set, c)) && glob(rest, after)
            }
            _ => next == Some('[') && glob(rest, after),
        },
        c => next == Some(c) && glob(rest, after),
    }
}

fn split_first(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    Some((chars.next()?, chars.as_str()))
}

fn in_set(set: &str, c: char) -> bool {
    let others = set.strip_prefix(['!', '^']);
    let chars: Vec<char> = others.unwrap_or(set).chars().collect();
    let ranges = chars
        .windows(3)
        .any(|part| part[1] == '-' && (part[0]..=part[2]).contains(&c));
    (ranges || chars.contains(&c)) != others.is_some()
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The front of a regular expression that is plain text.
pub(crate) fn literal_front(pattern: &str) -> &str {
    let special = |c: char| "\\.[](){}*+?|^$".contains(c);
    pattern.split(special).next().unwrap_or_default()
}

/// A regular expression, as far as its literal front goes.
fn regex(pattern: &str, text: &str) -> Holds {
    let (anchored, pattern) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    if pattern.contains('|') {
        return Holds::Perhaps;
    }
    let mut front = literal_front(pattern);
    let rest = &pattern[front.len()..];
    // A quantifier is about the last character of the front.
    if rest.starts_with(['*', '?', '{']) {
        let last = front.char_indices().next_back();
        front = last.map_or("", |(at, _)| &front[..at]);
    }
    let begins = if anchored {
        text.starts_with(front)
    } else {
        text.contains(front)
    };
    match rest {
        _ if !begins => Holds::No,
        "" => Holds::Yes,
        "$" if anchored => Holds::from(text == front),
        "$" => Holds::from(text.ends_with(front)),
        _ => Holds::Perhaps,
    }
}

/// `<Directory path>`, for a directory.
fn directory(path: &str, directory: &str) -> Holds {
    if !has_wildcard(path) {
        return Path::new(directory).starts_with(path).into();
    }
    let path = path.trim_end_matches('/');
    let wanted = path.split('/').count();
    let front: Vec<&str> = directory.split('/').take(wanted).collect();
    Holds::from(front.len() == wanted && glob(path, &front.join("/")))
}

/// `<Files name>`.
fn name(pattern: &str, name: &str) -> Holds {
    glob(pattern, name).into()
}

/// `<Location path>`.
fn location(path: &str, url: &str) -> Holds {
    if has_wildcard(path) {
        return Holds::from(glob(path, url)).max(Holds::Perhaps);
    }
    let rest = url
        .trim_end_matches('/')
        .strip_prefix(path.trim_end_matches('/'));
    Holds::from(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
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
        for (path, expected) in [
            ("/srv/shop", Yes),
            ("/", Yes),
            ("/srv/shop/", Yes),
            ("/srv/sho", No),
            ("/srv/*/app", Yes),
            ("/x/*", No),
        ] {
            assert_eq!(directory(path, "/srv/shop/app"), expected, "{path}");
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
        let files = |word: &str| {
            let section = Section {
                name: "<files".into(),
                word: word.into(),
                is_regex: false,
            };
            section.holds("/app", Path::new("/srv/shop/app/wsgi.py"))
        };
        assert_eq!((files("wsgi.py"), files("*.wsgi")), (Yes, No));
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
