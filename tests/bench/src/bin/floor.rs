//! `wsgid-bench-floor`: stands in for supervisor and workers and answers every
//! request at once, with neither Python nor an application. What httpd, the
//! module, the frames and the kernel's switching cost is what is left: the floor
//! of this shape, against which the worker's own cost shows. Peer `floor`.

use std::io::IoSlice;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use clap::Parser;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::MsgFlags;
use serde_bytes::Bytes;

use wsgid_protocol::blocking::{FrameReader, send_all};
use wsgid_protocol::payload::encode;
use wsgid_protocol::response::{EndReport, ResponseHead};
use wsgid_protocol::{FrameHead, Kind};

const BODY: &[u8] = b"Hello, world!\n";

#[derive(Debug, Parser)]
#[command(name = "wsgid-bench-floor")]
struct Options {
    /// Where the module connects to: `WSGIDaemonSocket`.
    #[arg(long)]
    socket: PathBuf,
    /// Threads, each with connections of its own, as workers have.
    #[arg(long, default_value_t = 1)]
    workers: u32,
}

struct Connection {
    socket: UnixStream,
    reader: FrameReader,
}

/// One of the threads.
struct Worker {
    epoll: Epoll,
    connections: Mutex<Vec<Connection>>,
    /// What follows the frame heads of an answer.
    head: Vec<u8>,
    report: Vec<u8>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let listener = UnixListener::bind(&options.socket)
        .with_context(|| format!("failed to listen on `{}`", options.socket.display()))?;
    let workers = (1..=options.workers.max(1))
        .map(Worker::new)
        .collect::<Result<Vec<_>>>()?;
    let workers: Vec<Arc<Worker>> = workers.into_iter().map(Arc::new).collect();
    for worker in &workers {
        let worker = Arc::clone(worker);
        std::thread::spawn(move || worker.run());
    }
    for (worker, socket) in workers.iter().cycle().zip(listener.incoming()) {
        worker.adopt(socket?)?;
    }
    Ok(())
}

impl Worker {
    /// The module tells workers apart by what END says.
    fn new(number: u32) -> Result<Self> {
        let length = BODY.len().to_string();
        let headers = [
            ("Content-Type", "text/plain"),
            ("Content-Length", length.as_str()),
        ];
        let headers = headers
            .iter()
            .map(|(name, value)| (Bytes::new(name.as_bytes()), Bytes::new(value.as_bytes())));
        let head = ResponseHead {
            status: 200,
            reason: Bytes::new(b"OK"),
            headers: headers.collect(),
        };
        let report = EndReport {
            worker: number,
            in_flight: 0,
            request_us: 1,
            application_us: 1,
            queue_us: 1,
        };
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            connections: Mutex::default(),
            head: encode(&head)?,
            report: encode(&report)?,
        })
    }

    fn adopt(&self, socket: UnixStream) -> Result<()> {
        let mut connections = self
            .connections
            .lock()
            .map_err(|_| anyhow::anyhow!("a thread has panicked"))?;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        self.epoll
            .add(&socket, EpollEvent::new(flags, connections.len() as u64))?;
        connections.push(Connection {
            socket,
            reader: FrameReader::new(0),
        });
        Ok(())
    }

    /// Until the process ends; a connection that breaks is left alone.
    fn run(&self) -> Result<()> {
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let Ok(mut connections) = self.connections.lock() else {
                bail!("a thread has panicked")
            };
            for event in events.iter().take(count) {
                if let Some(connection) = connections.get_mut(event.data() as usize) {
                    let _ = self.serve(connection);
                }
            }
        }
    }

    fn serve(&self, connection: &mut Connection) -> Result<()> {
        let Connection { socket, reader } = connection;
        if reader.fill(socket.as_fd(), MsgFlags::MSG_DONTWAIT)? == 0 {
            return Ok(self.epoll.delete(socket)?);
        }
        while let Some(frame) = reader.next_buffered()? {
            if frame.head.kind == Kind::Request {
                self.answer(socket, frame.head.id)?;
            }
        }
        Ok(())
    }

    fn answer(&self, socket: &UnixStream, id: u64) -> Result<()> {
        let head = |kind, payload: &[u8]| {
            Ok::<_, anyhow::Error>(FrameHead::new(kind, id, u32::try_from(payload.len())?))
        };
        let response = head(Kind::Response, &self.head)?.encode();
        let data = head(Kind::Data, BODY)?.encode();
        let end = head(Kind::End, &self.report)?.encode();
        let parts = [
            &response,
            self.head.as_slice(),
            &data,
            BODY,
            &end,
            &self.report,
        ];
        let mut slices = parts.map(IoSlice::new);
        send_all(socket.as_fd(), &mut slices, &[], MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}
