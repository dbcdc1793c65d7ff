//! The request of `warm-up=`: this side of the connection is what an httpd child is
//! otherwise (PROTOCOL.md §4). What comes may have been written by a tenant: it is
//! bounded, and no descriptor is taken. Which workers are asked, and what follows from the
//! answer, is in `supervisor/warming.rs`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use bytes::BytesMut;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::io::{AsyncWriteExt, Interest};
use tokio_util::codec::Decoder;
use wsgid_protocol::clock::since_1970;
use wsgid_protocol::codec::FrameCodec;
use wsgid_protocol::control::ServerFacts;
use wsgid_protocol::head::FLAG_END;
use wsgid_protocol::limits::MAX_RESPONSE_LEN;
use wsgid_protocol::request::{BodyKind, Call, RequestHead, RequestOptions};
use wsgid_protocol::response::ResponseHead;
use wsgid_protocol::text::{cut, percent_decoded};
use wsgid_protocol::warm_up::WarmUp;
use wsgid_protocol::{Failure, FrameHead, Kind, payload};

use crate::channel::closing::Guarded;

/// Nothing that a client has sent is on these connections, so any number does.
pub(crate) const NONCE: u32 = 1;

/// The one request of a connection.
const ID: u64 = ((NONCE as u64) << 32) | 1;

/// Of what a request logged before it failed.
const LOG_MAX: usize = 16 * 1024;

/// An answer that is longer need not come to its end.
const ANSWER_MAX: usize = 1 << 20;

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// Why a worker was not warmed: for the log and the status, and what it had logged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotWarmed {
    pub(crate) why: String,
    pub(crate) log: String,
}

/// What is asked of one script, over which socket.
pub(crate) struct WarmUpQuestion {
    ours: Guarded,
    script: PathBuf,
    callable: String,
    /// Whether changes of the script count: a request says so.
    heeds_changes: bool,
}

impl WarmUpQuestion {
    /// The question, and the socket for the worker.
    pub(crate) fn new(
        script: PathBuf,
        callable: String,
        heeds_changes: bool,
        group: &str,
    ) -> io::Result<(Self, Guarded)> {
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::Stream,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        let guarded = |fd: OwnedFd| Guarded::new(fd, group);
        let ours = guarded(ours);
        let question = Self {
            ours,
            script,
            callable,
            heeds_changes,
        };
        Ok((question, guarded(theirs)))
    }

    /// Asks, and waits for the whole answer.
    pub(crate) async fn ask(self, url: &str, server: &ServerFacts) -> Result<(), NotWarmed> {
        let mut log = String::new();
        let outcome = match WarmUp::read(url) {
            Ok(url) => self.exchange(url, server, &mut log).await,
            Err(why) => Err(why),
        };
        outcome.map_err(|what| NotWarmed {
            why: format!("warm-up: `GET {url}` {what}"),
            log,
        })
    }

