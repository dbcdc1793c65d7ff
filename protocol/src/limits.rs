//! Every limit of the wire format, each with its reason, and at the end the times on
//! which processes depend that wait for each other.
//!
//! A length that comes from a peer is compared with one of these before
//! anything is allocated for it. PROTOCOL.md §6 repeats the table.

use std::time::Duration;

/// Length of a frame head in bytes.
pub const HEAD_LEN: usize = 16;

/// Payload of HELLO: two names and fixed fields; nothing else fits in 4 KiB.
pub const MAX_HELLO_LEN: u32 = 4 * 1024;

/// Payload of REQUEST. httpd's defaults admit 100 fields of 8190 bytes, which LimitRequestFields,
/// LimitRequestFieldSize and LimitRequestLine raise; the server's own variables come on top.
/// What is longer is refused before a worker is asked.
pub const MAX_REQUEST_LEN: u32 = 16 * 1024 * 1024;

/// Payload of one BODY or DATA frame. Longer bodies are split by the sender, so
/// this bounds what a receiver has to keep at once.
pub const MAX_BODY_LEN: u32 = 256 * 1024;

/// A request body up to this length is read completely before a worker is asked
/// and leaves in the same `sendmsg` as the request head.
pub const MAX_INLINE_BODY_LEN: u32 = 64 * 1024;

/// What one WANT may ask for: the module never holds more of a body than this.
pub const MAX_WANT: u64 = 1024 * 1024;

/// Payload of RESPONSE and INTERIM.
pub const MAX_RESPONSE_LEN: u32 = 256 * 1024;

/// Header fields in one response head.
pub const MAX_RESPONSE_FIELDS: usize = 4096;

/// Variables in one request head: LimitRequestFields admits 32,767 fields, and the server's own
/// variables come on top.
pub const MAX_ENVIRON_FIELDS: usize = 36 * 1024;

/// Payload of LOG: httpd cuts a record at 8 KiB, the rest would be lost there.
pub const MAX_LOG_LEN: u32 = 8 * 1024;

/// Payload of FAIL: a cause and at most a traceback.
pub const MAX_FAIL_LEN: u32 = 64 * 1024;

/// Payload of the small fixed frames (WANT, FILE, END, BODY_ERROR, CANCEL).
pub const MAX_SMALL_LEN: u32 = 256;

/// Payload of SPAN: some texts of a thousand bytes.
pub const MAX_SPAN_LEN: u32 = 8 * 1024;

/// Payload of ANSWER: what an authentication or dispatch script returned.
pub const MAX_ANSWER_LEN: u32 = 64 * 1024;

/// Payload of LOOKUP: the name of a variable, of which the longest are those of header fields.
pub const MAX_LOOKUP_LEN: u32 = 8 * 1024;

/// Payload of VARIABLE: OpenSSL takes a chain of certificates of 100 KiB by default, which is a
/// third more as PEM.
pub const MAX_VARIABLE_LEN: u32 = 256 * 1024;

/// Payload of CONTROL between processes that trust each other's user: a
/// configuration of some thousand groups fits.
pub const MAX_CONTROL_LEN: u32 = 16 * 1024 * 1024;

/// Payload of CONTROL that comes from a worker, which a tenant may have written.
pub const MAX_WORKER_CONTROL_LEN: u32 = 256 * 1024;

/// Descriptors that may travel with one frame (the error logs of a
/// configuration; every other kind carries one or none).
pub const MAX_DESCRIPTORS: usize = 250;

/// Error logs of one configuration: more virtual hosts with logs of their own
/// than httpd itself has descriptors for by default.
pub const LOGS_MAX: usize = 16 * MAX_DESCRIPTORS;

/// Length of a process group's or application group's name in bytes.
pub const MAX_NAME_LEN: usize = 1024;

// Placement: which worker serves a connection. Module, supervisor and worker each
// have a part in it; what they must agree on is here:
//
//  RELEASE_AFTER      a worker without a free thread keeps a request so long
//  RELEASE_AFTER_MAX  the same where all workers are busy
//  SATURATED_FOR      after giving one back a worker gets none
//  FULL_FOR           and others are asked before it: longer than twice the time that
//                     it keeps a request, so that it is still known to be full when
//                     it gives the next one back
//  ALL_BUSY_FOR       and a worker that got one although it was full takes all for busy

/// All threads of a worker are serving: a connection with a request waits this long
/// before the worker gives it back.
pub const RELEASE_AFTER: Duration = Duration::from_millis(5);

/// The longest it waits in a queue that stands, where all workers are busy.
pub const RELEASE_AFTER_MAX: Duration = Duration::from_millis(120);

/// How long a worker that gave a request back gets no other.
pub const SATURATED_FOR: Duration = Duration::from_millis(20);

/// How long it is taken to be full if the next request does not show the opposite.
pub const FULL_FOR: Duration = Duration::from_millis(300);

/// So long after a connection came to a worker without a free thread, that worker
/// takes all others to be busy.
pub const ALL_BUSY_FOR: Duration = Duration::from_millis(400);

// Status: the supervisor waits for the workers' reports and then answers with their
// last ones; httpd waits for the supervisor, longer.

/// How long the supervisor waits for the reports of workers.
pub const REPORTS_TIMEOUT: Duration = Duration::from_millis(300);

/// How long httpd waits for the supervisor's status.
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(1);

const _: () = {
    assert!(RELEASE_AFTER.as_millis() < SATURATED_FOR.as_millis());
    assert!(SATURATED_FOR.as_millis() < RELEASE_AFTER_MAX.as_millis());
    assert!(2 * RELEASE_AFTER_MAX.as_millis() < FULL_FOR.as_millis());
    assert!(FULL_FOR.as_millis() < ALL_BUSY_FOR.as_millis());
    assert!(REPORTS_TIMEOUT.as_millis() < STATUS_TIMEOUT.as_millis());
};
