//! The request of an application: its frames go into the response, and the request's
//! body goes to the worker when it asks for it. `frames.rs` drives this.

use std::time::{Duration, Instant};

use wsgid_protocol::Kind;
use wsgid_protocol::head::FLAG_END;
use wsgid_protocol::limits::{MAX_BODY_LEN, MAX_WANT};
use wsgid_protocol::request::BodyKind;

use crate::httpd::server;
use crate::request::body::{BodyFault, RequestBody};
use crate::request::exchange::{ExchangeError, RequestExchange, RequestWatch, Stop, protocol};
use crate::request::frames::{FrameAction, FrameHandler};
use crate::request::response::Response;
use crate::workers::connection::{Wait, WorkerConnection, was_not_taken};

/// How long an application whose request body broke may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Drives the response of a request that an application answers.
pub(crate) struct ResponseDriver<'f, 'r> {
    body: &'f mut RequestBody<'r>,
    response: &'f mut Response<'r>,
    /// Whether files may go to the client by sendfile.
    sendfile: bool,
    /// Body bytes beyond the inline ones have left.
    body_sent: bool,
    /// Why and since when the request body is broken: what the worker still says is for
    /// the log.
    broken: Option<(BodyFault, Instant)>,
}

impl<'f, 'r> ResponseDriver<'f, 'r> {
    pub(crate) fn new(
        body: &'f mut RequestBody<'r>,
        response: &'f mut Response<'r>,
        sendfile: bool,
    ) -> Self {
        Self {
            body,
            response,
            sendfile,
            body_sent: false,
            broken: None,
        }
    }

    fn wanted(&self, bytes: &[u8]) -> Result<u64, ExchangeError> {
        let wanted = bytes.try_into().map_or(0, u64::from_le_bytes);
        let pull = matches!(self.body.kind(), BodyKind::Pull) || self.body_sent;
        if wanted == 0 || wanted > MAX_WANT || !pull {
            return Err(protocol(format!("WANT of {wanted} bytes")));
        }
        Ok(wanted)
    }

    fn want(
        &mut self,
        exchange: &RequestExchange<'_, 'r>,
        connection: &mut WorkerConnection,
        wanted: u64,
    ) -> Result<(), Stop> {
        self.body_sent = true;
        // The client may wait for what was said before it says more.
        if self.response.wants_flush() {
            self.response.flush()?;
        }
        let pulled = match self.broken {
            Some((trouble, _)) => Err(trouble),
            None => self.body.pull(wanted),
        };
        let (bytes, ended) = match pulled {
            Ok(pulled) => pulled,
            Err(trouble) => return self.body_broke(exchange, connection, trouble),
        };
        self.response.unread_body = self.body.unread();
        let mut chunks = bytes.chunks(MAX_BODY_LEN as usize).peekable();
        loop {
            let chunk = chunks.next().unwrap_or_default();
            let last = chunks.peek().is_none();
            let flags = if last && ended { FLAG_END } else { 0 };
            match connection.send(Kind::Body, flags, 0, chunk, &mut exchange.watch()) {
                Ok(()) => {}
                // What it said before it went is still to be read.
                Err(Wait::Io(error)) if was_not_taken(&error) => return Ok(()),
                Err(wait) => return Err(wait.into()),
            }
            if last {
                return Ok(());
            }
        }
    }

    /// The application's read raises; its log lines are still worth having.
    fn body_broke(
        &mut self,
        exchange: &RequestExchange<'_, 'r>,
        connection: &mut WorkerConnection,
        trouble: BodyFault,
    ) -> Result<(), Stop> {
        self.response.discard();
        let since = self.broken.map_or_else(Instant::now, |(_, since)| since);
        self.broken = Some((trouble, since));
        let code = trouble.error as u16;
        connection
            .send(Kind::BodyError, 0, code, &[], &mut self.watch(exchange))
            .map_err(|_| ExchangeError::Body(trouble).into())
    }
}

impl<'r> FrameHandler<'r> for ResponseDriver<'_, 'r> {
    fn inline(&self) -> Option<&[u8]> {
        self.body.inline()
    }

    fn has_body(&self) -> bool {
        !matches!(self.body.kind(), BodyKind::None)
    }

    fn frame(
        &mut self,
        _: &RequestExchange<'_, 'r>,
        kind: Kind,
        payload: &[u8],
    ) -> Result<FrameAction, ExchangeError> {
        match kind {
            Kind::Interim => self.response.interim(payload)?,
            Kind::Response => self.response.begin(payload)?,
            Kind::Data => self.response.data(payload)?,
            Kind::File => return Ok(FrameAction::File(payload.to_vec())),
            Kind::Want => return Ok(FrameAction::Body(self.wanted(payload)?)),
            _ => return Err(protocol(format!("{kind:?} is no part of a response"))),
        }
        Ok(FrameAction::Nothing)
    }

    fn perform(
        &mut self,
        action: FrameAction,
        exchange: &RequestExchange<'_, 'r>,
        connection: &mut WorkerConnection,
    ) -> Result<(), Stop> {
        match action {
            FrameAction::Nothing => Ok(()),
            FrameAction::Body(bytes) => self.want(exchange, connection, bytes),
            FrameAction::File(part) => {
                let fd = connection.take_file().map_err(protocol)?;
                Ok(self.response.file(&part, fd, self.sendfile)?)
            }
            FrameAction::Variable(_) => Err(protocol("a variable is no part of a response").into()),
        }
    }

    fn finish(&mut self) -> Result<(), ExchangeError> {
        self.response.finish()
    }

    fn may_be_sent_again(&self) -> bool {
        !self.body_sent && !self.response.has_head()
    }

    fn has_begun(&self) -> bool {
        self.response.has_head()
    }

    fn leaves_later(&self) -> bool {
        self.response.has_file() && !server::is_async()
    }

    fn fault(&self) -> Option<ExchangeError> {
        self.broken.map(|(trouble, _)| ExchangeError::Body(trouble))
    }

    /// Before waiting long, what has gathered goes out.
    fn before_waiting(
        &mut self,
        exchange: &RequestExchange<'_, 'r>,
        connection: &WorkerConnection,
    ) -> Result<(), ExchangeError> {
        if let Some((trouble, since)) = self.broken
            && since.elapsed() >= LAST_WORDS
        {
            return Err(ExchangeError::Body(trouble));
        }
        let delay = exchange.group.response_flush_delay;
        let idle = connection.reader.is_empty() && self.response.wants_flush();
        if idle && !connection.is_readable_within(delay) {
            self.response.flush()?;
        }
        Ok(())
    }

    /// Without a client once the request's body has broken.
    fn watch(&self, exchange: &RequestExchange<'_, 'r>) -> RequestWatch<'r> {
        match self.broken {
            Some((_, since)) => RequestWatch {
                r: exchange.r,
                timeout: LAST_WORDS
                    .saturating_sub(since.elapsed())
                    .max(Duration::from_millis(1)),
                deadline: None,
                client: false,
            },
            None => exchange.watch(),
        }
    }
}
