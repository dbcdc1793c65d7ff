//! Reads HTTP/1.1 responses as they arrive, only as far as the benchmark must:
//! status, end of the body, may the connection be used again. No I/O here.

use anyhow::{Result, bail};

const HEAD_MAX: usize = 64 * 1024;

#[derive(Debug)]
enum Part {
    Head,
    Length {
        left: u64,
    },
    ChunkSize,
    ChunkData {
        left: u64,
    },
    /// The line end after a chunk's data.
    ChunkEnd {
        left: u8,
    },
    Trailer,
    Done,
}

/// One response that is being read.
#[derive(Debug)]
pub(crate) struct Response {
    part: Part,
    line: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) body_len: u64,
    pub(crate) closes: bool,
}

impl Response {
    pub(crate) fn new() -> Self {
        Self {
            part: Part::Head,
            line: Vec::with_capacity(512),
            status: 0,
            body_len: 0,
            closes: false,
        }
    }

    /// Makes ready for the next response on the connection.
    pub(crate) fn reset(&mut self) {
        self.part = Part::Head;
        self.line.clear();
        self.status = 0;
        self.body_len = 0;
        self.closes = false;
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.part, Part::Done)
    }

    /// Body bytes that can be thrown away without being looked at.
    pub(crate) fn skippable(&self) -> u64 {
        match self.part {
            Part::Length { left } => left,
            _ => 0,
        }
    }

    /// Tells that so many of the skippable bytes have been thrown away.
    pub(crate) fn skip(&mut self, count: u64) {
        if let Part::Length { left } = &mut self.part {
            self.body_len += count;
            *left = left.saturating_sub(count);
            if *left == 0 {
                self.part = Part::Done;
            }
        }
    }

    /// Takes bytes off the wire; an error means that this is not the response that was asked for.
    pub(crate) fn feed(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            match &mut self.part {
                Part::Head => {
                    let Some(rest) = self.take_head(data)? else {
                        return Ok(());
                    };
                    data = rest;
                }
                Part::Length { left } => {
                    let count = (*left).min(data.len() as u64);
                    self.skip(count);
                    data = data.get(count as usize..).unwrap_or_default();
                }
                Part::ChunkData { left } => {
                    let count = (*left).min(data.len() as u64);
                    *left -= count;
                    self.body_len += count;
                    if *left == 0 {
                        self.part = Part::ChunkEnd { left: 2 };
                    }
                    data = data.get(count as usize..).unwrap_or_default();
                }
                Part::ChunkEnd { left } => {
                    *left -= 1;
                    if *left == 0 {
                        self.part = Part::ChunkSize;
                    }
                    data = data.get(1..).unwrap_or_default();
                }
                Part::ChunkSize | Part::Trailer => {
                    let Some(rest) = self.take_line(data)? else {
                        return Ok(());
                    };
                    data = rest;
                }
                Part::Done => bail!("{} bytes after the end of the response", data.len()),
            }
        }
        Ok(())
    }

    fn take_head<'d>(&mut self, data: &'d [u8]) -> Result<Option<&'d [u8]>> {
        let before = self.line.len();
        self.line.extend_from_slice(data);
        let from = before.saturating_sub(3);
        let searched = self.line.get(from..).unwrap_or_default();
        let Some(at) = searched.windows(4).position(|window| window == b"\r\n\r\n") else {
            if self.line.len() > HEAD_MAX {
                bail!("response head longer than {HEAD_MAX} bytes");
            }
            return Ok(None);
        };
        let used = from + at + 4 - before;
        self.line.truncate(from + at + 2);
        self.part = self.parse_head()?;
        self.line.clear();
        Ok(Some(data.get(used..).unwrap_or_default()))
    }

    fn parse_head(&mut self) -> Result<Part> {
        let text = String::from_utf8_lossy(&self.line);
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap_or_default();
        self.status = match status.split(' ').nth(1).map(str::parse) {
            Some(Ok(code)) => code,
            _ => bail!("not an HTTP status line: `{status}`"),
        };
        let mut part = None;
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                let left = value.parse()?;
                part.get_or_insert(if left == 0 {
                    Part::Done
                } else {
                    Part::Length { left }
                });
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                part = Some(Part::ChunkSize);
            } else if name.eq_ignore_ascii_case("connection") {
                self.closes |= value.eq_ignore_ascii_case("close");
            }
        }
        match part {
            Some(part) => Ok(part),
            None => bail!("response {} has neither a length nor chunks", self.status),
        }
    }

    fn take_line<'d>(&mut self, data: &'d [u8]) -> Result<Option<&'d [u8]>> {
        let Some(at) = data.iter().position(|byte| *byte == b'\n') else {
            self.line.extend_from_slice(data);
            if self.line.len() > HEAD_MAX {
                bail!("chunk line longer than {HEAD_MAX} bytes");
            }
            return Ok(None);
        };
        self.line
            .extend_from_slice(data.get(..at).unwrap_or_default());
        let text = String::from_utf8_lossy(&self.line).trim().to_owned();
        self.line.clear();
        self.part = match self.part {
            Part::Trailer if text.is_empty() => Part::Done,
            Part::Trailer => Part::Trailer,
            _ => match u64::from_str_radix(text.split(';').next().unwrap_or_default(), 16) {
                Ok(0) => Part::Trailer,
                Ok(left) => Part::ChunkData { left },
                Err(_) => bail!("not a chunk size: `{text}`"),
            },
        };
        Ok(Some(data.get(at + 1..).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::Response;

    const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKS: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\nT: 1\r\n\r\n";

    #[test]
    fn every_split_point_gives_the_same_answer() {
        for (bytes, expected) in [(LENGTH, 5), (CHUNKS, 13)] {
            for at in 0..bytes.len() {
                let mut response = Response::new();
                response.feed(&bytes[..at]).unwrap();
                assert!(!response.is_done());
                response.feed(&bytes[at..]).unwrap();
                assert!(response.is_done(), "split at {at}");
                assert_eq!((response.status, response.body_len), (200, expected));
            }
        }
    }

    #[test]
    fn what_is_not_an_answer_is_refused() {
        assert!(Response::new().feed(b"nonsense\r\n\r\n").is_err());
        assert!(Response::new().feed(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        let mut response = Response::new();
        response.feed(LENGTH).unwrap();
        assert!(response.feed(b"more").is_err());
    }
}
