//! What httpd writes to its standard output and error while it runs in the
//! foreground: copied to ours line by line, so that `--log-to-terminal` works
//! with a terminal, a pipe, a socket or a journal alike. With a terminal, error
//! lines and tracebacks are coloured.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::thread::JoinHandle;

/// Says something to the person at the terminal; nobody may be listening there.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Set in the environment of `apachectl` by `start-server`.
pub(crate) const DIE_WITH_PARENT: &str = "WSGID_DIE_WITH_PARENT";

/// A copy that runs until the other end is closed by all who hold it.
pub(crate) fn copy_lines(
    from: impl Read + Send + 'static,
    to: TerminalStream,
    mut also: Option<File>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut line = Vec::new();
        while reader
            .by_ref()
            .take(LINE_MAX)
            .read_until(b'\n', &mut line)
            .is_ok_and(|len| len > 0)
        {
            to.write(&line);
            if let Some(file) = &mut also {
                let _ = file.write_all(&line);
            }
            line.clear();
        }
    })
}

/// Lines beyond this are passed on in parts.
const LINE_MAX: u64 = 64 * 1024;

/// Where the lines go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TerminalStream {
    Output,
    Error { colour: bool },
}

impl TerminalStream {
    pub(crate) fn error() -> Self {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self::Error { colour }
    }

    fn write(self, line: &[u8]) {
        // The reader of our output may have gone; httpd goes on all the same.
        let _ = match self {
            Self::Output => io::stdout().lock().write_all(line),
            Self::Error { colour: false } => io::stderr().lock().write_all(line),
            Self::Error { colour: true } => io::stderr().lock().write_all(&coloured(line)),
        };
    }
}

/// Red for errors, yellow for warnings, dim for the stamp in front.
fn coloured(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\n');
    let errors = [":emerg]", ":alert]", ":crit]", ":error]"];
    let colour = if errors.iter().any(|level| text.contains(level)) {
        "\u{1b}[31m"
    } else if text.contains(":warn]") {
        "\u{1b}[33m"
    } else {
        ""
    };
    // `[time] [module:level] [pid …] text`: the part in brackets is the stamp.
    let mut rest = text;
    while rest.starts_with('[')
        && let Some((_, after)) = rest.split_once("] ")
    {
        rest = after;
    }
    let stamp = text.strip_suffix(rest).unwrap_or_default();
    format!("\u{1b}[2m{stamp}\u{1b}[0m{colour}{rest}\u{1b}[0m\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_is_dim_and_an_error_red() {
        let line = b"[Sun Nov 22 2026] [wsgi:error] [pid 1:tid 2] ValueError: [x] y\n";
        let got = String::from_utf8(coloured(line)).unwrap();
        assert_eq!(
            got,
            "\u{1b}[2m[Sun Nov 22 2026] [wsgi:error] [pid 1:tid 2] \u{1b}[0m\u{1b}[31mValueError: [x] y\u{1b}[0m\n"
        );
        assert_eq!(coloured(b"plain\n"), b"\x1b[2m\x1b[0mplain\x1b[0m\n");
    }
}
