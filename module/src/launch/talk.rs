//! Messages between the httpd parent and the supervisor, and small waits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::sys::socket::{MsgFlags, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use wsgid_protocol::blocking::{Frame, FrameReader, ReadError, send_frame};
use wsgid_protocol::control::{FromParent, ToParent};
use wsgid_protocol::limits::MAX_DESCRIPTORS;
use wsgid_protocol::{FrameHead, Kind, payload};

use crate::httpd::log;
use crate::httpd::retained::{ChildGeneration, Retained};
use crate::log_ids;
use crate::workers::absence;

/// Whether the running supervisor has ever answered: it works.
static HAS_ANSWERED: AtomicBool = AtomicBool::new(false);

/// A new supervisor runs.
pub(super) fn forget_answers() {
    HAS_ANSWERED.store(false, Ordering::Relaxed);
}

pub(super) fn has_answered() -> bool {
    HAS_ANSWERED.load(Ordering::Relaxed)
}

/// Longest time one send may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// A message that can be sent more than once.
pub(super) struct Message {
    payload: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

pub(super) fn encode(message: &FromParent, descriptors: Vec<OwnedFd>) -> Result<Message, String> {
    let payload = payload::encode(message).map_err(|error| error.to_string())?;
    let max = Kind::Control.max_len() as usize;
    if payload.len() > max {
        return Err(format!(
            "the configuration takes {} bytes, the most is {max}",
            payload.len()
        ));
    }
    Ok(Message {
        payload,
        descriptors,
    })
}

/// Tells the supervisor, if there is one.
pub(super) fn tell(retained: &Retained, message: &FromParent) -> Result<(), String> {
    let Some(control) = retained.control() else {
        return Ok(());
    };
    let message = encode(message, Vec::new())?;
    send(control, &message).map_err(|error| error.to_string())
}

pub(super) fn send(control: BorrowedFd<'_>, message: &Message) -> io::Result<()> {
    send_payload(control, &message.payload, &message.descriptors)
}

/// Sends a configuration for the children of another generation.
pub(super) fn send_for(
    control: BorrowedFd<'_>,
    message: &Message,
    generation: &ChildGeneration,
) -> io::Result<()> {
    let mut configured = payload::decode(&message.payload).map_err(io::Error::other)?;
    if let FromParent::Configure(configuration) = &mut configured {
        configuration.generation = generation.number;
        configuration.secret = generation.secret;
    }
    let payload = payload::encode(&configured).map_err(io::Error::other)?;
    send_payload(control, &payload, &message.descriptors)
}

fn send_payload(
    control: BorrowedFd<'_>,
    message: &[u8],
    descriptors: &[OwnedFd],
) -> io::Result<()> {
    set_timeout(control, sockopt::SendTimeout, SEND_TIMEOUT)?;
    let fds: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    // The last of them go with the message itself.
    let first_of_last = fds.len().saturating_sub(1) / MAX_DESCRIPTORS * MAX_DESCRIPTORS;
    let (ahead, fds) = fds.split_at(first_of_last);
    let logs = payload::encode(&FromParent::Logs).map_err(io::Error::other)?;
    for fds in ahead.chunks(MAX_DESCRIPTORS) {
        send_one(control, &logs, fds)?;
    }
    send_one(control, message, fds)
}

fn send_one(control: BorrowedFd<'_>, payload: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let code = u16::try_from(fds.len()).map_err(io::Error::other)?;
    let head = FrameHead::new(Kind::Control, 0, len).with_code(code);
    send_frame(control, head, payload, fds)
}

fn set_timeout(
    socket: BorrowedFd<'_>,
    option: impl nix::sys::socket::SetSockOpt<Val = TimeVal>,
    timeout: Duration,
) -> io::Result<()> {
    // Zero would mean for ever.
    let micros = i64::try_from(timeout.as_micros().max(1000)).map_err(io::Error::other)?;
    Ok(setsockopt(&socket, option, &TimeVal::microseconds(micros))?)
}

/// Waits for the supervisor's word about `generation` and logs what it says.
pub(super) fn await_reply(retained: &Retained, generation: u64, timeout: Duration) {
    let Some(control) = retained.control() else {
        return;
    };
    let deadline = Instant::now() + timeout;
    let mut reader = FrameReader::new(0);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || set_timeout(control, sockopt::ReceiveTimeout, left).is_err() {
            break;
        }
        match reader.next(control) {
            Ok(frame) => {
                if note(&frame) == Some(generation) {
                    return;
                }
            }
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => {
                let pid = retained.process.pid;
                if !has_answered() {
                    absence::tell(true);
                }
                log::server(log_ids::SUPERVISOR_LOST, || {
                    format!(
                        "the supervisor (process {pid}) ended before it took the configuration: {error}"
                    )
                });
                return;
            }
        }
    }
    log::server(log_ids::SUPERVISOR_SILENT, || {
        format!(
            "the supervisor said nothing about the configuration for {} s; httpd goes on",
            timeout.as_secs()
        )
    });
}

