//! The differences from mod_wsgi that are meant, each with its reason.

use wsgid_tests::judge::Allowed;

/// What may differ.
pub(crate) const ALLOWED: &[Allowed] = &[
    ("-environ wsgi.early_hints", "", "mod_wsgi cannot send 103"),
    (
        "-environ mod_wsgi.connection_id",
        "",
        "mod_wsgi leaves it out unless httpd has made one already",
    ),
    (
        "+environ REDIRECT_",
        "",
        "mod_wsgi leaves its own variables behind for a later redirect",
    ),
    (
        "~environ REMOTE_ADDR",
        "said X-",
        "what is no address is not taken for the client's, and a port beside it is left out",
    ),
    (
        "~environ SERVER_PORT",
        "said X-Forwarded-Port",
        "what is no number of a port is not taken for one",
    ),
    (
        "-environ PATH",
        "env",
        "PassEnv is the administrator's word",
    ),
    (
        "environ REQUEST_URI",
        "absolute",
        "as httpd's own CGI has it: without scheme and host",
    ),
    (
        "-field content-length",
        "",
        "a whole body is known to be whole, so httpd tells its length",
    ),
    (
        "field content-length",
        "HEAD",
        "the body of the environ is longer by our own keys",
    ),
    ("-field expires", "", "an error of ours is not to be cached"),
    (
        "status",
        "\"status\":\"200 \"}",
        "a status without a reason gets the usual one, with the space or without",
    ),
    ("status", "start status '200 '", "the same"),
    (
        "field x",
        "\"X\",\"2\"",
        "fields that the application repeats stay apart: commas may be part of a value",
    ),
    (
        "field connection",
        "[\"Connection\",\"close\"]",
        "an application may end the connection",
    ),
    (
        "field connection",
        "expecting",
        "a body that nobody announced is not read away",
    ),
    (
        "field trailer",
        "",
        "about the connection, which is httpd's business",
    ),
    ("field keep-alive", "", "the same"),
    ("field upgrade", "('Upgrade'", "the same"),
    ("field te", "", "the same"),
    ("field proxy-authenticate", "", "the same"),
    (
        "field last-modified",
        "start",
        "mod_wsgi makes 1970 of what is no date, and now of one to come",
    ),
    (
        "",
        "header ('Status'",
        "mod_wsgi takes the field for the status",
    ),
    (
        "",
        " 3",
        "what httpd has not sent yet it need not break off: the client gets an error, not half an answer",
    ),
    ("", "after_failure", "the same"),
    ("", "_later", "the same"),
    ("", "generator_that_fails_in_the_end", "the same"),
    (
        "finished status",
        "",
        "what the client gets, not what the application had in mind",
    ),
    // mod_wsgi is wrong.
    (
        "",
        "late exc_info nones",
        "mod_wsgi loses the exception, and the event with it",
    ),
    (
        "",
        "late exc_info texts",
        "mod_wsgi loses the exception until later",
    ),
    ("", "_none", "None is a size, as files have it"),
    (
        "",
        "_large",
        "mod_wsgi takes memory for what is asked, not for what is there",
    ),
    (
        "body",
        "_buffer",
        "what was written is counted, and has to be bytes",
    ),
    (
        "body",
        "errors_write_after_close",
        "one who closes it does not close it for the others",
    ),
    (
        "exception",
        "errors_detach",
        "mod_wsgi needs the stream again in the end",
    ),
    (
        "body",
        "errors_fileno",
        "UnsupportedOperation is an OSError, and what Python's own streams raise",
    ),
    (
        "body",
        "std",
        "descriptors 1 and 2 lead to the log, so a program may inherit them; sys.stderr has a mode",
    ),
    (
        "body",
        "_errors",
        "what is no character is shown in the log, not replaced",
    ),
    (
        "",
        "wraps a file beyond its end",
        "there is nothing to send, which is no failure",
    ),
    ("", "wraps a truncated file", "the same"),
    ("", "wraps tell below zero", "the file is read instead"),
    (
        "exception",
        "wraps",
        "what is no file is read, which is no failure; a close() that is missing is none; one that fails is logged",
    ),
    ("body", "wrapper_close_without", "the same"),
    (
        "finished output_writes",
        "wraps a file after an empty write",
        "the head has gone, so the file is read",
    ),
    (
        "finished output_writes",
        "wrapper_subclass",
        "a subclass may have its own way to iterate",
    ),
    (
        "finished output_writes",
        "no_start_generator",
        "a block that was refused was written, too",
    ),
    (
        "finished output_writes",
        "('Content-Length'",
        "refused before the block",
    ),
    ("finished output_writes", "('content-length'", "the same"),
    // We are stricter, or as strict at once instead of later.
    (
        "",
        "edge start status",
        "a final status is one of 200 to 599 (RFC 9110)",
    ),
    (
        "",
        "edge start header ('X",
        "mod_wsgi cuts it at the NUL, takes more than space off its front, or lets httpd find it",
    ),
    ("", "('Content-Length', '+4')", "a length has no sign"),
    (
        "",
        "content-length twice, different",
        "mod_wsgi believes the last",
    ),
    ("body", "misuse status nul", "mod_wsgi cuts it at the NUL"),
    ("body", "misuse name colon", "mod_wsgi lets httpd find it"),
    ("body", "misuse name nul", "mod_wsgi cuts it at the NUL"),
    ("body", "misuse name bracket", "mod_wsgi lets httpd find it"),
    ("body", "misuse value nul", "mod_wsgi cuts it at the NUL"),
    (
        "body",
        "misuse length",
        "mod_wsgi finds it with the first block",
    ),
    ("body", "misuse name latin", "mod_wsgi lets httpd find it"),
];
