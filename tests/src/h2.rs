//! A few frames of HTTP/2 by hand, for what no finished client does: to reset
//! one stream and to go on with the connection, and to see which streams the
//! server resets. Field blocks of the server are not decoded.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: u32 = 8;

/// What came on one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// The body so far.
    pub body: Vec<u8>,
    /// Whether the server ended it as complete.
    pub ended: bool,
    /// The code with which the server reset it.
    pub reset: Option<u32>,
}

/// A connection in clear, with prior knowledge.
#[derive(Debug)]
pub struct H2 {
    socket: TcpStream,
    last: u32,
    streams: BTreeMap<u32, Stream>,
    /// Whether the server said that it would take no more, or closed.
    pub gone: bool,
}

impl H2 {
    /// Connects, with windows that never fill.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_with_window(address, 0x3F00_0000)
    }

    /// Connects; the server may send so much on each stream and no more.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn connect_with_window(address: SocketAddr, window: u32) -> Self {
        let socket = TcpStream::connect(address).expect("the server takes connections");
        let mut h2 = Self {
            socket,
            last: 0,
            streams: BTreeMap::new(),
            gone: false,
        };
        h2.socket
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .expect("it is read");
        // SETTINGS_INITIAL_WINDOW_SIZE, and the window of the connection.
        let [a, b, c, d] = window.to_be_bytes();
        h2.send(SETTINGS, 0, 0, &[0, 4, a, b, c, d]);
        h2.send(WINDOW_UPDATE, 0, 0, &[0x3F, 0, 0, 0]);
        h2
    }

    /// Sends a GET; returns its stream.
    ///
    /// # Panics
    /// If the path is longer than a field may be here.
    pub fn get(&mut self, path: &str) -> u32 {
        self.last += if self.last == 0 { 1 } else { 2 };
        // HPACK: `GET` and `http` of the static table, then path and authority as they are.
        let mut block = vec![0x82, 0x86];
        for (name, value) in [(0x04, path), (0x01, "localhost")] {
            let len = u8::try_from(value.len())
                .ok()
                .filter(|len| *len < 127)
                .expect("a short field");
            block.extend([name, len]);
            block.extend(value.bytes());
        }
        self.send(HEADERS, END_STREAM | END_HEADERS, self.last, &block);
        self.last
    }

    /// Resets a stream: the client does not want it any more.
    pub fn reset(&mut self, stream: u32) {
        self.send(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    }

    /// Reads until a stream is as wanted, and returns it as it is then.
    pub fn until(
        &mut self,
        stream: u32,
        limit: Duration,
        wanted: impl Fn(&Stream) -> bool,
    ) -> Stream {
        let deadline = Instant::now() + limit;
        while !wanted(self.streams.entry(stream).or_default())
            && !self.gone
            && Instant::now() < deadline
        {
            self.frame(deadline);
        }
        self.streams.entry(stream).or_default().clone()
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        let mut frame = vec![len[1], len[2], len[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        // A server that has gone is seen when reading.
        let _ = self.socket.write_all(&frame);
    }

    /// Takes one frame.
    fn frame(&mut self, deadline: Instant) {
        let mut head = [0; 9];
        if !self.fill(&mut head, deadline) {
            return;
        }
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; len as usize];
        // The rest of a frame that has begun is on its way.
        if !self.fill(&mut payload, Instant::now() + Duration::from_secs(10)) {
            self.gone = true;
            return;
        }
        let kind = head[3];
        let flags = head[4];
        let number = u32::from_be_bytes([head[5] & 0x7F, head[6], head[7], head[8]]);
        let stream = self.streams.entry(number).or_default();
        match kind {
            DATA | HEADERS => {
                if kind == DATA {
                    stream.body.extend(&payload);
                }
                stream.ended |= flags & END_STREAM != 0;
            }
            RST_STREAM => {
                stream.reset = payload.first_chunk().map(|code| u32::from_be_bytes(*code))
            }
            SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => self.send(PING, ACK, 0, &payload),
            GOAWAY => self.gone = true,
            _ => {}
        }
    }

    fn fill(&mut self, buffer: &mut [u8], deadline: Instant) -> bool {
        let mut at = 0;
        while at < buffer.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Half a head cannot be taken up again.
                self.gone |= at > 0;
                return false;
            }
            let _ = self.socket.set_read_timeout(Some(left));
            match self.socket.read(&mut buffer[at..]) {
                Ok(0) => {
                    self.gone = true;
                    return false;
                }
                Ok(count) => at += count,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone = true;
                    return false;
                }
            }
        }
        true
    }
}
