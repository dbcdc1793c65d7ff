//! The response: head, bytes, end — and how a response that cannot be completed
//! is broken off so that no client takes it for a complete one.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use wsgid_protocol::Failure;
use wsgid_protocol::payload;
use wsgid_protocol::response::{FilePart, ResponseHead};

use crate::apr::brigade::Brigade;
use crate::apr::table::Table;
use crate::configuration::groups::GroupView;
use crate::httpd::file_reader::Reader;
use crate::httpd::log;
use crate::httpd::request::Request;
use crate::log_ids::{self, LogLine};
use crate::request::exchange::{ExchangeError, protocol};
use crate::request::headers::{self, BadHead, HeaderTreatment};
use crate::sys;

/// Bytes that are gathered before they are passed on.
const GATHER_MAX: usize = 64 * 1024;

/// A request body that is left unread is read away by httpd for the sake of
/// the connection; above this it is cheaper to close it.
const READ_AWAY_MAX: u64 = 1024 * 1024;

/// What happens instead of the worker's own response.
#[derive(Clone, Copy)]
pub(crate) enum Instead<'r> {
    /// `200` with a Location of this server: serve that.
    Redirect(&'r CStr),
    /// WSGIErrorOverride: httpd's page for this status.
    ErrorPage(i32),
}

/// The response to one request.
pub(crate) struct Response<'r> {
    r: Request<'r>,
    brigade: Brigade<'r>,
    /// RESPONSE has come.
    has_head: bool,
    instead: Option<Instead<'r>>,
    /// Content-Length, if the application gave one.
    announced: Option<u64>,
    /// Body bytes so far.
    sent: u64,
    /// Bytes gathered and not passed on.
    pending: usize,
    /// Something was passed on since the last flush.
    unflushed: bool,
    /// A file is waiting for the end, to be passed on with it.
    has_file: bool,
    /// Reads it, where whoever sends the answer must not.
    reader: Option<&'r Reader<'r>>,
    /// How much of the request's body nobody has read.
    pub(crate) unread_body: u64,
    warned_about_length: bool,
    /// Longest header field.
    header_max: usize,
    /// Bytes passed on since the last flush, and the most there may be.
    unflushed_len: usize,
    unflushed_max: usize,
    /// Longest wait for the client, in microseconds; `None` is the server's.
    client_timeout: Option<i64>,
    error_override: bool,
    /// Nobody will see it any more.
    discarded: bool,
}

impl<'r> Response<'r> {
    pub(crate) fn new(r: Request<'r>, group: &GroupView, error_override: bool) -> Self {
        Self {
            r,
            brigade: r.brigade(),
            has_head: false,
            instead: None,
            announced: None,
            sent: 0,
            pending: 0,
            unflushed: false,
            has_file: false,
            reader: None,
            unread_body: 0,
            warned_about_length: false,
            header_max: group.header_max,
            unflushed_len: 0,
            unflushed_max: group.response_buffer_max,
            client_timeout: group
                .client_timeout
                .and_then(|timeout| i64::try_from(timeout.as_micros()).ok()),
            error_override,
            discarded: false,
        }
    }

    /// From here on the worker may say what it likes.
    pub(crate) fn discard(&mut self) {
        self.discarded = true;
        self.brigade.clear();
        self.pending = 0;
        self.unflushed = false;
    }

    pub(crate) fn has_head(&self) -> bool {
        self.has_head
    }

    /// Whether a file is the answer.
    pub(crate) fn has_file(&self) -> bool {
        self.has_file
    }

