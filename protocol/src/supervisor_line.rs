//! The one table of ids of what supervisor and launcher say at error and warn: `WSGIDnnnn`, which never changes
//! its meaning. `log_line!` of `daemon/` takes a row, the module's tests print the table into docs/failures.md.
//! Here too: which numbers are whose. The words of a line stand where it is logged.

use std::fmt;
use std::ops::RangeInclusive;

use crate::failure::level;

/// Lines of the module that are no failure of a request: `module/src/log_ids.rs`.
pub const OF_MODULE: RangeInclusive<u16> = 1..=99;
/// Failures of requests: these and the code in `failure.rs`.
pub const OF_FAILURES: RangeInclusive<u16> = 100..=199;
/// The rows below.
pub const OF_SUPERVISOR: RangeInclusive<u16> = 200..=299;

/// What a line of the supervisor begins with, and its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupervisorLine {
    /// Its number.
    pub id: u16,
    /// As httpd counts.
    pub level: u16,
}

impl fmt::Display for SupervisorLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "WSGID{:04}: ", self.id)
    }
}

macro_rules! supervisor_lines {
    ($($name:ident = $id:literal, $level:ident, $text:literal, $cure:literal;)*) => {
        $(#[doc = $text]
        pub const $name: SupervisorLine = SupervisorLine { id: $id, level: level::$level };)*

        /// The table in the order of the ids: name, row, meaning, cure.
        pub const TABLE: &[(&str, SupervisorLine, &str, &str)] =
            &[$((stringify!($name), $name, $text, $cure),)*];
    };
}

