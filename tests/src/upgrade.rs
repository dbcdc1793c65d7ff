//! Connections that a proxy upgrades, from both ends: a server that says yes and is
//! silent from then on, and its clients.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::Raw;

/// How long an answer may take on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// A server that upgrades, and is silent until its client leaves.
///
/// # Panics
/// If there is no free port.
#[must_use]
pub fn upgrading_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve_upgrade(stream));
        }
    });
    address
}

fn serve_upgrade(mut stream: TcpStream) {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return;
        }
        text.push(byte[0]);
    }
    let _ = stream.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    );
    while matches!(stream.read(&mut byte), Ok(1..)) {}
}

/// A connection on which an upgrade was asked for, and the first line of the answer.
#[must_use]
pub fn upgrade(address: SocketAddr, path: &str) -> (Raw, String) {
    let mut raw = Raw::connect(address);
    raw.send(format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    ));
    raw.wait_for("\r\n\r\n", SOON);
    if raw.text().contains("Connection: close") {
        raw.wait_for_close(SOON);
    }
    let line = raw.text().lines().next().unwrap_or_default().to_owned();
    (raw, line)
}
