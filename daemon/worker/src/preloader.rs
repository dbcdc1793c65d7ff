//! A preloader: has loaded the application and waits for the supervisor to
//! order workers, which are forked from it. `python/preloader.py` does the
//! forking, so that the application's fork hooks run; here are the orders and
//! what a forked process needs to be a worker. A preloader has one thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::poll::PollTimeout;
use nix::sys::socket::MsgFlags;
use nix::unistd::{Pid, dup2_stderr, dup2_stdout, setpgid};

use wsgid_protocol::blocking::FrameReader;
use wsgid_protocol::control::{FromWorker, ToWorker};

use crate::control::{Control, message};
use crate::sys;
use crate::worker::Worker;

/// Descriptors that come with an order: control socket, output, errors.
pub(crate) const DESCRIPTORS: usize = 3;

pub(crate) struct Order {
    slot: u32,
    control: OwnedFd,
    out: OwnedFd,
    err: OwnedFd,
}

/// Waits for an order. `None`: a signal came, and Python has to handle it. The
/// process ends when it is told to, or when the supervisor has gone.
pub(crate) fn wait(
    worker: &Worker,
    reader: &mut FrameReader,
    wake: BorrowedFd<'_>,
) -> Option<Order> {
    loop {
        while let Ok(Some(frame)) = reader.next_buffered() {
            let descriptors = frame.head.code;
            match message(frame.head, frame.payload) {
                Ok(Some(ToWorker::Fork { slot })) => match order(slot, reader) {
                    Some(order) => return Some(order),
                    None => sys::exit_now(1),
                },
                Ok(Some(ToWorker::Runs(runs))) => worker.scripts.may_run(runs),
                Ok(Some(ToWorker::Drain | ToWorker::Stop { .. })) | Err(_) => sys::exit_now(0),
                Ok(Some(_)) => {}
                // Of another release: ignored, with all that came beside it.
                Ok(None) => {
                    for _ in 0..descriptors {
                        drop(reader.take_fd());
                    }
                }
            }
        }
        match worker.control.wait(wake, None, true, PollTimeout::NONE) {
            Ok(heard) if heard.woken => return None,
            Ok(heard) if heard.spoken => receive(worker, reader),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => sys::exit_now(1),
        }
    }
}

fn receive(worker: &Worker, reader: &mut FrameReader) {
    match reader.fill(worker.control.as_fd(), MsgFlags::MSG_DONTWAIT) {
        Ok(0) => sys::exit_now(0),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(_) => sys::exit_now(1),
    }
}

fn order(slot: u32, reader: &mut FrameReader) -> Option<Order> {
    Some(Order {
        slot,
        control: reader.take_fd()?,
        out: reader.take_fd()?,
        err: reader.take_fd()?,
    })
}

/// In the process that was forked: gives it a process group, descriptors and a
/// control socket of its own. Says `Forked` before anything else can be said.
pub(crate) fn become_worker(preloader: &Worker, order: Order) -> io::Result<Arc<Worker>> {
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    dup2_stdout(&order.out)?;
    dup2_stderr(&order.err)?;
    let mut spec = preloader.spec.clone();
    spec.slot = order.slot;
    let control = Control::new(order.control)?;
    control.send(&FromWorker::Forked);
    Worker::with_scripts(spec, control, preloader.scripts.take())
}
