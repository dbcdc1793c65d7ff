//! The one table of ids in httpd's error log, `WSGIDnnnn`: every line of the module's own
//! from level warn on has one, which never changes its meaning. A log call takes a row,
//! so there is no id outside of the table. Meaning and cure are for docs/failures.md; the
//! words of a line stand where it is logged. WSGID01xx are 100 + the code in
//! `protocol/src/failure.rs`; which numbers are whose: `protocol/src/supervisor_line.rs`. Knows nothing of what is
//! logged where.

use std::fmt;

use wsgid_protocol::failure::{Failure, level};
use wsgid_protocol::supervisor_line::OF_FAILURES;

/// What a line of the log begins with, and its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogLine {
    /// Only lines below warn have none.
    id: Option<u16>,
    level: u16,
}

impl LogLine {
    pub(crate) const INFO: Self = Self::without_id(level::INFO);
    pub(crate) const DEBUG: Self = Self::without_id(level::DEBUG);

    const fn without_id(level: u16) -> Self {
        Self { id: None, level }
    }

    /// The line of a request that failed.
    pub(crate) fn of(failure: Failure) -> Self {
        Self {
            id: Some(OF_FAILURES.start() + failure.code()),
            level: failure.row().level,
        }
    }

    /// As httpd counts.
    pub(crate) fn level(self) -> i32 {
        self.level.into()
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.map_or(Ok(()), |id| write!(out, "WSGID{id:04}: "))
    }
}

macro_rules! log_ids {
    ($($name:ident = $id:literal, $level:ident, $text:literal, $cure:literal;)*) => {
        $(#[doc = $text]
        pub(crate) const $name: LogLine = LogLine { id: Some($id), level: level::$level };)*

        /// The table in the order of the ids: row, meaning, cure.
        #[cfg(test)]
        const TABLE: &[(LogLine, &str, &str)] = &[$(($name, $text, $cure),)*];
    };
}

