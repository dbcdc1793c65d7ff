//! A request thread: takes a connection, reads one request, calls the
//! application, answers, and takes the next. Made by Python, so that it is
//! attached to the interpreter once; it detaches only to wait.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::socket::MsgFlags;
use nix::unistd::gettid;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use wsgid_protocol::blocking::{Frame, FrameReader, ReadError};
use wsgid_protocol::failure::level;
use wsgid_protocol::head::FLAG_END;
use wsgid_protocol::request::{ANSWERS_LOOKUPS, BodyKind, Call, RequestHead};
use wsgid_protocol::response::EndReport;
use wsgid_protocol::{Failure, FrameHead, Kind};

use crate::body::Body;
use crate::call_facts::CallFacts;
use crate::connection::Connection;
use crate::exchange::{Exchange, Verdict};
use crate::label::Label;
use crate::meter::micros;
use crate::output::ResponseOutput;
use crate::receive::{ReceiveError, receive_frame};
use crate::scheduler::ConnectionOutcome;
use crate::thread_slot::ThreadSlot;
use crate::worker::Worker;
use crate::{application, environ, give_back, lock, log, panics, queue_limits, sys};

/// What a thread reads at once. Few heads are longer, and there are many threads
/// in many processes.
const CHUNK: usize = 16 * 1024;

/// What a thread keeps from request to request.
pub(crate) struct Thread {
    /// Which thread, from 0.
    pub(crate) slot: usize,
    reader: FrameReader,
    buffer: Vec<u8>,
    payload: Vec<u8>,
    body: Vec<u8>,
}

/// Runs a request thread for the life of the process.
pub(crate) fn run(py: Python<'_>, worker: &Arc<Worker>, slot: usize, ident: u64) {
    let mut thread = Thread::new(slot);
    if let Some(slot) = worker.scheduler.slots.get(slot) {
        slot.ident.store(ident, Ordering::Relaxed);
        slot.thread.store(gettid().as_raw(), Ordering::Relaxed);
    }
    let mut next: Option<Arc<Connection>> = None;
    loop {
        let connection = match next.take() {
            Some(connection) => connection,
            None => py.detach(|| worker.scheduler.wait(slot)),
        };
        let outcome = panics::contained(|| thread.serve(py, worker, &connection))
            .unwrap_or_else(|panic| thread.abandon(py, worker, &panic));
        let (finished, following) = worker.scheduler.finish(connection, outcome);
        worker.hand_back(finished);
        next = following;
    }
}

/// A request and how its body arrives, taken off the socket.
struct ReceivedRequest<'py> {
    id: u64,
    environ: Bound<'py, PyDict>,
    facts: CallFacts,
    label: Label,
    body: BodyKind,
    /// Whether the module answers LOOKUPs.
    answers_lookups: bool,
    /// Whether it has waited longer than `queue-timeout`.
    late: bool,
}

