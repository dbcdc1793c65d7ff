//! What the client receives: a whole response, or what was wrong with it.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::Json;

/// How long a server may send nothing.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
const LINE_MAX: u64 = 128 * 1024;

/// A complete response.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// All fields in their order.
    pub headers: Vec<(String, String)>,
    /// The body, unless it was given to a sink.
    pub body: Vec<u8>,
    /// Status codes of interim responses before it.
    pub interim: Vec<u16>,
}

impl Response {
    /// The value of the first field with this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not, or the status is not 200.
    #[must_use]
    pub fn json(&self) -> Json {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    pub(super) fn length(&self, method: &str) -> Length {
        let empty = method == "HEAD" || matches!(self.status, 204 | 304);
        if empty {
            return Length::Known(0);
        }
        if self
            .header("Transfer-Encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
        {
            return Length::Chunked;
        }
        self.header("Content-Length")
            .and_then(|value| value.parse().ok())
            .map_or(Length::UntilClose, Length::Known)
    }
}

pub(super) enum Length {
    Known(u64),
    Chunked,
    UntilClose,
}

/// Why there is no complete response.
#[derive(Debug)]
pub enum ClientError {
    /// No connection.
    Connect(io::Error),
    /// The server closed a connection before any byte of a response.
    Closed,
    /// The response began and did not end as it said it would.
    Truncated {
        /// The status, if the head was complete.
        status: Option<u16>,
        /// Bytes of the body that came.
        received: u64,
    },
    /// The response is not HTTP.
    Malformed(String),
    /// Nothing came for too long.
    Timeout,
}

impl fmt::Display for ClientError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(out, "failed to connect: {error}"),
            Self::Closed => write!(out, "the connection was closed before any response"),
            Self::Truncated { status, received } => {
                write!(
                    out,
                    "the response was cut off after {received} bytes of the body (status {status:?})"
                )
            }
            Self::Malformed(what) => write!(out, "not HTTP: {what}"),
            Self::Timeout => write!(out, "no byte for {TIMEOUT:?}"),
        }
    }
}

impl std::error::Error for ClientError {}

pub(super) type Connection = BufReader<TcpStream>;

pub(super) fn receive(
    from: &mut Connection,
    method: &str,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<Response, ClientError> {
    let mut interim = Vec::new();
    let mut response = loop {
        let response = receive_head(from, !interim.is_empty())?;
        if response.status >= 200 || response.status == 101 {
            break response;
        }
        interim.push(response.status);
    };
    response.interim = interim;
    let mut body = BodyReader {
        status: response.status,
        received: 0,
        sink,
    };
    match response.length(method) {
        Length::Known(len) => body.exactly(from, len)?,
        Length::Chunked => body.chunked(from)?,
        Length::UntilClose => body.until_close(from)?,
    }
    Ok(response)
}

fn receive_head(from: &mut Connection, begun: bool) -> Result<Response, ClientError> {
    let first = match receive_line(from) {
        Ok(line) => line,
        Err(ClientError::Truncated { received: 0, .. }) if !begun => {
            return Err(ClientError::Closed);
        }
        Err(error) => return Err(error),
    };
    let mut words = first.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|word| word.parse().ok());
    let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
        return Err(ClientError::Malformed(first));
    };
    let mut response = Response {
        status,
        reason: words.next().unwrap_or_default().to_owned(),
        ..Response::default()
    };
    loop {
        let line = receive_line(from)?;
        if line.is_empty() {
            return Ok(response);
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(ClientError::Malformed(line));
        };
        response
            .headers
            .push((name.to_owned(), value.trim().to_owned()));
    }
}

/// A line of the head, as latin-1.
fn receive_line(from: &mut Connection) -> Result<String, ClientError> {
    let mut line = Vec::new();
    let cut = |received| ClientError::Truncated {
        status: None,
        received,
    };
    match from.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
        Ok(_) if line.ends_with(b"\r\n") => {
            line.truncate(line.len() - 2);
            Ok(line.into_iter().map(char::from).collect())
        }
        Ok(_) => Err(cut(line.len() as u64)),
        Err(error) if is_timeout(&error) => Err(ClientError::Timeout),
        Err(_) => Err(cut(line.len() as u64)),
    }
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

struct BodyReader<'a> {
    status: u16,
    received: u64,
    sink: &'a mut dyn FnMut(&[u8]),
}

impl BodyReader<'_> {
    fn cut(&self) -> ClientError {
        ClientError::Truncated {
            status: Some(self.status),
            received: self.received,
        }
    }

    /// Takes what is there, at most `len` bytes; 0 is the end of the connection.
    fn some(&mut self, from: &mut Connection, len: u64) -> Result<u64, ClientError> {
        let taken = match from.fill_buf() {
            Ok(bytes) => {
                let bytes = &bytes[..bytes.len().min(usize::try_from(len).unwrap_or(usize::MAX))];
                (self.sink)(bytes);
                bytes.len()
            }
            Err(error) if is_timeout(&error) => return Err(ClientError::Timeout),
            Err(_) => return Err(self.cut()),
        };
        from.consume(taken);
        self.received += taken as u64;
        Ok(taken as u64)
    }

    fn exactly(&mut self, from: &mut Connection, len: u64) -> Result<(), ClientError> {
        let mut left = len;
        while left > 0 {
            match self.some(from, left)? {
                0 => return Err(self.cut()),
                taken => left -= taken,
            }
        }
        Ok(())
    }

    fn chunked(&mut self, from: &mut Connection) -> Result<(), ClientError> {
        loop {
            let line = receive_line(from).map_err(|error| self.with_body(error))?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let Ok(size) = u64::from_str_radix(size, 16) else {
                return Err(ClientError::Malformed(line));
            };
            self.exactly(from, size)?;
            if size == 0 {
                while !receive_line(from)
                    .map_err(|error| self.with_body(error))?
                    .is_empty()
                {}
                return Ok(());
            }
            let end = receive_line(from).map_err(|error| self.with_body(error))?;
            if !end.is_empty() {
                return Err(ClientError::Malformed(end));
            }
        }
    }

    fn until_close(&mut self, from: &mut Connection) -> Result<(), ClientError> {
        while self.some(from, u64::MAX)? > 0 {}
        Ok(())
    }

    fn with_body(&self, error: ClientError) -> ClientError {
        match error {
            ClientError::Truncated { .. } => self.cut(),
            other => other,
        }
    }
}
