//! `control.sock`: where operators and the owners of sites ask. Accepts,
//! finds out who asks, reads one command, and sends one answer. What may be
//! done by whom is decided in `supervisor/commands.rs`.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::Sender;
use tokio::sync::{Semaphore, oneshot};
use wsgid_protocol::control::Command;
use wsgid_protocol::limits::HEAD_LEN;
use wsgid_protocol::{FrameHead, Kind, payload};

/// Name of the socket, beside that of the requests.
pub(crate) const NAME: &str = "control.sock";
/// Conversations at a time; anybody on the machine may connect.
const CONVERSATIONS_MAX: usize = 32;
/// Time to say what is wanted.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Time to answer: a dump waits for an interpreter.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// A command is a name and little more.
const COMMAND_MAX: u32 = 4096;

/// A question, who asks it, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) command: Command,
    pub(crate) uid: u32,
    pub(crate) answer: oneshot::Sender<serde_json::Value>,
}

/// Listens until the receiver has gone.
pub(crate) async fn listen(path: PathBuf, asked: Sender<Asked>) -> io::Result<()> {
    let listener =
        bind(&path).map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))?;
    let free = Arc::new(Semaphore::new(CONVERSATIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("control socket: failed to accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let asked = asked.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(stream, asked).await {
                tracing::debug!("control socket: {error}");
            }
            drop(permit);
        });
    }
}

/// Makes the socket under another name first, so that the old one is replaced
/// in one step. Everybody may connect; the answer depends on who it is.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let staged = path.with_extension(format!("{}", std::process::id()));
    let _ = std::fs::remove_file(&staged);
    let listener = UnixListener::bind(&staged)?;
    std::fs::set_permissions(&staged, std::fs::Permissions::from_mode(0o666))?;
    std::fs::rename(&staged, path)?;
    Ok(listener)
}

async fn converse(mut stream: UnixStream, asked: Sender<Asked>) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let command = timeout(ASK_TIMEOUT, recv(&mut stream)).await?;
    let (answer, wait) = oneshot::channel();
    let _ = asked.send(Asked { command, uid, answer }).await;
    let value = tokio::time::timeout(ANSWER_TIMEOUT, wait).await;
    let value = value.ok().and_then(Result::ok).unwrap_or_else(|| error("timeout", "the supervisor gave no answer"));
    timeout(ASK_TIMEOUT, send(&mut stream, value.to_string().as_bytes())).await
}

/// An answer that says what went wrong; `kind` is for programs.
pub(crate) fn error(kind: &str, text: &str) -> serde_json::Value {
    serde_json::json!({ "error": kind, "text": text })
}

async fn timeout<T>(limit: Duration, task: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, task).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn recv(stream: &mut UnixStream) -> io::Result<Command> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut head = [0; HEAD_LEN];
    stream.read_exact(&mut head).await?;
    let head = FrameHead::parse(&head).map_err(|error| invalid(error.to_string()))?;
    if head.kind != Kind::Control || head.len > COMMAND_MAX {
        return Err(invalid("not a command".to_owned()));
    }
    let mut bytes = vec![0; head.len as usize];
    stream.read_exact(&mut bytes).await?;
    payload::decode(&bytes).map_err(|error| invalid(error.to_string()))
}

async fn send(stream: &mut UnixStream, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.write_all(&FrameHead::new(Kind::Control, 0, len).encode()).await?;
    stream.write_all(bytes).await
}
