//! `control.sock`: where operators and the owners of sites ask. Accepts,
//! finds out who asks, reads one command, and sends one answer. What may be
//! done by whom is decided in `supervisor/commands.rs`.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, socket};
use tokio::net::UnixListener;
use tokio::sync::mpsc::Sender;
use tokio::sync::{Semaphore, oneshot};
use wsgid_protocol::answers::{CommandError, CommandResult, to_json};
use wsgid_protocol::refusal::{self, Refusal};
use wsgid_protocol::{FrameHead, Kind, control::Command, limits::HEAD_LEN, payload};

use super::closing::{self, Guarded, Polled};
use super::{invalid, write_frame};

/// Name of the socket, beside that of the requests.
pub(crate) const NAME: &str = "control.sock";
/// Conversations of one user at a time. Anybody on the machine may connect, and
/// nobody shall keep an administrator or another owner waiting.
const TURNS: usize = 4;
/// Connections of one user, those that wait for a turn included.
const CONNECTIONS_MAX: usize = 64;
/// Connections of all users together, but for root and the supervisor's own.
const ALL_CONNECTIONS_MAX: usize = 512;
/// A turn lasts at least so long: nobody keeps the supervisor busy by asking.
const TURN: Duration = Duration::from_millis(20);
/// Pause after a connection that is turned away.
const PAUSE: Duration = Duration::from_millis(1);
/// Connections that may stand before an administrator's meanwhile.
const BACKLOG: i32 = 64;
/// Time to say what is wanted.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Time to answer: a dump waits for an interpreter.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// A command is a name and little more.
const COMMAND_MAX: u32 = 4096;

/// What helps if the two do not understand each other.
const OTHER_RELEASE: &str = concat!(
    "the supervisor is of release ",
    env!("CARGO_PKG_VERSION"),
    ": take the command line of the same release, or say `wsgid reexec` so that the supervisor becomes the one on disk"
);

/// A question, who asks it, and where the answer goes.
#[derive(Debug)]
pub(crate) struct OperatorCommand {
    pub(crate) command: Command,
    pub(crate) uid: u32,
    pub(crate) answer: oneshot::Sender<CommandResult>,
}

/// The turns of each user who is connected.
#[derive(Default)]
struct UserTurns(BTreeMap<u32, Arc<Semaphore>>);

/// Each connection holds a copy of its user's turns until it ends.
fn connections(turns: &Arc<Semaphore>) -> usize {
    Arc::strong_count(turns) - 1
}

impl UserTurns {
    /// The turns of this user, if one more connection may be open.
    fn admit(&mut self, uid: u32) -> Option<Arc<Semaphore>> {
        self.0.retain(|_, turns| connections(turns) > 0);
        let all: usize = self.0.values().map(connections).sum();
        let turns = self
            .0
            .entry(uid)
            .or_insert_with(|| Arc::new(Semaphore::new(TURNS)));
        let own = connections(turns);
        // However many users there are, each has its turns.
        let free = own < CONNECTIONS_MAX && (all < ALL_CONNECTIONS_MAX || own < TURNS);
        (free || may_everything(uid)).then(|| Arc::clone(turns))
    }
}

/// Root, and whoever the supervisor itself is.
pub(crate) fn may_everything(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

/// Makes the socket under another name first, so that the old one is replaced
/// in one step. Everybody may connect; the answer depends on who it is.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    let staged = path.with_extension(format!("{}", std::process::id()));
    let _ = fs::remove_file(&staged);
    make(&staged)
        .and_then(|listener| fs::rename(&staged, path).map(|()| listener))
        .map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))
}

fn make(path: &Path) -> io::Result<UnixListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // Those that it accepts refuse descriptors from their first moment.
    let _ = Refusal::on(socket.as_fd());
    nix::sys::socket::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    nix::sys::socket::listen(&socket, Backlog::new(BACKLOG)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    UnixListener::from_std(socket.into())
}

pub(crate) async fn listen(
    listener: UnixListener,
    asked: Sender<OperatorCommand>,
) -> io::Result<()> {
    let mut users = UserTurns::default();
    while !asked.is_closed() {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log_line!(
                    COMMAND_NOT_ACCEPTED,
                    "control socket: failed to accept: {error}"
                );
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(uid) = stream.peer_cred().map(|peer| peer.uid()) else {
            continue;
        };
        let Ok(socket) = stream.into_std() else {
            continue;
        };
        let socket = Guarded::new(socket.into(), closing::user(uid));
        let Some(turns) = users.admit(uid) else {
            tracing::trace!("control socket: uid {uid} has too many connections");
            drop(socket);
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let asked = asked.clone();
        tokio::spawn(async move {
            let turn = if may_everything(uid) {
                None
            } else {
                turns.acquire().await.ok()
            };
            let ended = tokio::time::Instant::now() + TURN;
            if let Err(error) = converse(Arc::new(socket), uid, asked).await {
                closing::tell_of(&error, &closing::user(uid), "control socket");
                tracing::trace!("control socket: {error}");
            }
            if turn.is_some() {
                tokio::time::sleep_until(ended).await;
            }
        });
    }
    Ok(())
}

async fn converse(
    socket: Arc<Guarded>,
    uid: u32,
    asked: Sender<OperatorCommand>,
) -> io::Result<()> {
    let polled = Polled::new(Arc::clone(&socket))?;
    let command = match timeout(ASK_TIMEOUT, recv(&polled)).await {
        Err(problem) if refusal::is_unwanted(&problem) => return Err(problem),
        Err(problem) if problem.kind() == io::ErrorKind::InvalidData => {
            let error = CommandError::NotUnderstood(problem.to_string());
            return reply(&socket, &Err(error)).await;
        }
        other => other?,
    };
    let (answer, wait) = oneshot::channel();
    let _ = asked
        .send(OperatorCommand {
            command,
            uid,
            answer,
        })
        .await;
    let answer = match tokio::time::timeout(ANSWER_TIMEOUT, wait).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => Err(CommandError::NoAnswer),
    };
    reply(&socket, &answer).await
}

async fn reply(socket: &Guarded, answer: &CommandResult) -> io::Result<()> {
    let mut stream = socket.stream()?;
    let json = to_json(answer)?;
    timeout(
        ASK_TIMEOUT,
        write_frame(&mut stream, Kind::Control, 0, &json),
    )
    .await
}

async fn timeout<T>(limit: Duration, task: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, task)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn recv(stream: &Polled) -> io::Result<Command> {
    let mut head = [0; HEAD_LEN];
    stream.read_exact(&mut head).await?;
    let head = FrameHead::parse(&head).map_err(invalid)?;
    if head.kind != Kind::Control {
        return Err(invalid(format!("{:?} is no command", head.kind)));
    }
    if head.len > COMMAND_MAX {
        return Err(invalid(format!(
            "{} bytes are more than a command may have ({COMMAND_MAX})",
            head.len
        )));
    }
    let mut bytes = vec![0; head.len as usize];
    stream.read_exact(&mut bytes).await?;
    match payload::decode_message::<Command>(&bytes) {
        // To carry out half of a command would be another command: nothing may be left over.
        Ok(Some(_)) => {
            payload::decode(&bytes).map_err(|error| invalid(format!("{error}; {OTHER_RELEASE}")))
        }
        Ok(None) => Err(invalid(format!("it has no such command; {OTHER_RELEASE}"))),
        Err(error) => Err(invalid(error)),
    }
}
