//! A small HTTP/1.1 client that tells a complete response from a broken one.
//!
//! It reads while it sends, so an early answer to a large upload is seen at
//! once. What only curl can do (TLS, HTTP/2) is left to curl.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::{Json, pattern};

const TIMEOUT: Duration = Duration::from_secs(30);
const LINE_MAX: u64 = 128 * 1024;

/// What to send.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Bytes(Vec<u8>),
    Chunks(Vec<Vec<u8>>),
    Pattern(u64),
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Body::None,
        }
    }

    /// A POST.
    #[must_use]
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: Body::Bytes(body.into()),
            ..Self::new("POST", path)
        }
    }

    /// A POST with a chunked body.
    #[must_use]
    pub fn post_chunks(path: &str, chunks: &[&[u8]]) -> Self {
        Self {
            body: Body::Chunks(chunks.iter().map(|chunk| chunk.to_vec()).collect()),
            ..Self::new("POST", path)
        }
    }

    /// A POST of so many bytes of the pattern.
    #[must_use]
    pub fn post_pattern(path: &str, len: u64) -> Self {
        Self {
            body: Body::Pattern(len),
            ..Self::new("POST", path)
        }
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn head(&self, address: SocketAddr) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        if !self
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            head += &format!("Host: {address}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        match &self.body {
            Body::None => {}
            Body::Bytes(bytes) => head += &format!("Content-Length: {}\r\n", bytes.len()),
            Body::Chunks(_) => head += "Transfer-Encoding: chunked\r\n",
            Body::Pattern(len) => head += &format!("Content-Length: {len}\r\n"),
        }
        head + "\r\n"
    }
}

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

    fn length(&self, method: &str) -> Length {
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

enum Length {
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

/// A client with at most one connection.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    timeout: Duration,
}

impl Client {
    /// A client that connects with its first request.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
            timeout: TIMEOUT,
        }
    }

    /// Sets how long it waits for a byte.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether the next request would use the connection of the last one.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Closes the connection.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// A GET.
    ///
    /// # Errors
    /// If there is no complete response.
    pub fn get(&mut self, path: &str) -> Result<Response, ClientError> {
        self.send(&Request::new("GET", path))
    }

    /// Sends a request and keeps the body of the response.
    ///
    /// # Errors
    /// If there is no complete response.
    pub fn send(&mut self, request: &Request) -> Result<Response, ClientError> {
        let mut body = Vec::new();
        let mut response =
            self.send_with(request, &mut |piece: &[u8]| body.extend_from_slice(piece))?;
        response.body = body;
        Ok(response)
    }

    /// Sends a request and gives the body of the response to `sink` as it comes.
    ///
    /// # Errors
    /// If there is no complete response.
    pub fn send_with(
        &mut self,
        request: &Request,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Response, ClientError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let writer = connection
            .get_ref()
            .try_clone()
            .map_err(ClientError::Connect)?;
        let address = self.address;
        let (result, sent_all) = thread::scope(|scope| {
            let large = matches!(request.body, Body::Pattern(_));
            let sender = if large {
                Some(scope.spawn(move || send_request(&writer, request, address)))
            } else {
                // A server may answer and close before it has read all: what it
                // answered is what counts.
                let _ = send_request(&writer, request, address);
                None
            };
            let result = receive(&mut connection, &request.method, sink);
            let sent_all = match sender {
                Some(sender) if sender.is_finished() => true,
                Some(_) => {
                    let _ = connection.get_ref().shutdown(Shutdown::Both);
                    false
                }
                None => true,
            };
            (result, sent_all)
        });
        let response = result?;
        let close = response
            .header("Connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if sent_all && !close && !matches!(response.length(&request.method), Length::UntilClose) {
            self.connection = Some(connection);
        }
        Ok(response)
    }

    fn connect(&self) -> Result<BufReader<TcpStream>, ClientError> {
        let stream = TcpStream::connect_timeout(&self.address, self.timeout)
            .map_err(ClientError::Connect)?;
        stream.set_nodelay(true).map_err(ClientError::Connect)?;
        stream
            .set_read_timeout(Some(self.timeout))
            .map_err(ClientError::Connect)?;
        stream
            .set_write_timeout(Some(self.timeout))
            .map_err(ClientError::Connect)?;
        Ok(BufReader::with_capacity(64 * 1024, stream))
    }
}

fn send_request(mut to: &TcpStream, request: &Request, address: SocketAddr) -> io::Result<()> {
    let mut head = request.head(address).into_bytes();
    match &request.body {
        Body::None => to.write_all(&head),
        Body::Bytes(bytes) => {
            head.extend_from_slice(bytes);
            to.write_all(&head)
        }
        Body::Chunks(chunks) => {
            to.write_all(&head)?;
            for chunk in chunks {
                let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
                framed.extend_from_slice(chunk);
                framed.extend_from_slice(b"\r\n");
                to.write_all(&framed)?;
            }
            to.write_all(b"0\r\n\r\n")
        }
        Body::Pattern(len) => {
            to.write_all(&head)?;
            let mut offset = 0;
            while offset < *len {
                let piece = pattern::piece(offset, len - offset);
                to.write_all(piece)?;
                offset += piece.len() as u64;
            }
            Ok(())
        }
    }
}

type Connection = BufReader<TcpStream>;

fn receive(
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

fn is_timeout(error: &io::Error) -> bool {
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

/// Sends bytes as they are and returns what comes until the server closes,
/// as latin-1 text. For requests that no well-behaved client would send.
///
/// # Panics
/// If there is no connection, or no end of it within half a minute.
#[must_use]
pub fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("the server takes connections");
    stream
        .set_read_timeout(Some(TIMEOUT))
        .expect("a socket has a timeout");
    // The server may refuse before it has read all.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if is_timeout(&error) => {
            panic!(
                "the server kept the connection: {}",
                String::from_utf8_lossy(&answer)
            )
        }
        // A reset after the answer is an end, too.
        Ok(_) | Err(_) => answer.into_iter().map(char::from).collect(),
    }
}