    /// What is to happen instead, once the worker has ended.
    pub(crate) fn instead(&self) -> Option<Instead<'r>> {
        self.instead
    }

    /// INTERIM: sent at once where the client can have it.
    pub(crate) fn interim(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
        let head = ResponseHead::decode(bytes).map_err(protocol)?;
        headers::check_interim(&head, self.header_max)?;
        if self.has_head {
            return Err(protocol("INTERIM after RESPONSE"));
        }
        let r = self.r;
        if self.discarded || r.has_started() || r.is_subrequest() || r.protocol_number() < 1001 {
            return Ok(());
        }
        let interim = Table::new(r.pool());
        let usual = r.swap_headers_out(interim);
        for (name, value) in &head.headers {
            if matches!(
                headers::treatment(name),
                HeaderTreatment::Table | HeaderTreatment::Single
            ) {
                interim.add(r.pool().string(name), r.pool().string(value));
            }
        }
        let status = r.status();
        let line = r.status_line();
        r.set_status(i32::from(head.status), Some(c"103 Early Hints"));
        r.send_interim();
        r.set_status(status, line);
        r.swap_headers_out(usual);
        Ok(())
    }

    /// RESPONSE: goes into httpd's tables; nothing is passed on yet.
    pub(crate) fn begin(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
        if self.has_head {
            return Err(protocol("a second RESPONSE"));
        }
        let head = ResponseHead::decode(bytes).map_err(protocol)?;
        headers::check(&head, self.header_max)?;
        self.has_head = true;
        if self.discarded {
            return Ok(());
        }
        let status = i32::from(head.status);
        if let Some(location) = find(&head, b"location")
            && status == 200
            && location.starts_with(b"/")
        {
            self.instead = Some(Instead::Redirect(self.r.pool().string(location)));
            return Ok(());
        }
        if self.error_override && status >= 400 {
            self.instead = Some(Instead::ErrorPage(status));
        }
        self.apply_headers(&head)?;
        let r = self.r;
        if self.instead.is_none() && r.asks_for_range() && !headers::allows_ranges(&head) {
            r.forbid_ranges();
        }
        let line = headers::status_line(head.status, head.reason);
        let pool = self.r.pool();
        match self.instead {
            // A status of its own would look like an error in an error page.
            Some(_) => self.r.set_status(200, None),
            None => self.r.set_status(status, Some(pool.string(&line))),
        }
        Ok(())
    }

    fn apply_headers(&mut self, head: &ResponseHead<'_>) -> Result<(), BadHead> {
        let r = self.r;
        let pool = r.pool();
        r.forget_content_facts();
        let lengths = head
            .headers
            .iter()
            .filter(|(name, _)| headers::treatment(name) == HeaderTreatment::ContentLength);
        self.announced = headers::content_length(lengths.map(|(_, value)| value.as_ref()))?;
        for (name, value) in &head.headers {
            match headers::treatment(name) {
                HeaderTreatment::Drop | HeaderTreatment::ContentLength => {}
                HeaderTreatment::ContentType => {
                    r.set_content_type(pool.string(&headers::content_type(value)))
                }
                HeaderTreatment::Connection => {
                    if value.eq_ignore_ascii_case(b"close") {
                        r.announce_close();
                    }
                }
                HeaderTreatment::Single => {
                    r.headers_out().set(pool.string(name), pool.string(value))
                }
                HeaderTreatment::Table => {
                    r.headers_out().add(pool.string(name), pool.string(value))
                }
                HeaderTreatment::ErrorTable => r
                    .err_headers_out()
                    .add(pool.string(name), pool.string(value)),
            }
        }
        if let (Some(length), None) = (self.announced, self.instead) {
            r.set_content_length(length);
        }
        Ok(())
    }

    /// DATA.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
        if !self.has_head || self.has_file {
            return Err(protocol("DATA before RESPONSE or after FILE"));
        }
        let bytes = self.cut(bytes);
        if self.discarded || self.instead.is_some() || bytes.is_empty() {
            return Ok(());
        }
        self.sent += bytes.len() as u64;
        // The head has left with the first piece. What follows for a HEAD, mod_http2
        // would send, and the client would break the stream off.
        if self.r.header_only() && self.r.has_started() {
            return Ok(());
        }
        if self.pending + bytes.len() <= GATHER_MAX {
            self.brigade.append_copy(bytes);
            self.pending += bytes.len();
            return Ok(());
        }
        let passed = self.pending + bytes.len();
        self.before_passing();
        let outcome = self.patiently(|response| response.r.pass_with(&mut response.brigade, bytes));
        self.after_passing(outcome)?;
        // A filter that keeps everything must not fill the memory.
        self.unflushed_len += passed;
        if self.unflushed_len >= self.unflushed_max {
            self.flush()?;
        }
        Ok(())
    }

    /// Never more than was announced: the rest would be taken for the next
    /// response.
    fn cut<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some(announced) = self.announced else {
            return bytes;
        };
        let room = usize::try_from(announced.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        if bytes.len() <= room {
            return bytes;
        }
        if !self.warned_about_length {
            self.warned_about_length = true;
            log::request(self.r, log_ids::RESPONSE_TOO_LONG, || {
                format!(
                    "the response body is longer than its Content-Length of {announced}; the rest is left out"
                )
            });
        }
        &bytes[..room]
    }

    /// FILE: kept until the end comes, for httpd serves ranges and computes
    /// lengths only of a body that is there as a whole.
    pub(crate) fn file(
        &mut self,
        bytes: &[u8],
        fd: OwnedFd,
        sendfile: bool,
    ) -> Result<(), ExchangeError> {
        if !self.has_head || self.has_file || self.sent > 0 {
            return Err(protocol(
                "FILE before RESPONSE or after other parts of the body",
            ));
        }
        let part: FilePart = payload::decode(bytes).map_err(protocol)?;
        let file = File::from(fd);
        // What it is was looked at when it was taken.
        let rest = file
            .metadata()
            .map_err(protocol)?
            .len()
            .saturating_sub(part.offset);
        let len = part.len.min(rest).min(self.announced.unwrap_or(u64::MAX));
        self.sent = len;
        self.has_file = true;
        if self.discarded || self.instead.is_some() || len == 0 {
            return Ok(());
        }
        let last = part.offset.saturating_add(len - 1);
        if !matches!(file.read_at(&mut [0], last), Ok(1)) {
            return Err(short_file());
        }
        let (Ok(offset), Ok(len)) = (i64::try_from(part.offset), i64::try_from(len)) else {
            return Err(protocol("FILE with an offset that no file has"));
        };
        self.reader = self.r.read_files();
        self.brigade
            .append_file(OwnedFd::from(file), offset, len, sendfile)
            .map_err(|status| protocol(format!("the file cannot be used (status {status})")))
    }

    /// Whether bytes wait that the client should have if nothing more comes.
    pub(crate) fn wants_flush(&self) -> bool {
        (self.pending > 0 || self.unflushed) && !self.has_file
    }

    /// Has everything so far leave.
    pub(crate) fn flush(&mut self) -> Result<(), ExchangeError> {
        self.brigade.append_flush();
        self.pass()?;
        self.unflushed = false;
        self.unflushed_len = 0;
        Ok(())
    }

    /// END: the last brigade. No flush: httpd's own write completion is better.
    pub(crate) fn finish(&mut self) -> Result<(), ExchangeError> {
        if !self.has_head {
            return Err(protocol("END without RESPONSE"));
        }
        if self.discarded || self.instead.is_some() {
            return Ok(());
        }
        let has_body = !self.r.header_only() && !matches!(self.r.status(), 204 | 304);
        if let Some(announced) = self.announced
            && has_body
            && self.sent < announced
        {
            let text = format!("{} bytes of {announced}", self.sent);
            return Err(ExchangeError::Failed(Failure::ResponseShort, text));
        }
        self.brigade.append_eos();
        let passed = self.pass();
        if self.reader.is_some_and(Reader::is_short) {
            Err(short_file())
        } else {
            passed
        }
    }

    fn pass(&mut self) -> Result<(), ExchangeError> {
        self.before_passing();
        let outcome = self.patiently(|response| response.r.pass(&mut response.brigade));
        self.after_passing(outcome)
    }

    /// Writes with response-socket-timeout.
    fn patiently<T>(&mut self, write: impl FnOnce(&mut Self) -> T) -> T {
        let before = self
            .client_timeout
            .and_then(|timeout| self.r.swap_client_timeout(timeout));
        let outcome = write(self);
        if let Some(before) = before {
            self.r.swap_client_timeout(before);
        }
        outcome
    }

    fn before_passing(&mut self) {
        if self.r.has_started() {
            return;
        }
        self.r.note_started();
        // A client that still waits for its 100 may send the body or not: what
        // it sends next cannot be told from a request.
        if self.unread_body > READ_AWAY_MAX || self.r.expects_continue() {
            self.r.announce_close();
        }
    }

    fn after_passing(&mut self, outcome: Result<(), i32>) -> Result<(), ExchangeError> {
        self.pending = 0;
        self.unflushed = true;
        // A 100 from here on would end up in the middle of the response.
        self.r.forget_continue();
        match outcome {
            _ if self.r.aborted() => Err(ExchangeError::ClientGone),
            Ok(()) => Ok(()),
            Err(status) => {
                // Whoever replaces the response, or loses the client, says so where it matters.
                let is_said = matches!(
                    status,
                    sys::AP_FILTER_ERROR | libc::ECONNABORTED | libc::ECONNRESET | libc::EPIPE
                );
                let line = if is_said {
                    LogLine::DEBUG
                } else {
                    log_ids::FILTER_FAILED
                };
                log::request(self.r, line, || {
                    format!("an output filter failed (status {status})")
                });
                Err(ExchangeError::Filter)
            }
        }
    }
}

