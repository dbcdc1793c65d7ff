//! Variables of the environment in the command line, as express has them: for
//! containers and units, which start without a shell. Called by `cli`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The commands whose arguments are expanded.
const COMMANDS: [&str; 2] = ["start-server", "setup-server"];

/// The command line with `$NAME` and `${NAME}` replaced. A variable that is not
/// set stays as it was written.
pub(crate) fn expand(
    line: impl Iterator<Item = OsString>,
    variable: impl Fn(&OsStr) -> Option<OsString>,
) -> Vec<OsString> {
    let mut line: Vec<OsString> = line.collect();
    if line
        .get(1)
        .is_some_and(|command| COMMANDS.iter().any(|known| command == known))
    {
        for word in line.iter_mut().skip(2) {
            *word = OsString::from_vec(expand_word(word.as_bytes(), &variable));
        }
    }
    line
}

fn expand_word(word: &[u8], variable: &impl Fn(&OsStr) -> Option<OsString>) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, after)) = rest.split_first() {
        let found = if byte == b'$' { name(after) } else { None };
        let value = found.and_then(|(name, len)| Some((variable(OsStr::from_bytes(name))?, len)));
        match value {
            Some((value, len)) => {
                out.extend_from_slice(value.as_bytes());
                rest = after.get(len..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

/// The name behind a `$`, and how much of the text it takes.
fn name(text: &[u8]) -> Option<(&[u8], usize)> {
    if let Some(inner) = text.strip_prefix(b"{") {
        let end = inner.iter().position(|byte| *byte == b'}')?;
        return Some((inner.get(..end)?, end + 2));
    }
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let len = text.iter().take_while(|byte| plain(byte)).count();
    if len == 0 {
        None
    } else {
        Some((text.get(..len)?, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(line: &[&str]) -> Vec<String> {
        let variable = |name: &OsStr| match name.to_str()? {
            "PORT" => Some("8080".into()),
            "HOME_1" => Some("/srv".into()),
            _ => None,
        };
        let line = expand(line.iter().map(OsString::from), variable);
        line.into_iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn variables_of_the_environment_are_put_in() {
        let got = expanded(&[
            "wsgid",
            "start-server",
            "--port=$PORT",
            "${HOME_1}/wsgi.py",
            "$HOME_1x",
            "$",
            "a$PORT-$",
        ]);
        assert_eq!(
            got,
            [
                "wsgid",
                "start-server",
                "--port=8080",
                "/srv/wsgi.py",
                "$HOME_1x",
                "$",
                "a8080-$"
            ]
        );
        assert_eq!(
            expanded(&["wsgid", "start-server", "${PORT", "${}", "$$PORT"])[2..],
            ["${PORT", "${}", "$8080"]
        );
    }

    #[test]
    fn other_commands_are_left_alone() {
        assert_eq!(
            expanded(&["wsgid", "status", "--socket=$PORT"]),
            ["wsgid", "status", "--socket=$PORT"]
        );
    }
}