    async fn exchange(
        &self,
        url: WarmUp<'_>,
        server: &ServerFacts,
        log: &mut String,
    ) -> Result<(), String> {
        let text = |error: io::Error| format!("was not answered: {error}");
        let request = self
            .request(url, server)
            .map_err(|error| format!("could not be written: {error}"))?;
        let mut stream = self.ours.stream().map_err(text)?;
        stream.write_all(&request).await.map_err(text)?;
        let mut answer = WarmUpAnswer::default();
        let mut codec = FrameCodec::new(MAX_RESPONSE_LEN);
        let mut bytes = BytesMut::new();
        loop {
            while let Some((head, payload)) = codec.decode(&mut bytes).map_err(text)? {
                if answer.take(head, &payload, log)? {
                    return answer.verdict();
                }
            }
            let mut buffer = [0; CHUNK];
            let count = stream
                .async_io(Interest::READABLE, || self.ours.recv(&mut buffer))
                .await
                .map_err(text)?;
            if count == 0 {
                return Err("was not answered: the worker closed the connection".to_owned());
            }
            bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
    }

    /// The frame of the request.
    fn request(
        &self,
        url: WarmUp<'_>,
        server: &ServerFacts,
    ) -> Result<Vec<u8>, payload::PayloadError> {
        let (name, port) = url.server();
        let path = percent_decoded(url.path.as_bytes());
        let uri = match url.query {
            "" => url.path.to_owned(),
            query => format!("{}?{query}", url.path),
        };
        let agent = concat!("wsgid/", env!("CARGO_PKG_VERSION"), " (warm-up)");
        let script = self.script.as_os_str().as_encoded_bytes();
        let mut variables: Vec<(&[u8], &[u8])> = vec![
            (b"GATEWAY_INTERFACE", b"CGI/1.1"),
            (b"SERVER_PROTOCOL", b"HTTP/1.1"),
            (b"SERVER_SOFTWARE", server.description.as_bytes()),
            (b"SERVER_NAME", name.as_bytes()),
            (b"SERVER_PORT", port.as_bytes()),
            (b"SERVER_ADDR", b"127.0.0.1"),
            (b"REMOTE_ADDR", b"127.0.0.1"),
            (b"REMOTE_PORT", b"0"),
            (b"REQUEST_METHOD", b"GET"),
            (b"REQUEST_URI", uri.as_bytes()),
            (b"QUERY_STRING", url.query.as_bytes()),
            (b"SCRIPT_NAME", b""),
            (b"PATH_INFO", &path),
            (b"SCRIPT_FILENAME", script),
            (b"HTTP_HOST", url.host.as_bytes()),
            (b"HTTP_USER_AGENT", agent.as_bytes()),
            (b"HTTP_ACCEPT", b"*/*"),
        ];
        if url.is_https {
            variables.push((b"HTTPS", b"on"));
            variables.push((b"REQUEST_SCHEME", b"https"));
        } else {
            variables.push((b"REQUEST_SCHEME", b"http"));
        }
        let now = u64::try_from(since_1970().as_micros()).unwrap_or(u64::MAX);
        let head = RequestHead {
            call: Call::Application,
            script: serde_bytes::Bytes::new(script),
            callable: serde_bytes::Bytes::new(self.callable.as_bytes()),
            body: BodyKind::None,
            options: RequestOptions {
                script_reloading: self.heeds_changes,
                ignore_activity: true,
                ..RequestOptions::default()
            },
            request_start_us: now,
            queue_start_us: now,
            environ: variables
                .into_iter()
                .map(|(name, value)| {
                    (
                        serde_bytes::Bytes::new(name),
                        serde_bytes::Bytes::new(value),
                    )
                })
                .collect(),
        };
        let mut bytes = Vec::new();
        head.encode_into(&mut bytes)?;
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let front = FrameHead::new(Kind::Request, ID, len).with_flags(FLAG_END);
        Ok([&front.encode()[..], &bytes].concat())
    }
}

/// What has come so far.
#[derive(Debug, Default)]
struct WarmUpAnswer {
    status: Option<u16>,
    len: usize,
}

impl WarmUpAnswer {
    /// Takes a frame. Returns whether it is the last that counts.
    fn take(&mut self, head: FrameHead, payload: &[u8], log: &mut String) -> Result<bool, String> {
        let is_of_connection = head.kind == Kind::Fail && head.id == 0;
        if head.id != ID && !is_of_connection {
            return Err("was answered with a frame of another request".to_owned());
        }
        match head.kind {
            Kind::Log => {
                let line = String::from_utf8_lossy(payload);
                let room = LOG_MAX.saturating_sub(log.len());
                log.push_str(cut(&line, room));
                log.push('\n');
            }
            Kind::Interim => {}
            Kind::Response if self.status.is_none() => {
                let head = ResponseHead::decode(payload).map_err(|error| error.to_string())?;
                self.status = Some(head.status);
            }
            Kind::Data if self.status.is_some() => {
                self.len += payload.len();
                return Ok(self.len > ANSWER_MAX);
            }
            Kind::End => return Ok(true),
            Kind::Fail => {
                let failure = Failure::from_code(head.code);
                let failure = failure.map_or("failure", |failure| failure.row().name);
                let why = String::from_utf8_lossy(payload);
                return Err(format!("failed ({failure}): {why}"));
            }
            other => return Err(format!("was answered with an unexpected {other:?} frame")),
        }
        Ok(false)
    }

