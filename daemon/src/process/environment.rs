//! The environment of a worker, built from nothing. Called by the launcher
//! after the change of user, so that `env-file` is read with the site's rights.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::Identity;

/// Where a worker looks for programs, and the launcher for `python3`.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes of an `env-file`: a program's environment may have about as many.
const FILE_MAX: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvironmentError {
    #[error("failed to read env-file `{}` as the site's user: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("env-file `{}`, line {line}: not NAME=VALUE", path.display())]
    Line { path: PathBuf, line: usize },
}

/// All variables of the worker. Later sources win: accounts, locale, `env-file`,
/// `env`.
pub(crate) fn build(
    config: &GroupConfig,
    identity: &Identity,
    time_zone: Option<String>,
) -> Result<BTreeMap<String, String>, EnvironmentError> {
    let shell = Some(identity.shell.display().to_string()).filter(|shell| !shell.is_empty());
    // The C locale without UTF-8 is what mod_wsgi's users trip over.
    let lang = config.lang.clone().unwrap_or_else(|| "C.UTF-8".to_owned());
    let eggs = config.python_eggs.as_ref();
    let variables = [
        ("PATH", Some(PATH.to_owned())),
        ("HOME", Some(identity.home.display().to_string())),
        ("USER", Some(identity.user.clone())),
        ("LOGNAME", Some(identity.user.clone())),
        ("USERNAME", Some(identity.user.clone())),
        ("SHELL", shell),
        ("LANG", Some(lang)),
        ("LC_ALL", config.locale.clone()),
        ("TZ", time_zone),
        ("PYTHONHASHSEED", config.python_hash_seed.clone()),
        (
            "PYTHON_EGG_CACHE",
            eggs.map(|path| path.display().to_string()),
        ),
    ];
    let set = variables.into_iter();
    let set = set.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let mut out: BTreeMap<String, String> = set.collect();
    if let Some(path) = &config.env_file {
        let text = read(path).map_err(|source| EnvironmentError::Read {
            path: path.clone(),
            source,
        })?;
        out.extend(parse(path, &text)?);
    }
    out.extend(config.env.iter().cloned());
    Ok(out)
}

/// The file is the site's: a pipe must not keep the launcher waiting, nor a device
/// fill it without end.
fn read(path: &Path) -> io::Result<String> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    file.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        Err(io::Error::other(format!(
            "more than {FILE_MAX} bytes, which no environment holds"
        )))
    } else {
        Ok(text)
    }
}

/// `NAME=VALUE` lines; empty lines and `#` comments are skipped, one pair of
/// matching quotes around the value is taken off. `$'…'` holds escapes as in a
/// shell (`\n`, `\r`, `\\`, `\'`), for values of several lines.
fn parse(path: &Path, text: &str) -> Result<Vec<(String, String)>, EnvironmentError> {
    let mut out = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.strip_prefix("export ").unwrap_or(line).split_once('=');
        match pair {
            Some((name, value)) if !name.trim().is_empty() && !line.contains('\0') => {
                out.push((name.trim().to_owned(), unquote(value.trim())));
            }
            _ => {
                return Err(EnvironmentError::Line {
                    path: path.into(),
                    line: number + 1,
                });
            }
        }
    }
    Ok(out)
}

fn unquote(value: &str) -> String {
    if let Some(inner) = between(value, "$'", "'") {
        return unescape(inner);
    }
    let inner = between(value, "\"", "\"").or_else(|| between(value, "'", "'"));
    inner.unwrap_or(value).to_owned()
}

fn between<'a>(value: &'a str, open: &str, close: &str) -> Option<&'a str> {
    value.strip_prefix(open)?.strip_suffix(close)
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some(c @ ('\\' | '\'' | '"')) => out.push(c),
            // Not one of ours: as it is.
            other => out.extend(std::iter::once('\\').chain(other)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            uid: 1000,
            gid: 1000,
            groups: Vec::new(),
            user: "alice".into(),
            home: "/home/alice".into(),
            shell: PathBuf::new(),
            change: false,
        }
    }

    #[test]
    fn nothing_is_inherited() {
        let got = build(&GroupConfig::new("site", "test"), &identity(), None).unwrap();
        let names: Vec<&str> = got.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["HOME", "LANG", "LOGNAME", "PATH", "USER", "USERNAME"]
        );
    }

    #[test]
    fn lines_and_comments() {
        let text = "# comment\n\nA=1\nexport B=\"two words\"\nC='x=y'\nD=$'a\\nb\\\\n\\'\\t'\n";
        let got = parse(Path::new("f"), text).unwrap();
        let want = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "x=y"),
            ("D", "a\nb\\n'\\t"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(got, want);
        assert_eq!(
            parse(Path::new("f"), "A=1\nnonsense\n")
                .unwrap_err()
                .to_string(),
            "env-file `f`, line 2: not NAME=VALUE"
        );
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let long = dir.path().join("long");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::write(&long, "#".repeat(1 << 21)).unwrap();
        let tried = [pipe.as_path(), &long, Path::new("/dev/zero"), dir.path()].map(|path| {
            let config = GroupConfig {
                env_file: Some(path.into()),
                ..GroupConfig::new("site", "test")
            };
            build(&config, &identity(), None).unwrap_err().to_string()
        });
        assert!(
            tried
                .iter()
                .all(|text| text.contains("not a regular file") || text.contains("more than")),
            "{tried:?}"
        );
    }

    #[test]
    fn env_wins_over_the_rest() {
        let mut config = GroupConfig::new("site", "test");
        config.set("env", "LANG=de_DE.UTF-8").unwrap();
        assert_eq!(
            build(&config, &identity(), None).unwrap()["LANG"],
            "de_DE.UTF-8"
        );
    }
}