impl Thread {
    fn new(slot: usize) -> Self {
        Self {
            slot,
            reader: FrameReader::new(0).with_chunk(CHUNK),
            buffer: Vec::new(),
            payload: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Serves what is to be read on a connection: usually one request.
    fn serve(
        &mut self,
        py: Python<'_>,
        worker: &Arc<Worker>,
        connection: &Arc<Connection>,
    ) -> ConnectionOutcome {
        if worker.waits_for_reload() && give_back::is_due(py, worker, connection) {
            return ConnectionOutcome::Unbegun;
        }
        match self.reader.fill(connection.as_fd(), MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return ConnectionOutcome::Ended,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return ConnectionOutcome::Free;
            }
            Err(_) => return ConnectionOutcome::Ended,
        }
        self.frames(py, worker, connection)
    }

    /// Serves the requests in the reader until it is empty.
    fn frames(
        &mut self,
        py: Python<'_>,
        worker: &Arc<Worker>,
        connection: &Arc<Connection>,
    ) -> ConnectionOutcome {
        while !self.reader.is_empty() {
            let outcome = match self.request(py, worker, connection) {
                Ok(Some(request)) => self.answer(py, worker, connection, request),
                Ok(None) => ConnectionOutcome::Free,
                Err(refusal) => {
                    refuse(connection, &refusal);
                    ConnectionOutcome::Ended
                }
            };
            if outcome == ConnectionOutcome::Ended {
                self.reader.clear();
                return ConnectionOutcome::Ended;
            }
        }
        ConnectionOutcome::Free
    }

    /// Takes the next frame: a request, or a rest of an earlier one that nobody
    /// waits for any more.
    fn request<'py>(
        &mut self,
        py: Python<'py>,
        worker: &Arc<Worker>,
        connection: &Arc<Connection>,
    ) -> Result<Option<ReceivedRequest<'py>>, RequestReadError> {
        let frame = next_frame(py, worker, &mut self.reader, connection)?;
        let head = frame.head;
        if !is_request(connection, head)? {
            return Ok(None);
        }
        let request = RequestHead::decode(frame.payload)
            .map_err(|error| RequestReadError::protocol(head.id, error.to_string()))?;
        if head.has(FLAG_END) != (request.body == BodyKind::None) {
            let text = "REQUEST contradicts itself about its body";
            return Err(RequestReadError::protocol(head.id, text));
        }
        let taken_us = environ::now_us();
        let (facts, label) = CallFacts::new(&request, taken_us);
        let environ = worker
            .prepared()
            .and_then(|runtime| {
                let template = &runtime.template;
                environ::environ(
                    py,
                    &worker.variables,
                    template,
                    self.slot,
                    &request,
                    taken_us,
                )
            })
            .map_err(|error| RequestReadError::protocol(head.id, error.to_string()))?;
        let body = request.body;
        // How long a client took to send what came with the request is no wait
        // for a thread.
        let waits_since = match body {
            BodyKind::Inline(_) => request.queue_start_us,
            BodyKind::None | BodyKind::Pull => request.request_start_us,
        };
        let late = queue_limits::is_late(waits_since, worker.spec.group.queue_timeout);
        if matches!(request.call, Call::CheckPassword { .. }) {
            self.reader.wipe_taken();
        }
        self.body.clear();
        if let BodyKind::Inline(len) = body {
            self.take_inline_body(py, worker, connection, head.id, len)?;
        }
        if !self.reader.is_empty() {
            let behind = next_frame(py, worker, &mut self.reader, connection)?;
            return Err(match behind.head.kind {
                // The client left while its request waited for a thread.
                Kind::Cancel => RequestReadError::Gone,
                other => RequestReadError::protocol(
                    head.id,
                    format!("unexpected {other:?} frame behind a request"),
                ),
            });
        }
        Ok(Some(ReceivedRequest {
            id: head.id,
            environ,
            facts,
            label,
            body,
            answers_lookups: head.code & ANSWERS_LOOKUPS != 0,
            late,
        }))
    }

    /// Takes the BODY frame that belongs to a request.
    fn take_inline_body(
        &mut self,
        py: Python<'_>,
        worker: &Worker,
        connection: &Connection,
        id: u64,
        len: u32,
    ) -> Result<(), RequestReadError> {
        let frame = next_frame(py, worker, &mut self.reader, connection)?;
        let head = frame.head;
        let fits = head.kind == Kind::Body && head.id == id && head.has(FLAG_END);
        if !fits || head.len != len {
            let text = "the inline body does not follow its REQUEST";
            return Err(RequestReadError::protocol(id, text));
        }
        self.body.extend_from_slice(frame.payload);
        Ok(())
    }

    /// Calls the application and sends what it answers.
    fn answer(
        &mut self,
        py: Python<'_>,
        worker: &Arc<Worker>,
        connection: &Arc<Connection>,
        request: ReceivedRequest<'_>,
    ) -> ConnectionOutcome {
        let ReceivedRequest {
            id, environ, facts, ..
        } = request;
        if request.late {
            let text = queue_limits::text(worker.spec.group.queue_timeout);
            let failure = Failure::QueueTimeout;
            let is_good = ResponseOutput::refuse(connection, id, failure, &text, false);
            return ConnectionOutcome::good(is_good);
        }
        let buffer = std::mem::take(&mut self.body);
        let body = match request.body {
            BodyKind::Pull => Body::pulled(Arc::clone(connection), id, buffer),
            BodyKind::None if request.answers_lookups => {
                Body::looking_up(Arc::clone(connection), id, buffer)
            }
            BodyKind::None | BodyKind::Inline(_) => Body::complete(buffer),
        };
        let output = ResponseOutput::new(
            Arc::clone(connection),
            id,
            std::mem::take(&mut self.buffer),
            std::mem::take(&mut self.payload),
        );
        let number = connection.number;
        let exchange = Exchange::new(self.slot, number, request.label, &facts, output, body);
        let exchange = Arc::new(exchange);
        self.begin(py, worker, &exchange);
        let cpu_began = worker.scheduler.load_profile.begin();
        let began = Instant::now();
        let verdict = application::serve(py, worker, &exchange, &facts, &environ);
        drop(environ);
        let ended = Instant::now();
        let application_us = micros(ended.saturating_duration_since(began));
        exchange
            .application_us
            .store(application_us, Ordering::Relaxed);
        let took = ended.saturating_duration_since(exchange.started);
        worker.scheduler.load_profile.end(took, cpu_began);
        self.end(py, worker, &exchange, verdict, took)
    }

    fn begin(&self, py: Python<'_>, worker: &Worker, exchange: &Arc<Exchange>) {
        if let Some(active) = worker.active.get() {
            // Without memory for it the request will not get far either.
            let _ = exchange
                .data(py)
                .and_then(|data| active.bind(py).set_item(exchange.label.request_id(), data));
        }
        if let Some(slot) = worker.scheduler.slots.get(self.slot) {
            slot.begin(exchange);
        }
        worker.stats.begin();
        worker.note_activity(exchange);
        worker.control.wake_if_asleep();
        log::set_current(Some(Arc::clone(exchange)));
    }

    /// Sends END or FAIL and lets go of the connection.
    fn end(
        &mut self,
        py: Python<'_>,
        worker: &Worker,
        exchange: &Exchange,
        verdict: Verdict,
        took: Duration,
    ) -> ConnectionOutcome {
        log::set_current(None);
        if let Some(active) = worker.active.get() {
            // The application may have removed it.
            let _ = active.bind(py).del_item(exchange.label.request_id());
        }
        let in_flight = *exchange.in_flight.get_or_init(|| worker.stats.end(took));
        let clean = match exchange.body.try_lock() {
            Ok(mut guard) => {
                let body = &mut *guard;
                if body.is_halfway() {
                    py.detach(|| body.skip());
                }
                let (buffer, clean) = body.finish();
                self.body = keep(buffer);
                clean
            }
            // A thread of the application still waits for the body.
            Err(_) => false,
        };
        let close = !clean
            || exchange.abandoned.load(Ordering::Relaxed)
            || worker.orphaned.load(Ordering::Relaxed);
        let report = EndReport {
            worker: worker.pid,
            in_flight,
            request_us: micros(took),
            application_us: exchange.application_us.load(Ordering::Relaxed),
            queue_us: exchange.queue_us,
        };
        let mut guard = lock::attached(py, &exchange.output);
        let output = &mut *guard;
        let ended = match verdict {
            Verdict::Complete => output.end(report, close),
            Verdict::Failed { failure, text } => output.fail(failure, &text, close),
        };
        if ended.is_ok() && matches!(output.try_flush(), Ok(false)) {
            // A failure shows in `finish`.
            let _ = py.detach(|| output.flush());
        }
        let (buffer, payload, good) = output.finish();
        drop(guard);
        // Only now: while the answer waits for the client, the ticker has to see
        // that this thread is not free.
        if let Some(slot) = worker.scheduler.slots.get(self.slot) {
            slot.end();
            if exchange.interrupted.load(Ordering::Relaxed) {
                // What was raised must not reach the next request.
                sys::raise_in_thread(py, slot.ident.load(Ordering::Relaxed), None);
            }
        }
        self.buffer = keep(buffer);
        self.payload = keep(payload);
        worker.request_done(exchange);
        ConnectionOutcome::good(good && !close)
    }
}