/// Logs replies that came later; never waits.
pub(super) fn drain_replies(retained: &Retained) {
    let Some(control) = retained.control() else {
        return;
    };
    let mut reader = FrameReader::new(0);
    while let Ok(1..) = reader.fill(control, MsgFlags::MSG_DONTWAIT) {
        while let Ok(Some(frame)) = reader.next_buffered() {
            note(&frame);
        }
    }
}

/// Logs one reply; the generation it is about.
fn note(frame: &Frame<'_>) -> Option<u64> {
    let kind = frame.head.kind;
    HAS_ANSWERED.store(true, Ordering::Relaxed);
    absence::tell(false);
    if kind != Kind::Control {
        log::server(log_ids::REPLY_NOT_UNDERSTOOD, || {
            format!("the supervisor sent an unexpected frame ({kind:?})")
        });
        return None;
    }
    match payload::decode_message(frame.payload) {
        Ok(Some(ToParent::Applied {
            generation,
            problems,
        })) => {
            for problem in problems {
                log::server(log_ids::CONFIGURATION_PROBLEM, || problem);
            }
            return Some(generation);
        }
        Ok(Some(ToParent::Refused { generation, reason })) => {
            log::server(log_ids::CONFIGURATION_REFUSED, || {
                format!("the supervisor keeps its previous configuration: {reason}")
            });
            return Some(generation);
        }
        Ok(None) => log::server(
            log_ids::OTHER_RELEASE,
            || "the supervisor is of another release: it says what this module does not know, and that is ignored",
        ),
        Err(error) => log::server(log_ids::REPLY_NOT_UNDERSTOOD, || {
            format!("the supervisor's reply is not understood: {error}")
        }),
    }
    None
}

/// How the supervisor ended, in words. httpd has decoded what waitpid(2) said, and does not pass on
/// whether the number is an exit code or a signal: the usual signals are those that programs do
/// not end with by themselves. Asked again about a process it has not watched, it passes on all.
pub(super) fn ending(status: i32) -> String {
    match status {
        126 => "it could not be executed".to_owned(),
        256.. => format!("exit code {}", (status >> 8) & 0xff),
        libc::SIGKILL | libc::SIGTERM | libc::SIGSEGV => format!("signal {status}"),
        libc::SIGILL | libc::SIGABRT | libc::SIGBUS | libc::SIGFPE => {
            format!("exit code {status}, or signal {status}")
        }
        code => format!("exit code {code}"),
    }
}

/// Whether nobody else may have ended it.
pub(super) fn ended_by_itself(status: i32) -> bool {
    !matches!(status, libc::SIGKILL | libc::SIGTERM | libc::SIGSEGV)
}

/// Asks again and again until `done` or the time is over.
pub(super) fn wait_until(timeout: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_put_in_words() {
        for (status, words) in [
            (1, "exit code 1"),
            (101, "exit code 101"),
            (126, "it could not be executed"),
            (9, "signal 9"),
            (11, "signal 11"),
            (6, "exit code 6, or signal 6"),
            (3 << 8, "exit code 3"),
        ] {
            assert_eq!(ending(status), words);
        }
        assert!(ended_by_itself(1) && ended_by_itself(126) && !ended_by_itself(9));
    }
}
