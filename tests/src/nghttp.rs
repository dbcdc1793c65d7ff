//! nghttp, for what curl takes for a failure: an HTTP/2 response to a request
//! whose body the server did not want (curl stops at the reset that says so, also
//! with httpd's own 404). HTTP/1.1 goes to curl as ever.

use std::io::Write as _;
use std::process::Command;

use crate::curl::Transport;
use crate::wire::Addresses;

/// A POST that is answered without being read: whether the answer was complete,
/// and its body, with its head before it if asked for.
///
/// # Panics
/// If neither program can be run.
#[must_use]
pub fn unread(
    wire: &Addresses,
    transport: Transport,
    path: &str,
    body: Vec<u8>,
    head: bool,
) -> (bool, Vec<u8>) {
    if !transport.is_h2() {
        let curl = wire.curl(transport, path).post(body);
        let answer = if head {
            curl.args(&["--include"])
        } else {
            curl
        }
        .run();
        return (answer.complete(), answer.body);
    }
    nghttp(
        wire,
        transport,
        path,
        &body,
        if head { &["--verbose"] } else { &[] },
    )
}

/// The same without a Content-Length, and always with the head.
///
/// # Panics
/// If neither program can be run.
#[must_use]
pub fn unread_of_unknown_length(
    wire: &Addresses,
    transport: Transport,
    path: &str,
    body: Vec<u8>,
) -> (bool, Vec<u8>) {
    if !transport.is_h2() {
        let answer = wire
            .curl(transport, path)
            .post_unknown_length(body)
            .args(&["--include"])
            .run();
        return (answer.complete(), answer.body);
    }
    nghttp(
        wire,
        transport,
        path,
        &body,
        &["--verbose", "--no-content-length"],
    )
}

fn nghttp(
    wire: &Addresses,
    transport: Transport,
    path: &str,
    body: &[u8],
    options: &[&str],
) -> (bool, Vec<u8>) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    file.write_all(body).expect("it can be written");
    let mut command = Command::new("nghttp");
    command
        .arg("--timeout=60")
        .args(options)
        .arg("--data")
        .arg(file.path())
        .arg(wire.url(transport, path));
    let output = command
        .output()
        .expect("nghttp is installed (nghttp2-client)");
    let failed = String::from_utf8_lossy(&output.stderr).contains("not processed");
    (output.status.success() && !failed, output.stdout)
}