impl Thread {
    /// Our own code panicked. What this thread had in hand is thrown away, and
    /// the request fails if one was begun; the others go on. Another panic on
    /// the way ends the process (`panics::vital`).
    fn abandon(&mut self, py: Python<'_>, worker: &Worker, panic: &str) -> ConnectionOutcome {
        *self = Self::new(self.slot);
        log::lines(
            py,
            level::CRIT,
            &format!("panic in the worker while it handled a request: {panic}"),
        );
        let slot = worker.scheduler.slots.get(self.slot);
        if let Some(exchange) = slot.and_then(ThreadSlot::serving) {
            let text = format!("panic in the worker: {panic}");
            exchange.abandoned.store(true, Ordering::Relaxed);
            let verdict = Verdict::failed(Failure::ApplicationError, text);
            self.end(py, worker, &exchange, verdict, exchange.started.elapsed());
        }
        ConnectionOutcome::Ended
    }
}

/// Says why, as far as the peer is still there to hear it.
fn refuse(connection: &Arc<Connection>, refusal: &RequestReadError) {
    let RequestReadError::Protocol { id, text } = refusal else {
        return;
    };
    log::process(&format!(
        "connection {}: httpd broke the protocol: {text}",
        connection.number
    ));
    // The connection is closed next; a peer that does not read misses the text.
    ResponseOutput::refuse(connection, *id, Failure::Protocol, text, true);
}

