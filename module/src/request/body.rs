//! The request body: what is read before a worker is asked, and what is read
//! when it asks. Without a WANT nothing is read from the client, so an early
//! answer needs no upload, and `100 Continue` goes out with the first WANT.

use std::ffi::CStr;

use wsgid_protocol::limits::MAX_INLINE_BODY_LEN;
use wsgid_protocol::request::{BodyError, BodyKind};

use crate::apr::brigade::Brigade;
use crate::configuration::config::DirConfig;
use crate::httpd::guard::Guard;
use crate::httpd::log;
use crate::httpd::request::Request;
use crate::log_ids::{self, LogLine};
use crate::request::headers;
use crate::sys;

/// The body of one request.
pub(crate) struct RequestBody<'r> {
    r: Request<'r>,
    brigade: Brigade<'r>,
    /// Read and not yet sent.
    buffer: Vec<u8>,
    /// The end has been read.
    ended: bool,
    /// There is one at all.
    exists: bool,
    /// In place while bodies are read of which httpd cannot know beforehand
    /// that they will end well.
    guard: Option<&'r Guard>,
    /// What is left of Content-Length; without one, too much to guess.
    left: u64,
}

/// Why a body cannot be had: what httpd is to answer, and what the worker is
/// to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyFault {
    /// A status, or httpd's word that it has answered already.
    pub(crate) status: i32,
    pub(crate) error: BodyError,
}

/// What the head of a request says about its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announced {
    None,
    Length(u64),
    Chunked,
}

/// Reads the two headers. The error is the status to answer with.
fn announced(
    transfer_encoding: Option<&[u8]>,
    content_length: Option<&[u8]>,
) -> Result<Announced, i32> {
    if let Some(encoding) = transfer_encoding {
        return if encoding.eq_ignore_ascii_case(b"chunked") {
            Ok(Announced::Chunked)
        } else {
            Err(501)
        };
    }
    match content_length.map(headers::length) {
        None | Some(Some(0)) => Ok(Announced::None),
        Some(Some(length)) => Ok(Announced::Length(length)),
        Some(None) => Err(400),
    }
}

impl<'r> RequestBody<'r> {
    /// Looks at what was announced, refuses what may not come, and reads a
    /// small body completely. The error is the status to answer with.
    pub(crate) fn begin(r: Request<'r>, config: &DirConfig<'_>) -> Result<Self, i32> {
        let mut body = Self {
            r,
            brigade: r.brigade(),
            buffer: Vec::new(),
            ended: true,
            exists: false,
            guard: None,
            left: 0,
        };
        // The body belongs to the main request.
        if r.is_subrequest() {
            return Ok(body);
        }
        let header = |name: &CStr| r.headers_in().get(name).map(CStr::to_bytes);
        let announced = announced(header(c"Transfer-Encoding"), header(c"Content-Length"))
            .inspect_err(|status| {
                log::request(r, log_ids::BODY_ANNOUNCED_WRONGLY, || {
                    format!("the request's body is announced wrongly ({status})")
                });
            })?;
        let limit = r.limit_request_body();
        body.left = match announced {
            Announced::None => return Ok(body),
            // HTTP/2 has no chunks; httpd only names a body without length so.
            Announced::Chunked if config.chunked_request != Some(true) && !r.is_secondary() => {
                log::request(
                    r,
                    log_ids::BODY_IN_CHUNKS,
                    || "a chunked request body needs WSGIChunkedRequest On",
                );
                return Err(411);
            }
            Announced::Length(length) if limit > 0 && length > limit => {
                log::request(r, log_ids::BODY_TOO_LARGE, || {
                    format!("a request body of {length} bytes is above LimitRequestBody {limit}")
                });
                return Err(413);
            }
            Announced::Chunked => u64::MAX,
            Announced::Length(length) => length,
        };
        body.exists = true;
        body.ended = false;
        if body.left <= u64::from(MAX_INLINE_BODY_LEN) && !r.expects_continue() {
            body.read_small().map_err(|trouble| trouble.status)?;
        }
        Ok(body)
    }

    /// Reads to the end, unless a filter makes more of it than fits inline.
    fn read_small(&mut self) -> Result<(), BodyFault> {
        let most = MAX_INLINE_BODY_LEN as usize;
        while !self.ended && self.buffer.len() <= most {
            self.read_some(true, most as u64)?;
        }
        Ok(())
    }

    /// How it is announced to the worker.
    pub(crate) fn kind(&self) -> BodyKind {
        match u32::try_from(self.buffer.len()) {
            _ if !self.exists => BodyKind::None,
            Ok(len) if self.ended && len <= MAX_INLINE_BODY_LEN => BodyKind::Inline(len),
            _ => BodyKind::Pull,
        }
    }

