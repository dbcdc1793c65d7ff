//! The load: one thread for each client, one request after the other, each
//! with an id, each answer compared byte for byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wsgid_tests::pattern::Checker;
use wsgid_tests::wait::let_run;
use wsgid_tests::{Client, ClientError, Request};

use crate::record::{Outcome, Record, Result};

const MIB: u64 = 1 << 20;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Small answers on a kept connection.
    Kept,
    /// The same on a new one each time.
    Fresh,
    /// A small body that comes back.
    Post,
    /// A large body that is compared by the application.
    Upload,
    /// A large body that comes back while it is sent.
    Echo,
    /// A large answer.
    Stream,
    /// The same as a file that httpd sends.
    File,
    /// Requests that are running whenever something happens.
    Slow,
    /// Requests with pauses in which their group goes to sleep.
    Rare,
}

impl Kind {
    const fn path(self) -> &'static str {
        match self {
            Self::Kept | Self::Fresh | Self::Rare => "hello",
            Self::Post => "post",
            Self::Upload => "upload",
            Self::Echo => "echo",
            Self::Stream => "stream",
            Self::File => "file",
            Self::Slow => "slow",
        }
    }

    /// Only a GET may be on a connection that the server may be closing.
    const fn keeps(self) -> bool {
        matches!(self, Self::Kept | Self::Slow | Self::File)
    }

    /// So that the load is mixed, and the machine has time for the chaos.
    const fn pause(self) -> Duration {
        match self {
            Self::Kept | Self::Fresh | Self::Post => Duration::from_millis(5),
            Self::Rare => Duration::from_millis(1700),
            _ => Duration::from_millis(30),
        }
    }
}

/// Starts a client below a path.
pub(crate) fn start(
    address: SocketAddr,
    at: &'static str,
    kind: Kind,
    record: &Arc<Record>,
) -> JoinHandle<()> {
    let record = Arc::clone(record);
    thread::spawn(move || {
        let mut client = Client::new(address);
        while record.runs() {
            let id = record.id();
            if !kind.keeps() {
                client.disconnect();
            }
            let used = client.connected();
            let begun = Instant::now();
            let result = ask(
                &mut client,
                &format!("{at}/{}?id={id}", kind.path()),
                &id,
                kind,
                used,
            );
            record.outcome(Outcome {
                id,
                what: kind.path(),
                begun,
                ended: Instant::now(),
                result,
            });
            let_run(kind.pause());
        }
    })
}

fn ask(client: &mut Client, path: &str, id: &str, kind: Kind, used: bool) -> Result {
    let request = match kind {
        Kind::Post => Request::post(path, id),
        Kind::Upload | Kind::Echo => Request::post_pattern(path, MIB),
        _ => Request::new("GET", path),
    };
    let mut checker = Checker::default();
    let mut body = Vec::new();
    let large = matches!(kind, Kind::Echo | Kind::Stream | Kind::File);
    let answer = client.send_with(&request, &mut |piece: &[u8]| {
        if large {
            checker.feed(piece);
        } else {
            body.extend_from_slice(piece);
        }
    });
    match answer {
        Ok(response) if response.status == 200 => {
            let right = match kind {
                Kind::Echo | Kind::Stream | Kind::File => {
                    checker.len == MIB && checker.wrong_at.is_none()
                }
                Kind::Upload => body == format!("{MIB} None").as_bytes(),
                Kind::Post => body == id.as_bytes(),
                Kind::Kept | Kind::Fresh | Kind::Rare | Kind::Slow => body == b"Hello World!",
            };
            let said = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
            if right {
                Result::Good
            } else {
                Result::Wrong(format!(
                    "a complete 200 with a wrong body ({checker:?}, `{said}`)"
                ))
            }
        }
        Ok(response) if response.status == 502 => Result::Failed("status 502".to_owned()),
        Ok(response) => Result::Wrong(format!("status {}", response.status)),
        Err(
            error @ ClientError::Truncated {
                status: Some(200), ..
            },
        ) => Result::Failed(error.to_string()),
        Err(ClientError::Closed) if used => Result::Closed,
        Err(error) => Result::Wrong(error.to_string()),
    }
}
