//! The differences from mod_wsgi that are meant, each with its reason.

use wsgid_tests::judge::Allowed;

/// Of streams. Those for bytes are what Python's own are behind a text stream.
pub(crate) const ALLOWED: &[Allowed] = &[
    (
        "environ errors.buffer.write(",
        "live",
        "what was written is counted",
    ),
    ("environ stderr.buffer.write(", "live", "the same"),
    ("environ stdout.buffer.write(", "live", "the same"),
    (
        "environ errors.buffer.read(",
        "",
        "a stream that cannot be read says so, as Python's own",
    ),
    ("environ stderr.buffer.read(", "", "the same"),
    ("environ stdout.buffer.read(", "", "the same"),
    ("environ errors.buffer.seek(", "", "the same of a position"),
    ("environ stderr.buffer.seek(", "", "the same"),
    ("environ stdout.buffer.seek(", "", "the same"),
    ("environ errors.buffer.tell(", "", "the same"),
    ("environ stderr.buffer.tell(", "", "the same"),
    ("environ stdout.buffer.tell(", "", "the same"),
    ("environ errors.buffer.truncate(", "", "the same"),
    ("environ stderr.buffer.truncate(", "", "the same"),
    ("environ stdout.buffer.truncate(", "", "the same"),
    ("environ wsgi.errors.truncate(", "", "the same"),
    ("environ sys.stderr.truncate(", "", "the same"),
    ("environ sys.stdout.truncate(", "", "the same"),
    (
        "environ sys.stderr.fileno(",
        "",
        "descriptors 1 and 2 lead to the log, so a program may inherit them",
    ),
    ("environ sys.stdout.fileno(", "", "the same"),
    ("environ stderr.buffer.fileno(", "", "the same"),
    ("environ stdout.buffer.fileno(", "", "the same"),
    (
        "environ wsgi.input.read(None)",
        "live",
        "None is a size, as files have it",
    ),
    (
        "environ errors.buffer.write",
        "kept",
        "what no stream takes is named as such, and nothing can always be written",
    ),
    ("environ wsgi.input.read('x')", "kept", "the same"),
    ("environ wsgi.input.readline('x')", "kept", "the same"),
    (
        "-environ errors.buffer.__exit__(",
        "kept",
        "it is a context of its own, as Python's are",
    ),
    (
        "environ wsgi.input.__iter__(",
        "kept",
        "the first item says that the request has ended",
    ),
    (
        "environ wsgi.input.close(",
        "kept",
        "who has kept it can always let go of it",
    ),
];

/// Of files.
pub(crate) const FILES: &[Allowed] = &[
    (
        "field content-length",
        "",
        "a whole body is known to be whole, so httpd tells its length",
    ),
    (
        "body",
        "gzip",
        "mod_wsgi sends what the descriptor leads to, which is not what the object reads",
    ),
    ("body", "own read", "the same"),
];

/// Of parts of answers: mod_wsgi's have none. What ours have is asserted by the test.
pub(crate) const PARTS: &[Allowed] = &[
    (
        "-field content-length",
        "",
        "a whole body is known to be whole, so httpd tells its length",
    ),
    (
        "",
        "1 with an ETag",
        "with a validator httpd can serve a part of it",
    ),
    ("", "1 with a date", "the same"),
];
