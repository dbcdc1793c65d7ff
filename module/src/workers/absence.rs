//! Whether httpd's parent knows that nobody takes connections on the supervisor's socket: the
//! program is missing, ends right after each start, or waits for its next one. The kernel takes
//! connections as long as the socket is there, so children would wait for nothing. A word in
//! shared memory: `launch/` writes it, `connection.rs` reads it where it connects and where it
//! waits. While a supervisor that worked is replaced the word stays as it is: requests wait.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::httpd::shared::{self, Inherited};

static ABSENT: Inherited<&[AtomicU32]> = Inherited::new();

/// Before children are forked.
pub(crate) fn prepare() {
    ABSENT.prepare(|| shared::zeros(1));
}

/// The parent's word.
pub(crate) fn tell(absent: bool) {
    prepare();
    if let Some([word, ..]) = ABSENT.get() {
        word.store(absent.into(), Ordering::Relaxed);
    }
}

pub(crate) fn is_told() -> bool {
    matches!(ABSENT.get(), Some([word, ..]) if word.load(Ordering::Relaxed) != 0)
}

/// What a wait for the supervisor ends with.
pub(crate) fn error() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        "nobody takes connections there: the supervisor cannot be started, or ends right after each start; \
         httpd goes on trying, and the main error log has the reason",
    )
}