log_ids! {
    DEFECT = 1, CRIT,
        "a defect in mod_wsgid was caught; what it happened in has failed", "Please report it, with the line.";
    GROUP_NOT_DEFINED = 10, WARN,
        "the configuration names a process group that is not defined: requests for it get 500", "Define it with WSGIDaemonProcess, or correct the name.";
    HEADERS_OF_ANYBODY = 11, WARN,
        "WSGITrustedProxyHeaders without WSGITrustedProxies: every client is believed", "List the addresses of your proxies with WSGITrustedProxies.";
    REPORT_NOT_WRITTEN = 12, ERROR,
        "the report for wsgid check-config could not be written", "The text has the reason.";
    GROUP_OF_ANOTHER_HOST = 13, WARN,
        "the configuration names a process group of another virtual host: requests for it get 500", "Define it at server level or in a virtual host with the same ServerName.";
    GROUP_WITHOUT_ACCOUNT = 14, WARN,
        "a process group without user= or group= would run as httpd's own, which is missing or root's: it does not start", "Add what the text names.";
    HTTPD_WITHOUT_ACCOUNT = 15, WARN,
        "httpd itself has no User or no Group, so neither its children nor applications without a process group can start", "Add both directives.";
    GROUP_OF_ANY_VARIABLE = 16, WARN,
        "WSGIProcessGroup with %{ENV:...} without WSGIRestrictProcess: whoever sets the variable chooses among all groups", "List those that may be chosen with WSGIRestrictProcess.";
    IDLE_SERVICE = 17, WARN,
        "a process group has threads=0 and no script: it does nothing", "Name a script with WSGIImportScript, or raise threads.";
    WRONG_ACCOUNT = 18, WARN,
        "an option of a process group names a user or group that does not exist, or root: what needs it does not work", "Create the account, or correct the option.";
    LINE_WITHOUT_EFFECT = 19, WARN,
        "a directive that cannot mean anything is left out", "The text has what is wrong with it.";
    NO_SERVICE = 20, CRIT,
        "the supervisor could not be brought up at a start or reload: applications are answered with 503", "The text names the path, user or limit that refused.";
    SUPERVISOR_DEAF = 21, ERROR,
        "the supervisor does not take a new configuration; it is replaced", "None, unless it comes again: then look for the cause in the log before it.";
    SUPERVISOR_ENDED = 22, ERROR,
        "the supervisor ended and is started again", "The text has exit code or signal; its own last words stand before.";
    SUPERVISOR_ENDS_AT_ONCE = 23, ERROR,
        "the supervisor has ended several times right after its start; the next try has to wait", "The cause stands before, in its own words.";
    SUPERVISOR_NOT_STARTED = 24, CRIT,
        "the supervisor could not be started again; it is tried again later", "The text has the reason.";
    END_NOT_TOLD = 25, WARN,
        "the supervisor was not told that a generation of httpd's children has ended", "None; if it comes again, look for the cause in the log before it.";
    SUPERVISOR_KILLED = 26, WARN,
        "the supervisor did not end in time and was killed", "None, unless it comes again: then see whether the machine is overloaded.";
    SUPERVISOR_LOST = 27, CRIT,
        "the supervisor ended before it took the configuration", "The cause stands before, in its own words.";
    SUPERVISOR_SILENT = 28, WARN,
        "the supervisor said nothing about the configuration in time; httpd goes on", "None, if its word comes later; otherwise see whether the machine is overloaded.";
    CONFIGURATION_PROBLEM = 29, ERROR,
        "the supervisor took the configuration but for what the text names", "The text names group and cure.";
    CONFIGURATION_REFUSED = 30, CRIT,
        "the supervisor keeps its previous configuration", "The text has the reason; correct it and reload.";
    REPLY_NOT_UNDERSTOOD = 31, ERROR,
        "the supervisor sent what is no reply", "Stop and start httpd; if it comes again, please report it.";
    LOG_NOT_PASSED_ON = 32, ERROR,
        "the error log of a virtual host cannot be handed to the supervisor: what its processes print goes to the main error log", "Use fewer error logs, or raise httpd's limit of open files.";
    SOCKET_REMOVED = 33, ERROR,
        "somebody removed the supervisor's socket; another one is made", "Find out who cleans up the runtime directory, or name another with WSGISocketPrefix.";
    NO_MAIN_LOG = 34, WARN,
        "the main ErrorLog is of a kind that supervisor and workers cannot write to: what they say beside requests is lost", "Let ErrorLog be a file, a program or syslog.";
    OTHER_RELEASE = 35, WARN,
        "the supervisor is of another release and says what this module does not know", "Stop and start httpd, so that both come from the same release.";
    BODY_ANNOUNCED_WRONGLY = 40, ERROR,
        "a request announces its body wrongly", "None: the client is at fault.";
    BODY_IN_CHUNKS = 41, ERROR,
        "a request announces a body in chunks, which applications are not given", "Say WSGIChunkedRequest On where the application reads to the end of its input.";
    BODY_TOO_LARGE = 42, WARN,
        "a request's body is larger than LimitRequestBody", "None, if it is meant to be refused; otherwise raise LimitRequestBody there.";
    BODY_BROKEN = 43, WARN,
        "a request's body cannot be read: it came too slowly, or breaks a rule of HTTP", "None: the client is at fault. Where clients are slow, see RequestReadTimeout.";
    RESPONSE_TOO_LONG = 50, WARN,
        "a response is longer than its Content-Length; the rest is left out", "Correct the application's Content-Length.";
    FILTER_FAILED = 51, WARN,
        "an output filter of httpd's failed, and the response with it", "The filter has its own line before; the text has its status.";
    EXEC_NOT_ALLOWED = 60, ERROR,
        "scripts may not run here", "Allow it with Options +ExecCGI, or use WSGIScriptAlias.";
    NO_SUCH_SCRIPT = 61, ERROR,
        "there is no such script, or httpd's user cannot see it", "Correct the path, or give httpd's user the way there.";
    SCRIPT_IS_DIRECTORY = 62, ERROR,
        "a directory is no script", "Name a file.";
    PATH_INFO_REFUSED = 63, ERROR,
        "AcceptPathInfo Off admits nothing behind the script's name", "Say AcceptPathInfo On, if it is to be admitted.";
    SCRIPT_OF_ANOTHER_OWNER = 64, ERROR,
        "the script's owner or mode is not what script-user= and script-group= ask for", "The text names the path and what is demanded of it.";
    SCRIPT_BY_HTACCESS = 65, ERROR,
        ".htaccess makes a file a script where no process group is set: it would run as httpd's user", "Set WSGIProcessGroup for the place in the server's configuration.";
    ACCESS_DENIED = 70, ERROR,
        "the script of WSGIAccessScript denies a client access", "None, if it is meant to.";
    ANSWER_WITHOUT_MEANING = 71, ERROR,
        "a script for access or authentication gave an answer that has no meaning there", "Correct the script: the answers are those of mod_wsgi.";
    NO_USER_SCRIPT = 72, ERROR,
        "the provider wsgi needs WSGIAuthUserScript", "Name the script.";
    NO_GROUP_SCRIPT = 73, ERROR,
        "Require wsgi-group needs WSGIAuthGroupScript", "Name the script.";
    GROUPS_NOT_EVALUATED = 74, ERROR,
        "the expression of Require wsgi-group cannot be evaluated", "The text has httpd's reason.";
    NO_STATUS = 80, ERROR,
        "the supervisor gave no status", "The text has the reason; look at the main error log.";
    STATUS_NOT_SHOWN = 81, ERROR,
        "the status is not shown here: only SetHandler in the server's configuration says where it is", "Say SetHandler there, with a Require for those who may see it.";
    SLOW_REQUEST = 90, WARN,
        "a request took longer than WSGISlowRequests", "The text has method, URL and groups.";
    LINES_LEFT_OUT = 91, WARN,
        "a process group wrote more into the error log than it may; lines were left out", "Have it log less, or elsewhere.";
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use wsgid_protocol::failure;
    use wsgid_protocol::supervisor_line::{self, OF_MODULE};

    use super::*;

    const PAGE: &str = "\
# Failures

Every request that fails here fails for one of these reasons. The name stands in the error log behind the id, in the
request's note `wsgi.failure` (`%{wsgi.failure}n` in a `LogFormat`) and in `wsgid status`. The client gets the status as
long as nothing of the response was sent; after that its connection is broken, so that nobody takes a part for the whole.
Beside it stand the ids that mod_wsgi 6.1 has for the same, for who watches a log for them.

| id | mod_wsgi's | failure | status | log level | what happened | what to do |
|---|---|---|---|---|---|---|
";

    const OTHERS: &str = "
## Other lines with an id

Whatever else the module says in httpd's error log from level warn on has one of these ids.

| id | mod_wsgi's | log level | what happened | what to do |
|---|---|---|---|---|
";

    const OF_SUPERVISOR: &str = "
## Lines of the supervisor

What the supervisor says in the main error log, and in the log of a process group, from level warn on has one of these
ids. What an application prints has none.

| id | log level | what happened | what to do |
|---|---|---|---|
";

    /// The numbers that mod_wsgi 6.1 logs where we log a line with this number.
    /// `differential::lines_of_the_log_have_these_ids` compares those that can be had without waiting.
    const OF_MOD_WSGI: &[(u16, &[u16])] = &[
        (20, &[13]),
        (41, &[139]),
        (60, &[134]),
        (61, &[135]),
        (63, &[137]),
        (64, &[164]),
        (70, &[57]),
        (71, &[55]),
        (72, &[41]),
        (73, &[58]),
        (102, &[143, 151]),
        (103, &[149, 152]),
        (106, &[84]),
        (111, &[105, 107, 109]),
        (112, &[56, 89]),
        (113, &[174]),
        (116, &[105, 106]),
        (117, &[126]),
        (120, &[147]),
        (121, &[147]),
        (123, &[147]),
        (124, &[147]),
        (132, &[117]),
        (133, &[145]),
    ];

    fn id_of_mod_wsgi(line: LogLine) -> String {
        let row = OF_MOD_WSGI.iter().find(|(own, _)| Some(*own) == line.id);
        let theirs = row.map_or(&[][..], |(_, theirs)| theirs).iter();
        let names: Vec<_> = theirs.map(|id| format!("WSGI{id:04}")).collect();
        names.join(", ")
    }

    fn id(line: LogLine) -> String {
        line.to_string().trim_end_matches(": ").to_owned()
    }

    fn level_name(line: LogLine) -> &'static str {
        name_of(line.level)
    }

    fn name_of(level: u16) -> &'static str {
        match level {
            level::CRIT => "crit",
            level::ERROR => "error",
            level::WARN => "warn",
            level::NOTICE => "notice",
            level::INFO => "info",
            level::DEBUG => "debug",
            other => panic!("level {other} has no name"),
        }
    }

    #[test]
    fn every_id_means_one_thing() {
        let ids: Vec<_> = TABLE.iter().map(|(line, ..)| line.id).collect();
        assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
        let is_own = |id: &Option<u16>| id.is_some_and(|id| OF_MODULE.contains(&id));
        assert!(ids.iter().all(is_own), "{ids:?}");
        let failures = failure::TABLE.iter();
        let failures: Vec<_> = failures.map(|row| LogLine::of(row.failure).id).collect();
        let is_failure = |id: &Option<u16>| id.is_some_and(|id| OF_FAILURES.contains(&id));
        assert!(failures.iter().all(is_failure), "{failures:?}");
        let all: Vec<_> = ids.into_iter().chain(failures).collect();
        for (own, _) in OF_MOD_WSGI {
            assert!(all.contains(&Some(*own)), "there is no {own}");
        }
    }

    #[test]
    fn lines_begin_with_their_id() {
        assert_eq!(DEFECT.to_string(), "WSGID0001: ");
        assert_eq!(
            LogLine::of(Failure::HttpdStopping).to_string(),
            "WSGID0134: "
        );
        assert_eq!(LogLine::INFO.to_string(), "");
    }

    #[test]
    fn the_documentation_is_printed_from_the_tables() {
        let mut page = PAGE.to_owned();
        for row in failure::TABLE {
            let line = LogLine::of(row.failure);
            let status = if row.repeatable {
                "sent again; 503 if that fails too".to_owned()
            } else {
                row.status.to_string()
            };
            writeln!(
                page,
                "| {} | {} | `{}` | {status} | {} | {} | {} |",
                id(line),
                id_of_mod_wsgi(line),
                row.name,
                level_name(line),
                row.text,
                row.cure
            )
            .unwrap();
        }
        page.push_str(OTHERS);
        for (line, text, cure) in TABLE {
            writeln!(
                page,
                "| {} | {} | {} | {text} | {cure} |",
                id(*line),
                id_of_mod_wsgi(*line),
                level_name(*line)
            )
            .unwrap();
        }
        page.push_str(OF_SUPERVISOR);
        for (_, line, text, cure) in supervisor_line::TABLE {
            let id = line.to_string();
            let id = id.trim_end_matches(": ");
            let level = name_of(line.level);
            writeln!(page, "| {id} | {level} | {text} | {cure} |").unwrap();
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/failures.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == page,
            "docs/failures.md is not what the tables say; run UPDATE_DOCS=1 cargo test -p mod_wsgid"
        );
    }
}
