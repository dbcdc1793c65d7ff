//! How the supervisor says anything at error or warn: `log_line!(NAME, "words {of} it")`, where NAME is the row of
//! `protocol/src/supervisor_line.rs` that has id and level. Every part of the crate may call it.

/// The row of a line that is logged once in all of the code, and its words as for `format!`.
macro_rules! log_line {
    ($name:ident, $($words:tt)+) => {{
        const LINE: wsgid_protocol::supervisor_line::SupervisorLine =
            wsgid_protocol::supervisor_line::$name;
        const LEVEL: tracing::Level = if LINE.level == wsgid_protocol::failure::level::WARN {
            tracing::Level::WARN
        } else {
            tracing::Level::ERROR
        };
        tracing::event!(LEVEL, "{LINE}{}", format_args!($($words)+))
    }};
}