    /// The bytes that go with the head.
    pub(crate) fn inline(&self) -> Option<&[u8]> {
        matches!(self.kind(), BodyKind::Inline(_)).then_some(&self.buffer[..])
    }

    /// Bytes for a WANT: at least one, at most `want`, and whether the body
    /// ends with them. Waits for the first; takes what more has come.
    pub(crate) fn pull(&mut self, want: u64) -> Result<(Vec<u8>, bool), BodyFault> {
        let want = usize::try_from(want).unwrap_or(usize::MAX);
        self.guard.get_or_insert_with(|| self.r.guard_body());
        while !self.ended && self.buffer.is_empty() {
            self.read_some(true, want as u64)?;
        }
        while !self.ended && self.buffer.len() < want {
            let before = self.buffer.len();
            self.read_some(false, (want - before) as u64)?;
            if self.buffer.len() == before {
                break;
            }
        }
        let rest = self.buffer.split_off(want.min(self.buffer.len()));
        let bytes = std::mem::replace(&mut self.buffer, rest);
        Ok((bytes, self.ended && self.buffer.is_empty()))
    }

    /// How much nobody has read; without Content-Length a very large number.
    pub(crate) fn unread(&self) -> u64 {
        if self.ended { 0 } else { self.left }
    }

    /// One read. Without `block` nothing may come.
    fn read_some(&mut self, block: bool, len: u64) -> Result<(), BodyFault> {
        let Self {
            r,
            brigade,
            buffer,
            ended,
            left,
            ..
        } = self;
        let mut read = || {
            r.read_body(brigade, block, len)?;
            *ended = brigade.read_all(|bytes| {
                buffer.extend_from_slice(bytes);
                if *left != u64::MAX {
                    *left = left.saturating_sub(bytes.len() as u64);
                }
            })?;
            Ok(())
        };
        let (outcome, page) = match self.guard {
            Some(guard) => guard.during(read),
            None => (read(), None),
        };
        self.brigade.clear();
        match (outcome, page) {
            (_, Some(status)) => Err(self.swallowed(status)),
            (Ok(()), None) => Ok(()),
            (Err(sys::APR_EAGAIN), None) if !block => Ok(()),
            (Err(status), None) => Err(self.trouble(status)),
        }
    }

    /// httpd wanted to answer with this status by itself.
    fn swallowed(&self, status: i32) -> BodyFault {
        let error = if status == 413 {
            BodyError::TooLarge
        } else {
            BodyError::Malformed
        };
        log::request(self.r, line_of(error), || {
            format!("{} (httpd's answer is {status})", error.text())
        });
        BodyFault { status, error }
    }

    fn trouble(&self, status: i32) -> BodyFault {
        let error = body_error(status);
        log::request(self.r, line_of(error), || {
            format!("{} (status {status})", error.text())
        });
        let status = match status {
            sys::AP_FILTER_ERROR => status,
            _ => Request::body_error_status(status),
        };
        BodyFault { status, error }
    }
}

/// A client that leaves is no failure of anybody's.
fn line_of(error: BodyError) -> LogLine {
    match error {
        BodyError::ClientGone => LogLine::INFO,
        BodyError::TooLarge => log_ids::BODY_TOO_LARGE,
        _ => log_ids::BODY_BROKEN,
    }
}

/// What the application is told.
fn body_error(status: i32) -> BodyError {
    match status {
        sys::APR_TIMEUP | libc::ETIMEDOUT => BodyError::Timeout,
        sys::APR_INCOMPLETE | libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED => {
            BodyError::ClientGone
        }
        libc::ENOSPC => BodyError::TooLarge,
        sys::AP_FILTER_ERROR => BodyError::Malformed,
        _ => BodyError::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced() {
        let say = |te: Option<&str>, cl: Option<&str>| {
            announced(te.map(str::as_bytes), cl.map(str::as_bytes))
        };
        assert_eq!(say(None, None), Ok(Announced::None));
        assert_eq!(say(None, Some("0")), Ok(Announced::None));
        assert_eq!(say(None, Some("12")), Ok(Announced::Length(12)));
        assert_eq!(say(Some("Chunked"), Some("12")), Ok(Announced::Chunked));
        assert_eq!(say(Some("gzip, chunked"), None), Err(501));
        for bad in ["-1", "+1", "1,1", "", "1x", "99999999999999999999999"] {
            assert_eq!(say(None, Some(bad)), Err(400), "{bad}");
        }
    }

    #[test]
    fn errors_keep_their_meaning() {
        assert_eq!(body_error(sys::APR_TIMEUP), BodyError::Timeout);
        assert_eq!(body_error(sys::APR_INCOMPLETE), BodyError::ClientGone);
        assert_eq!(body_error(12345), BodyError::Other);
    }
}
