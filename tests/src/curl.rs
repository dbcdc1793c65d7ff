//! curl, for what the harness's own client cannot do: TLS and HTTP/2, each with
//! and without the other.
//!
//! It tells what came, also if the response was broken; it judges nothing.

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::Json;

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/1.1 in clear.
    Http1,
    /// HTTP/1.1 over TLS.
    Tls1,
    /// HTTP/2 in clear, by prior knowledge.
    H2c,
    /// HTTP/2 over TLS.
    H2,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Http1, Self::Tls1, Self::H2c, Self::H2];

    /// Those of HTTP/1.1.
    pub const ONE: [Self; 2] = [Self::Http1, Self::Tls1];

    /// Whether it is HTTP/2.
    #[must_use]
    pub const fn is_h2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }

    /// Whether it is encrypted.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Tls1 | Self::H2)
    }

    /// What httpd calls the protocol.
    #[must_use]
    pub const fn protocol(self) -> &'static str {
        if self.is_h2() { "HTTP/2.0" } else { "HTTP/1.1" }
    }

    const fn option(self) -> &'static str {
        match self {
            Self::Http1 | Self::Tls1 => "--http1.1",
            Self::H2c => "--http2-prior-knowledge",
            Self::H2 => "--http2",
        }
    }
}

/// One head of a response.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The status line, as curl wrote it.
    pub line: String,
    /// The fields in their order.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// All values of a field, in their order.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The first value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }
}

/// What curl brought back.
#[derive(Clone)]
pub struct Answer {
    /// curl's exit code; 0 is a complete response.
    pub exit: i32,
    /// Interim heads.
    pub interim: Vec<Head>,
    /// The final head; empty if none came.
    pub head: Head,
    /// The body as far as it came.
    pub body: Vec<u8>,
    /// What curl complained of.
    pub complaint: String,
}

impl fmt::Debug for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body: String = self.text().chars().take(300).collect();
        write!(
            out,
            "exit {} {:?}, interim {:?}, head {:?}, ",
            self.exit, self.complaint, self.interim, self.head
        )?;
        write!(out, "{} bytes of body: {body:?}", self.body.len())
    }
}

impl Answer {
    /// Whether the transfer was complete.
    #[must_use]
    pub const fn complete(&self) -> bool {
        self.exit == 0
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.head.status
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not, or the transfer was not complete.
    #[must_use]
    pub fn json(&self) -> Json {
        assert!(self.complete() && self.status() == 200, "{self:?}");
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}

/// A request to be made by curl.
#[derive(Debug)]
pub struct Curl {
    command: Command,
    body: Option<Vec<u8>>,
    head_only: bool,
}

impl Curl {
    /// A GET of a URL.
    #[must_use]
    pub fn new(transport: Transport, url: &str) -> Self {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--insecure",
            "--max-time",
            "60",
            "--path-as-is",
        ]);
        command.arg(transport.option()).arg(url);
        Self {
            command,
            body: None,
            head_only: false,
        }
    }

    /// Options of curl's own.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// One more header.
    #[must_use]
    pub fn header(self, line: &str) -> Self {
        self.args(&["--header", line])
    }

    /// Makes it a HEAD.
    #[must_use]
    pub fn head(mut self) -> Self {
        self.head_only = true;
        self.args(&["--head"])
    }

    /// A POST of these bytes with their length.
    #[must_use]
    pub fn post(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self.args(&[
            "--header",
            "Expect:",
            "--header",
            "Content-Type: application/octet-stream",
            "--data-binary",
            "@-",
        ])
    }

    /// A POST of these bytes without their length.
    #[must_use]
    pub fn post_unknown_length(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self.args(&[
            "--header",
            "Expect:",
            "--request",
            "POST",
            "--upload-file",
            "-",
        ])
    }

    /// Starts it; what comes is read from its standard output.
    ///
    /// # Panics
    /// If curl cannot be run.
    #[must_use]
    pub fn spawn(mut self) -> Child {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl is installed")
    }

    /// Does it.
    ///
    /// # Panics
    /// If curl cannot be run.
    #[must_use]
    pub fn run(mut self) -> Answer {
        let heads = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        let mut child = self
            .command
            .arg("--dump-header")
            .arg(heads.path())
            .stdin(if self.body.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("curl is installed");
        let body = self.body.take();
        let stdin = child.stdin.take();
        let feeder = thread::spawn(move || {
            if let (Some(mut stdin), Some(body)) = (stdin, body) {
                // An early answer makes curl stop reading: no error of ours.
                let _ = stdin.write_all(&body);
            }
        });
        let output = child.wait_with_output().expect("curl can be waited for");
        let _ = feeder.join();
        let mut all = parse(heads.path());
        let head = all.pop().unwrap_or_default();
        Answer {
            exit: output.status.code().unwrap_or(-1),
            interim: all,
            head,
            // Of a HEAD, curl writes the heads there.
            body: if self.head_only {
                Vec::new()
            } else {
                output.stdout
            },
            complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The heads in their order; fields after the last are trailers and left out.
fn parse(path: &Path) -> Vec<Head> {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let mut heads: Vec<Head> = Vec::new();
    for block in text.split("\r\n\r\n") {
        let mut lines = block.lines();
        let line = lines.next().unwrap_or_default();
        if !line.starts_with("HTTP/") {
            continue;
        }
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .unwrap_or(0);
        let fields = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        heads.push(Head {
            status,
            line: line.trim_end().to_owned(),
            fields,
        });
    }
    heads
}
