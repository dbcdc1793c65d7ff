//! A small HTTP/1.1 client that tells a complete response from a broken one.
//!
//! It reads while it sends, so an early answer to a large upload is seen at
//! once. What only curl can do (TLS, HTTP/2) is left to curl.

mod request;
mod response;

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

pub use self::request::Request;
use self::request::{Body, send_request};
pub use self::response::{ClientError, Response};
use self::response::{Length, TIMEOUT, is_timeout, receive};

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