fn find<'h>(head: &ResponseHead<'h>, name: &[u8]) -> Option<&'h [u8]> {
    head.headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| &***value)
}

/// The file system named a length that the file does not have (files of /sys are said
/// to have a page), or the file was cut off while it was being sent.
fn short_file() -> ExchangeError {
    ExchangeError::Failed(
        Failure::ResponseShort,
        "the file ends before its own length".to_owned(),
    )
}

impl From<BadHead> for ExchangeError {
    fn from(bad: BadHead) -> Self {
        match bad {
            BadHead::OfWorker(text) => Self::Failed(Failure::Protocol, text),
            BadHead::OfApplication(text) => Self::Failed(Failure::ResponseInvalid, text),
        }
    }
}

/// Ends a request that failed. While nothing has left, `status` is the answer.
/// Afterwards the client must see that the response is not complete: only an
/// error bucket of 502 makes httpd leave out the last chunk, or reset the
/// stream, and an end of the connection makes the access log show it.
pub(crate) fn break_off(r: Request<'_>, status: i32) -> i32 {
    r.no_cache();
    if !r.has_started() {
        return status;
    }
    let mut brigade = r.brigade();
    brigade.append_error(502);
    let head_has_left = !r.head_is_pending();
    // What includes a part goes on after it, and would be glued to a page for the status.
    if r.is_secondary() || head_has_left || r.is_subrequest() {
        brigade.append_eoc();
    }
    brigade.append_eos();
    r.close_connection();
    if head_has_left && !r.end_is_visible() {
        // The end of the connection would be the end of the body: only a reset
        // tells that it is not.
        r.reset_client();
    }
    // Whether it can be said does not change that it is over.
    let _ = r.pass(&mut brigade);
    sys::OK
}
