//! Request bodies as the suites send them, and what `apps/body_cases.py` says
//! of those that broke. The suites about bodies use it.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::{Httpd, Json, eventually, pattern};

/// How long the application has to note what it saw.
const NOTED: Duration = Duration::from_secs(20);

/// The first `n` bytes of the pattern.
#[must_use]
pub fn bytes(n: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(n);
    while all.len() < n {
        all.extend_from_slice(pattern::piece(all.len() as u64, (n - all.len()) as u64));
    }
    all
}

/// The head of a POST, byte for byte.
#[must_use]
pub fn post_head(path: &str, fields: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

/// What the application saw of the broken body with this id.
///
/// # Panics
/// If it does not note it in time.
#[must_use]
pub fn seen(httpd: &Httpd, id: &str) -> Json {
    eventually(
        &format!("the application notes what it saw of {id}"),
        NOTED,
        || {
            let seen = httpd.get(&format!("/body/seen?id={id}")).json();
            (!seen.is_null()).then_some(seen)
        },
    )
}

/// How often the application was called with this id.
#[must_use]
pub fn calls(httpd: &Httpd, id: &str) -> Json {
    httpd.get(&format!("/body/calls?id={id}")).json()
}

/// What a program makes of these bytes.
///
/// # Panics
/// If it is not there or does not read them.
#[must_use]
pub fn piped(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it is there");
    let mut stdin = child.stdin.take().expect("it was asked for");
    let bytes = bytes.to_vec();
    let feeder = thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().expect("it ends");
    feeder.join().expect("it does not panic").expect("it reads");
    output.stdout
}

/// The digest of these bytes, as another program reckons it.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let line = String::from_utf8_lossy(&piped("sha256sum", bytes)).into_owned();
    line.split(' ').next().unwrap_or_default().to_owned()
}
