//! The one failure table: code → name, HTTP status, log level, may the request
//! be sent again. Used by all parts, and printed into the documentation.

/// httpd's log levels, as the `code` of a LOG frame.
pub mod level {
    /// `crit`.
    pub const CRIT: u16 = 2;
    /// `error`.
    pub const ERROR: u16 = 3;
    /// `warn`.
    pub const WARN: u16 = 4;
    /// `notice`.
    pub const NOTICE: u16 = 5;
    /// `info`.
    pub const INFO: u16 = 6;
    /// `debug`.
    pub const DEBUG: u16 = 7;
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct FailureRow {
    /// The failure.
    pub failure: Failure,
    /// Its stable name: note `wsgi.failure`, status page, documentation.
    pub name: &'static str,
    /// What the client gets while nothing has been sent.
    pub status: u16,
    /// httpd's level of the log line.
    pub level: u16,
    /// Whether no worker has begun the request, so that it may be sent again.
    pub repeatable: bool,
    /// What happened, in words.
    pub text: &'static str,
    /// What an administrator can do about it.
    pub cure: &'static str,
}

macro_rules! failures {
    ($($variant:ident = $code:literal, $name:literal, $status:literal, $level:ident, $repeatable:literal, $text:literal, $cure:literal;)*) => {
        /// Why a request failed; the `code` of a FAIL frame.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Failure {
            $(#[doc = $text] $variant = $code,)*
        }

        /// The table, in the order of the codes.
        pub const TABLE: &[FailureRow] = &[
            $(FailureRow {
                failure: Failure::$variant, name: $name, status: $status, level: level::$level,
                repeatable: $repeatable, text: $text, cure: $cure,
            },)*
        ];

        impl Failure {
            /// The failure with this code.
            pub const fn from_code(code: u16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

failures! {
    NotStarted = 1, "not-started", 503, DEBUG, true,
        "the worker left before it began the request", "None needed: the module sends the request again.";
    NoSuchGroup = 2, "no-such-group", 500, ERROR, false,
        "the process group is not defined", "Define it with WSGIDaemonProcess, or name an existing one in WSGIProcessGroup.";
    NotAllowed = 3, "not-allowed", 500, ERROR, false,
        "the configuration does not allow it", "A group of another virtual host: define it at server level or in a virtual host with the same ServerName, see WSGIRestrictProcess. A script that the configuration does not name: add its directory with script-directories= to the group.";
    VersionMismatch = 4, "version-mismatch", 503, ERROR, false,
        "module and supervisor have no protocol version in common", "Stop and start httpd, so that both come from the same release.";
    QueueFull = 5, "queue-full", 503, WARN, false,
        "the queue of the process group is full", "Raise processes, threads or listen-backlog, or find out what makes requests slow.";
    QueueTimeout = 6, "queue-timeout", 504, WARN, false,
        "the request waited longer than queue-timeout for a worker", "Raise processes or threads, or find out what makes requests slow.";
    StartupTimeout = 7, "startup-timeout", 503, ERROR, false,
        "no worker was ready within the time a request may wait for one", "Look at the group's log for what start-up waits for; raise startup-timeout.";
    GroupFailed = 8, "group-failed", 503, ERROR, false,
        "workers of the process group keep failing", "The cause is in the log; after mending it, say wsgid restart GROUP.";
    GroupStopped = 9, "group-stopped", 503, WARN, false,
        "the process group was stopped", "Say wsgid start GROUP.";
    SpawnFailed = 10, "spawn-failed", 503, ERROR, false,
        "a worker could not be started", "The text names the path, user or limit that refused.";
    LoadFailed = 11, "load-failed", 500, ERROR, false,
        "the WSGI script could not be loaded", "The traceback is in the log.";
    NoCallable = 12, "no-callable", 500, ERROR, false,
        "the WSGI script has no such callable, or one that WSGI cannot call", "Name it with WSGICallableObject; the text says what the script has. An ASGI application needs a wrapper or a server of its own.";
    ApplicationError = 13, "application-error", 500, ERROR, false,
        "the application raised an exception", "The traceback is in the log.";
    ResponseInvalid = 14, "response-invalid", 500, ERROR, false,
        "the application broke a rule of PEP 3333", "The text names the rule.";
    ResponseShort = 15, "response-short", 500, ERROR, false,
        "the response body is shorter than its Content-Length", "Correct the application's Content-Length.";
    ScriptMissing = 16, "script-missing", 500, ERROR, false,
        "the WSGI script cannot be read by the site's user", "The text names the path component that is closed, or what stands there instead of a file.";
    ClientGone = 17, "client-gone", 400, INFO, false,
        "the client went away while its request body was read", "None.";
    ApplicationTimeout = 18, "application-timeout", 504, INFO, false,
        "the application raised mod_wsgi.RequestTimeout", "None needed: the application gave the request up by itself.";
    WorkerExited = 20, "worker-exited", 502, ERROR, false,
        "the worker exited while it served the request", "The text has the exit code; look at the group's log.";
    WorkerSignalled = 21, "worker-signalled", 502, ERROR, false,
        "the worker was ended by a signal while it served the request", "The text has the signal; SIGSEGV and SIGABRT come from native code.";
    OutOfMemory = 22, "out-of-memory", 502, ERROR, false,
        "the worker was ended because memory ran out", "Raise the memory limit or lower processes and threads.";
    RequestTimeout = 23, "request-timeout", 504, ERROR, false,
        "the request ran longer than request-timeout", "The stack of the stuck thread is in the log.";
    Deadlock = 24, "deadlock-timeout", 504, ERROR, false,
        "the interpreter was locked for longer than deadlock-timeout", "A C extension holds the interpreter lock; the log has the native cause where known.";
    WorkerStopped = 25, "worker-stopped", 502, WARN, false,
        "the worker was stopped before the request was done", "Raise graceful-timeout or shutdown-timeout.";
    Protocol = 30, "protocol-error", 502, ERROR, false,
        "a frame broke the protocol", "If nothing in the site speaks the protocol itself, please report this.";
    WorkerLost = 31, "worker-lost", 502, ERROR, false,
        "the connection to the worker ended without a word", "The supervisor died too, or was stopped; look at the main error log.";
    Unreachable = 32, "supervisor-unreachable", 503, ERROR, false,
        "the supervisor cannot be reached", "The text has the socket and the reason; look at the main error log.";
    ResponseTimeout = 33, "response-timeout", 504, ERROR, false,
        "the worker sent nothing for longer than socket-timeout", "Raise socket-timeout, or set request-timeout to find out where requests hang.";
    HttpdStopping = 34, "httpd-stopping", 503, NOTICE, false,
        "httpd is stopping", "None.";
    LineTooLong = 35, "request-line-too-long", 414, WARN, false,
        "the request line is longer than what a worker is told of a request", "None: all variables together take 16 MiB at most. Lower LimitRequestLine, so that httpd refuses it first.";
    HeadTooLarge = 36, "request-head-too-large", 431, WARN, false,
        "the request has more header fields, or longer ones, than a worker is told", "None: all variables together take 16 MiB, and there are 36,864 at most. Lower LimitRequestFields or LimitRequestFieldSize, so that httpd refuses it first.";
}

impl Failure {
    /// The row of this failure.
    pub fn row(self) -> &'static FailureRow {
        TABLE
            .iter()
            .find(|row| row.failure == self)
            .expect("the macro writes a row for every failure")
    }

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }
}