/// Why no request is served on a connection any more.
enum RequestReadError {
    Gone,
    Protocol { id: u64, text: String },
}

impl RequestReadError {
    fn protocol(id: u64, text: impl Into<String>) -> Self {
        let text = text.into();
        Self::Protocol { id, text }
    }
}

/// Whether a frame begins a request, or is a rest of an earlier one.
fn is_request(connection: &Connection, head: FrameHead) -> Result<bool, RequestReadError> {
    if !connection.owns(head.id) {
        let text = "a frame with a foreign id";
        return Err(RequestReadError::protocol(head.id, text));
    }
    match head.kind {
        Kind::Request => Ok(true),
        Kind::Body | Kind::BodyError => Ok(false),
        Kind::Cancel => Err(RequestReadError::Gone),
        other => {
            let text = format!("unexpected {other:?} frame");
            Err(RequestReadError::protocol(head.id, text))
        }
    }
}

/// httpd sends a head in one piece; one that does not arrive within this time
/// never will.
const HEAD_TIMEOUT_MS: u16 = 30_000;

/// The next frame, complete; waits detached for what is not here yet.
fn next_frame<'a>(
    py: Python<'_>,
    worker: &Worker,
    reader: &'a mut FrameReader,
    connection: &Connection,
) -> Result<Frame<'a>, RequestReadError> {
    let socket = connection.as_fd();
    if !reader.has_frame() {
        // The rest may take its time; somebody else has to look after the others.
        worker.scheduler.promote();
        py.detach(|| receive_frame(reader, socket, HEAD_TIMEOUT_MS))
            .map_err(|error| match error {
                ReceiveError::Gone => RequestReadError::Gone,
                ReceiveError::Late => RequestReadError::protocol(0, error.to_string()),
            })?;
    }
    reader.next(socket).map_err(|error| match error {
        ReadError::Head(error) => RequestReadError::protocol(0, error.to_string()),
        ReadError::Truncated | ReadError::Closed | ReadError::Io(_) => RequestReadError::Gone,
    })
}

/// Memory that was needed for one request alone goes back.
fn keep(mut buffer: Vec<u8>) -> Vec<u8> {
    const KEEP_MAX: usize = 256 * 1024;
    if buffer.capacity() > KEEP_MAX {
        return Vec::new();
    }
    buffer.clear();
    buffer
}