supervisor_lines! {
    CANNOT_RUN = 200, ERROR,
        "the supervisor cannot run and ends", "The text names the path, user or limit that refused.";
    SIGNALS_NOT_BLOCKED = 201, ERROR,
        "the supervisor could not block signals: one that comes while it starts may end it", "The text has the kernel's reason.";
    SIGNAL_NOT_READ = 202, ERROR,
        "the supervisor could not read a signal; it tries again", "The text has the kernel's reason.";
    DESCRIPTOR_LIMIT = 203, WARN,
        "the limit on open files could not be raised: fewer connections are kept", "Start httpd with a higher limit (LimitNOFILE= of its unit).";
    NOT_REPLACED = 204, ERROR,
        "the supervisor could not become the new program and stays the one that it was", "The text has the reason; after mending it, say wsgid reexec again.";
    TASK_FAILED = 205, ERROR,
        "what the supervisor listens with has failed", "Stop and start httpd; the text says what failed and why.";
    HTTPD_GONE = 206, WARN,
        "httpd has ended without a word: workers finish what they have, and the supervisor ends", "If nobody killed httpd, look for the cause in its error log.";
    NOT_CONFIGURED = 207, WARN,
        "the configuration of httpd no longer needs this supervisor: workers finish what they have, and it ends", "None, if it is meant so.";
    NO_SUBREAPER = 208, ERROR,
        "the supervisor could not become the parent of forked workers: preload=On does not work", "The text has the kernel's reason.";
    CONFIGURATION_REFUSED = 210, ERROR,
        "the supervisor keeps its previous configuration", "The text has the reason; correct it and reload.";
    FILES_NOT_READ = 211, ERROR,
        "the files of a supervisor on its own could not be read again; the configuration before stays in force", "The text names file and reason; correct it and reload.";
    CONFIGURATION_PROBLEM = 212, ERROR,
        "the configuration is in force but for what the text names", "The text names group and cure.";
    RUNS_AS_HTTPD = 213, WARN,
        "a process group runs as httpd's user, so its code may speak to every process group", "Give it a user of its own.";
    LIMIT_WITHOUT_EFFECT = 214, WARN,
        "an option of a process group needs control groups that are not there", "The text names the option and why they are not there.";
    LIMIT_NOT_SET = 215, ERROR,
        "a limit of a process group could not be set in its control group", "The text names the file and the kernel's reason.";
    NO_CONTROL_GROUP = 216, ERROR,
        "workers of a process group could not be put into a control group of their own", "The text names the file and the kernel's reason.";
    NOT_MOVED = 217, WARN,
        "workers that already run stay outside of their control group", "Raise the limit on tasks (TasksMax= of httpd's unit).";
    NOBODY_GIVES_WAY = 218, WARN,
        "process groups that take most of the processor are not made to give way to others", "Raise the limit on tasks (TasksMax= of httpd's unit).";
    MODULE_OF_OTHER_RELEASE = 219, WARN,
        "the module is of another release and says what this supervisor does not know", "Stop and start httpd, so that both come from the same release.";
    MAIN_LOG_NOT_TAKEN = 220, ERROR,
        "the supervisor cannot write to the main error log that httpd opened, and goes on in the one before", "The text has the kernel's reason.";
    LOG_NOT_OPENED = 221, ERROR,
        "the log of a process group could not be opened: what it prints goes to the main error log", "Give the user of the process group the right to write there.";
    LOG_NOT_REOPENED = 222, ERROR,
        "the log of a process group could not be opened again: what it prints goes to the file before", "Give the user of the process group the right to write there, then reload.";
    READINESS_NOT_WRITTEN = 223, ERROR,
        "what is ready could not be written: SetHandler wsgid-health finds nothing ready", "The text names the file and the kernel's reason.";
    TOTALS_NOT_COUNTED = 224, ERROR,
        "the file in which httpd's children count could not be made: status and metrics have no totals", "The text names the file and the reason; mend it and start the supervisor again.";
    USER_WITHOUT_LIMIT = 226, WARN,
        "limits of a user need control groups that are not there", "The text names the limits and why they are not there.";
    USER_LIMIT_NOT_SET = 227, ERROR,
        "limits of a user could not be set in its control group", "The text names the file and the kernel's reason.";
    CONNECTION_REFUSED = 230, WARN,
        "a connection of httpd's was refused", "The text names the failure, which stands above.";
    CONNECTION_NOT_TAKEN = 231, ERROR,
        "the supervisor has no descriptor left for a connection", "Start httpd with a higher limit (LimitNOFILE= of its unit).";
    CONNECTION_NOT_WATCHED = 232, ERROR,
        "the supervisor could not wait for a connection, and closed it", "The text has the kernel's reason.";
    CONNECTION_NOT_ACCEPTED = 233, ERROR,
        "the supervisor could not accept a connection; it tries again", "The text has the kernel's reason; of too many open files: raise httpd's limit.";
    HELLO_REFUSED = 234, WARN,
        "a connection said nothing that the protocol knows, or nothing in time", "None, unless requests fail; then see whether another program speaks to the socket.";
    PEER_NOT_ALLOWED = 235, WARN,
        "a process that is not httpd's connected to the supervisor", "Find out who it is, or name its user with socket-user=.";
    PEER_UNKNOWN = 236, WARN,
        "the kernel did not say who has connected to the supervisor", "The text has the kernel's reason.";
    DESCRIPTORS_NOT_DUE = 237, WARN,
        "a process sent descriptors where the protocol has none, and lost its connection", "Find out what the site does with descriptors that it has not opened.";
    NO_COMMANDS = 238, ERROR,
        "the control socket could not be made: wsgid status and the other commands do not work", "The text has the reason; mend it and restart httpd.";
    COMMAND_NOT_ACCEPTED = 239, WARN,
        "the supervisor could not accept a command; it tries again", "The text has the kernel's reason; of too many open files: raise httpd's limit.";
    WORKER_ENDED = 240, ERROR,
        "a worker ended that nobody had asked to", "The text has exit code or signal; its last words stand before.";
    WORKER_SILENT = 241, ERROR,
        "a worker has closed its control socket, or does not read it, and is ended", "The application must not close descriptors that it has not opened.";
    INTERPRETER_LOCKED = 242, ERROR,
        "the interpreter of a worker was locked for longer than deadlock-timeout; the worker is ended", "A C extension holds the interpreter lock: its stack follows.";
    SCRIPT_FAILED = 243, ERROR,
        "a worker could not load a script", "The traceback follows.";
    GENERATION_GIVEN_UP = 244, ERROR,
        "workers with changed code or a changed configuration do not start; those before serve on", "The text has the cause; mend it, or take the change back.";
    GROUP_REFUSES = 245, ERROR,
        "a process group serves no requests for now", "The text names the failure and its cure.";
    WORKER_OF_OTHER_RELEASE = 246, WARN,
        "a worker is of another release and says what this supervisor does not know", "None: wsgid restart GROUP replaces it.";
    NOT_LAUNCHED = 247, ERROR,
        "what was to become a worker could not", "The text names the path, user or limit that refused.";
    NO_PRIORITY = 248, WARN,
        "cpu-priority= has no effect, because the supervisor may not raise a priority", "Start httpd as root, or leave the option out.";
    WORKER_NOT_WARM = 249, ERROR,
        "a worker did not answer what warm-up= asks, and does not serve", "The text has the answer, and what the request logged.";
    PRELOADER_NOT_STARTED = 250, ERROR,
        "a preloader could not be started: workers start without it", "The text names the path, user or limit that refused.";
    NO_DESCRIPTORS_TO_FORK = 251, ERROR,
        "there are no descriptors for a worker that is to be forked: it starts without its preloader", "Start httpd with a higher limit (LimitNOFILE= of its unit).";
    NOT_FORKED = 252, ERROR,
        "a preloader did not fork a worker, which starts without it", "The text has the reason.";
    PRELOADED_SCRIPT_FAILED = 253, ERROR,
        "a preloader could not load a script", "The workers that are forked from it say how it failed.";
    PRELOAD_WITHOUT_EFFECT = 254, WARN,
        "preload=On has no effect: the application has done what a fork does not survive", "The text says what; start threads and open connections after the fork, or leave the option out.";
    PRELOADER_ENDED = 255, ERROR,
        "a preloader ended that nobody had asked to; workers are not affected", "The text has exit code or signal; its last words stand before.";
    PRELOADER_TOO_SLOW = 256, ERROR,
        "a preloader was not ready within startup-timeout and is killed; workers load the application themselves", "Its stacks stand behind; raise startup-timeout if the application needs longer to load.";
    NO_TRACES = 257, ERROR,
        "otlp-endpoint= has no effect, because the supervisor could not start a thread", "The text has the kernel's reason; raise the limit on tasks (TasksMax= of httpd's unit).";
    SPANS_NOT_SENT = 258, WARN,
        "spans do not reach their collector; requests are not affected", "The text has the collector and the reason; correct otlp-endpoint=, or start the collector.";
    SPANS_LOST = 259, WARN,
        "spans were lost, because their collector did not take them or did not take them quickly enough", "Lower trace-ratio=, or see to the collector.";
    SOCKET_USERS_NOT_ADMITTED = 260, ERROR,
        "after wsgid reexec, socket-user= has no effect", "The text has reason and cure.";
    GROUP_NOT_KEPT = 261, ERROR,
        "after wsgid reexec, the definition of a process group is missing", "Reload httpd.";
    GROUP_CANNOT_START = 262, ERROR,
        "after wsgid reexec, a process group cannot start new workers", "The text has the reason.";
    POOL_NOT_KEPT = 263, ERROR,
        "after wsgid reexec, it is unknown which process group some workers belong to: they finish and end", "None: others take their place.";
    CONNECTION_NOT_KEPT = 264, ERROR,
        "after wsgid reexec, it is unknown whose a connection is: it is closed", "None: httpd connects again.";
    WORKER_NOT_KEPT = 265, ERROR,
        "after wsgid reexec, a worker cannot be reached: it ends by itself", "None: another takes its place.";
    WORKER_WITHOUT_GROUP = 266, ERROR,
        "after wsgid reexec, a worker belongs to no process group any more: it finishes and ends", "None.";
    MESSAGE_NOT_KEPT = 267, WARN,
        "after wsgid reexec, a message of the program before is not understood and is left out", "None.";
    START_TOO_SLOW = 270, ERROR,
        "a worker was not ready within startup-timeout and was killed", "Its stacks stand before, and in wsgid status; raise startup-timeout if the application needs longer to load.";
    END_TOO_SLOW = 271, WARN,
        "a worker that was to end was not done within shutdown-timeout and was ended", "Its stacks stand before, and in wsgid status; raise graceful-timeout or shutdown-timeout if requests need longer.";
    WORKER_NOT_STARTED = 272, ERROR,
        "a worker could not be started", "The text names the path, user or limit that refused.";
    ISOLATION_INCOMPLETE = 273, WARN,
        "isolation=private is in force without all that belongs to it, since the kernel lacks it or does not allow it", "The text has each restriction and the reason; docs/isolation.md has the versions of Linux.";
    TEMPORARY_STAYS = 274, WARN,
        "what isolated sites have left in their temporary directories was not removed", "The text has the reason; remove /var/tmp/wsgid-* and /dev/shm/wsgid-* of supervisors that have ended.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_ascend_in_the_supervisors_own_range() {
        let ids: Vec<_> = TABLE.iter().map(|(_, line, ..)| line.id).collect();
        assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
        assert!(ids.iter().all(|id| OF_SUPERVISOR.contains(id)), "{ids:?}");
        assert!(OF_MODULE.end() < OF_FAILURES.start() && OF_FAILURES.end() < OF_SUPERVISOR.start());
    }

    #[test]
    fn lines_begin_with_their_id() {
        assert_eq!(CANNOT_RUN.to_string(), "WSGID0200: ");
    }
}