    /// What the answer means.
    fn verdict(&self) -> Result<(), String> {
        match self.status {
            Some(status @ 500..) => Err(format!("was answered with {status}")),
            Some(_) => Ok(()),
            None => Err("was answered with nothing".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use wsgid_protocol::response::HeadWriter;

    use super::*;

    fn frame(kind: Kind, id: u64, payload: &[u8]) -> Vec<u8> {
        let head = FrameHead::new(kind, id, u32::try_from(payload.len()).unwrap());
        [&head.encode()[..], payload].concat()
    }

    fn response(status: u16) -> Vec<u8> {
        let mut head = Vec::new();
        let _ = HeadWriter::new(&mut head, status, b"", 0);
        frame(Kind::Response, ID, &head)
    }

    /// What comes of these bytes of a worker, which then closes.
    async fn outcome(bytes: Vec<u8>) -> Result<(), NotWarmed> {
        let (question, theirs) =
            WarmUpQuestion::new("/a.py".into(), "app".into(), true, "site").unwrap();
        let mut worker = UnixStream::from(theirs.as_fd().try_clone_to_owned().unwrap());
        drop(theirs);
        let writer = std::thread::spawn(move || {
            // What stays unread would make its end a reset.
            let read = worker.read(&mut [0; 65536]);
            assert!(read.is_ok_and(|count| count > 0));
            let _ = worker.write_all(&bytes);
        });
        let outcome = question.ask("/a?b", &ServerFacts::default()).await;
        // It may still write to nobody.
        drop(writer);
        outcome
    }

    #[tokio::test]
    async fn what_a_worker_says_is_judged() {
        let end = frame(Kind::End, ID, &[]);
        let fail = FrameHead::new(Kind::Fail, 0, 2).with_code(Failure::WorkerExited.code());
        let log = frame(Kind::Log, ID, b"Traceback");
        for (bytes, why) in [
            ([response(200), end.clone()].concat(), None),
            (
                [response(404), frame(Kind::Data, ID, b"no"), end.clone()].concat(),
                None,
            ),
            (
                [log, response(503), end.clone()].concat(),
                Some("answered with 503"),
            ),
            (end.clone(), Some("answered with nothing")),
            (response(200), Some("closed the connection")),
            (
                [&fail.encode()[..], b"it"].concat(),
                Some("failed (worker-exited): it"),
            ),
            (frame(Kind::Data, ID, b"x"), Some("unexpected Data frame")),
            (
                frame(Kind::Want, ID, &[1, 0, 0, 0, 0, 0, 0, 0]),
                Some("unexpected Want frame"),
            ),
            (frame(Kind::End, ID + 1, &[]), Some("another request")),
            (vec![0xff; 64], Some("was not answered")),
        ] {
            let outcome = outcome(bytes).await;
            let said = outcome.as_ref().err().map(|error| error.why.as_str());
            assert_eq!(said.is_some(), why.is_some(), "{outcome:?}");
            assert!(
                said.unwrap_or_default().contains(why.unwrap_or_default()),
                "{said:?}"
            );
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_an_answer_and_its_log_is_bounded() {
        let endless = frame(Kind::Data, ID, &[0; 65536]).repeat(17);
        assert_eq!(outcome([response(200), endless].concat()).await, Ok(()));
        let log = frame(Kind::Log, ID, &[b'x'; 8192]).repeat(100);
        let end = frame(Kind::End, ID, &[]);
        let failed = outcome([log, response(500), end].concat())
            .await
            .unwrap_err();
        assert!(failed.log.len() < LOG_MAX + 200, "{}", failed.log.len());
    }
}
