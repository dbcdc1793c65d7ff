//! What the client sends: a request, with a body of known or unknown length.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::pattern;

/// What to send.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) method: String,
    path: String,
    headers: Vec<(String, String)>,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
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

pub(super) fn send_request(
    mut to: &TcpStream,
    request: &Request,
    address: SocketAddr,
) -> io::Result<()> {
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
