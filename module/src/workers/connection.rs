//! One connection to a worker: opened to the supervisor's socket, kept between
//! requests. Sends and receives frames; every wait is one system call with a
//! timeout as its tick, at which the caller's [`WaitPolicy`] decides. Whatever a
//! worker sends beside them is closed elsewhere (`wsgid_protocol::disposal`): a
//! close may sleep as long as the worker likes.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use wsgid_protocol::blocking::FrameReader;
use wsgid_protocol::disposal;
use wsgid_protocol::fds::send_with_fds;
use wsgid_protocol::refusal::{Refusal, take_urgent_bytes_in_line};
use wsgid_protocol::request::{Hello, VERSIONS};
use wsgid_protocol::response::EndReport;
use wsgid_protocol::{FrameHead, Kind, payload};

use crate::configuration::groups::{ApplicationGroup, GroupView};
use crate::httpd::process;
use crate::workers::plan::ServingPlan;
use crate::workers::stopping::WaitingSocket;
use crate::workers::{absence, sent_file};

/// How often a wait looks up.
const TICK: Duration = Duration::from_millis(250);

/// An answer that takes the worker less than this is waited for awake.
const QUICK_US: u64 = 500;

/// Most descriptors of one group that may wait to be closed by this child. With more,
/// some of them cannot be closed, and no other is received.
const CLOSING_MAX: usize = 8;

/// Decides at each tick whether to go on waiting.
pub(crate) trait WaitPolicy {
    /// Why the wait must end.
    type Interruption;
    /// Called at each tick of a wait that has lasted for `waited`.
    fn tick(&mut self, waited: Duration) -> Result<(), Self::Interruption>;
}

/// Why a wait on the socket ended without what was waited for.
pub(crate) enum Wait<I> {
    /// The caller's patience ended.
    Interrupted(I),
    /// The operating system's word.
    Io(io::Error),
}

/// What comes of a wait in which `P` decides.
type Waited<T, P> = Result<T, Wait<<P as WaitPolicy>::Interruption>>;

pub(crate) struct WorkerConnection {
    /// `None` only while the connection is dropped.
    socket: Option<OwnedFd>,
    /// The process group, to which descriptors that are slow to close are charged.
    group: Box<str>,
    pub(crate) reader: FrameReader,
    nonce: u32,
    /// Requests sent so far.
    count: u32,
    worker: u32,
    /// Whether the last answer came quickly; the next one probably will too.
    quick: bool,
    hello: Option<Vec<u8>>,
}

impl WorkerConnection {
    /// Connects. HELLO goes out with the first request.
    pub(crate) fn open<P: WaitPolicy>(
        plan: &ServingPlan,
        group: &GroupView,
        application_group: &ApplicationGroup,
        patience: &mut P,
    ) -> Waited<Self, P> {
        let path = plan
            .socket
            .as_deref()
            .ok_or_else(|| Wait::Io(io::Error::other("there is no supervisor")))?;
        if absence::is_told() {
            return Err(Wait::Io(absence::error()));
        }
        let socket = open_socket(group).map_err(Wait::Io)?;
        connect_to(&socket, path, group.connect_timeout, patience)?;
        let nonce = u32::from_le_bytes(process::random());
        let hello = Hello {
            version_min: VERSIONS.0,
            version_max: VERSIONS.1,
            group: group.name.clone(),
            application_group: application_group.name.clone(),
            pid: std::process::id(),
            generation: plan.generation,
            nonce,
            secret: plan.secret,
            from_request: application_group.from_request,
        };
        Ok(Self {
            socket: Some(socket),
            group: group.name.as_str().into(),
            reader: FrameReader::new(1),
            nonce,
            count: 0,
            worker: 0,
            quick: false,
            hello: Some(hello_frame(&hello).map_err(Wait::Io)?),
        })
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket
            .as_ref()
            .expect("it is there until it is dropped")
            .as_fd()
    }

    /// The descriptor that belongs to a FILE frame, if httpd can serve it.
    pub(crate) fn take_file(&mut self) -> Result<OwnedFd, &'static str> {
        let fd = self.reader.take_fd().ok_or("FILE without a descriptor")?;
        match sent_file::refusal(fd.as_fd()) {
            None => Ok(fd),
            Some(why) => {
                disposal::dispose(&self.group, vec![fd]);
                Err(why)
            }
        }
    }

    /// The worker that served it last; 0 is not known.
    pub(crate) fn worker(&self) -> u32 {
        self.worker
    }

    /// What the worker said at the end of the last request.
    pub(crate) fn note(&mut self, report: &EndReport) {
        if report.worker != 0 {
            self.worker = report.worker;
        }
        self.quick = report.request_us < QUICK_US;
    }

    pub(crate) fn id(&self) -> u64 {
        (u64::from(self.nonce) << 32) | u64::from(self.count)
    }

    /// Whether another request may follow: the lower half of an id counts.
    pub(crate) fn may_go_on(&self) -> bool {
        self.count < u32::MAX && self.hello.is_none()
    }

    /// Sends a request: HELLO on the first, the head, and an inline body, with
    /// one system call if the socket takes it.
    pub(crate) fn send_request<P: WaitPolicy>(
        &mut self,
        head: &[u8],
        flags: u8,
        code: u16,
        body: Option<&[u8]>,
        patience: &mut P,
    ) -> Waited<(), P> {
        if disposal::waiting(&self.group) > CLOSING_MAX {
            self.reader.refuse_descriptors(Refusal::on(self.socket()));
        }
        self.count += 1;
        let id = self.id();
        let hello = self.hello.take();
        let head_frame = frame_head(Kind::Request, id, head.len())?
            .with_flags(flags)
            .with_code(code)
            .encode();
        let body_bytes = body.unwrap_or_default();
        let body_frame = frame_head(Kind::Body, id, body_bytes.len())?
            .with_flags(wsgid_protocol::head::FLAG_END)
            .encode();
        let mut slices = [
            IoSlice::new(hello.as_deref().unwrap_or_default()),
            IoSlice::new(&head_frame),
            IoSlice::new(head),
            IoSlice::new(if body.is_some() { &body_frame } else { &[] }),
            IoSlice::new(body_bytes),
        ];
        self.send_slices(&mut slices, patience)
    }

    /// Sends HELLO alone, where the supervisor itself answers.
    pub(crate) fn greet<P: WaitPolicy>(&mut self, patience: &mut P) -> Waited<(), P> {
        let hello = self.hello.take().unwrap_or_default();
        self.send_slices(&mut [IoSlice::new(&hello)], patience)
    }

    pub(crate) fn send<P: WaitPolicy>(
        &mut self,
        kind: Kind,
        flags: u8,
        code: u16,
        payload: &[u8],
        patience: &mut P,
    ) -> Waited<(), P> {
        let head = frame_head(kind, self.id(), payload.len())?
            .with_flags(flags)
            .with_code(code)
            .encode();
        self.send_slices(&mut [IoSlice::new(&head), IoSlice::new(payload)], patience)
    }

    /// Says that the client has gone, if the socket takes it at once.
    pub(crate) fn cancel(&self) {
        let head = FrameHead::new(Kind::Cancel, self.id(), 0).encode();
        let _ = send_with_fds(
            self.socket(),
            &[IoSlice::new(&head)],
            &[],
            MsgFlags::MSG_DONTWAIT,
        );
    }

    fn send_slices<P: WaitPolicy>(
        &self,
        slices: &mut [IoSlice<'_>],
        patience: &mut P,
    ) -> Waited<(), P> {
        let began = Instant::now();
        let mut left = slices;
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match send_with_fds(self.socket(), left, &[], MsgFlags::empty()) {
                Ok(sent) => IoSlice::advance_slices(&mut left, sent),
                Err(error) => self.tick_or_fail(error, began, patience)?,
            }
        }
        Ok(())
    }

    /// Receives once more; 0 is the end.
    pub(crate) fn fill<P: WaitPolicy>(&mut self, patience: &mut P) -> Waited<usize, P> {
        let began = Instant::now();
        if self.quick {
            // Whoever is to answer may run first. Often the answer is here when
            // this thread gets its turn, and nobody had to put it to sleep and
            // wake it; where nobody else wants to run this costs next to nothing.
            std::thread::yield_now();
        }
        let _waiting = WaitingSocket::on(self.socket().as_raw_fd());
        loop {
            let socket = self
                .socket
                .as_ref()
                .expect("it is there until it is dropped");
            match self.reader.fill(socket.as_fd(), MsgFlags::MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other.map_err(Wait::Io),
            }
            // Not a receive that waits: the kernel wakes that one also when the
            // other side takes what was sent, which is once more per request.
            if !self.is_readable_within(TICK) {
                if self.is_abandoned() {
                    self.cancel();
                    return Err(Wait::Io(absence::error()));
                }
                patience.tick(began.elapsed()).map_err(Wait::Interrupted)?;
            }
        }
    }

    /// Whether nobody is there who would take a new connection.
    fn is_abandoned(&self) -> bool {
        self.count <= 1 && absence::is_told() && process::has_unread(self.socket())
    }

    /// Whether something comes within `delay`. The end of the connection counts.
    pub(crate) fn is_readable_within(&self, delay: Duration) -> bool {
        let timeout = PollTimeout::try_from(delay).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(self.socket(), PollFlags::POLLIN)];
        matches!(poll(&mut polled, timeout), Ok(1..))
    }

    fn tick_or_fail<P: WaitPolicy>(
        &self,
        error: io::Error,
        began: Instant,
        patience: &mut P,
    ) -> Waited<(), P> {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {
                patience.tick(began.elapsed()).map_err(Wait::Interrupted)
            }
            _ => Err(Wait::Io(error)),
        }
    }
}

impl Drop for WorkerConnection {
    fn drop(&mut self) {
        disposal::dispose(&self.group, self.reader.take_fds());
        if let Some(socket) = self.socket.take() {
            disposal::close_socket(&self.group, socket);
        }
    }
}

fn hello_frame(hello: &Hello) -> io::Result<Vec<u8>> {
    let bytes = payload::encode(hello).map_err(io::Error::other)?;
    let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    if len > Kind::Hello.max_len() {
        return Err(io::Error::other("the names of the groups are too long"));
    }
    Ok([&FrameHead::new(Kind::Hello, 0, len).encode()[..], &bytes].concat())
}

fn frame_head<I>(kind: Kind, id: u64, len: usize) -> Result<FrameHead, Wait<I>> {
    match u32::try_from(len) {
        Ok(len) if len <= kind.max_len() => Ok(FrameHead::new(kind, id, len)),
        _ => Err(Wait::Io(io::Error::other(format!(
            "a frame of {len} bytes is too long for {kind:?}"
        )))),
    }
}

fn buffer_size(bytes: u64) -> Option<usize> {
    usize::try_from(bytes).ok().filter(|bytes| *bytes > 0)
}

/// A socket whose sends and receives look up at each tick.
fn open_socket(group: &GroupView) -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let tick = TimeVal::new(0, i64::try_from(TICK.as_micros()).unwrap_or(250_000));
    take_urgent_bytes_in_line(socket.as_fd());
    setsockopt(&socket, sockopt::ReceiveTimeout, &tick)?;
    setsockopt(&socket, sockopt::SendTimeout, &tick)?;
    // The kernel cuts what is too much; less than wished is no failure.
    if let Some(bytes) = buffer_size(group.send_buffer) {
        let _ = setsockopt(&socket, sockopt::SndBuf, &bytes);
    }
    if let Some(bytes) = buffer_size(group.receive_buffer) {
        let _ = setsockopt(&socket, sockopt::RcvBuf, &bytes);
    }
    Ok(socket)
}

/// Connects, again and again while nobody listens, until `timeout`.
fn connect_to<P: WaitPolicy>(
    socket: &OwnedFd,
    path: &str,
    timeout: Duration,
    patience: &mut P,
) -> Waited<(), P> {
    const PAUSE: Duration = Duration::from_millis(20);
    let address = UnixAddr::new(path).map_err(|error| Wait::Io(error.into()))?;
    let began = Instant::now();
    loop {
        match connect(socket.as_raw_fd(), &address) {
            Ok(()) => return Ok(()),
            Err(Errno::EAGAIN | Errno::ECONNREFUSED | Errno::EINTR) => {
                let waited = began.elapsed();
                if waited >= timeout {
                    let text = format!(
                        "nobody took the connection within {} s (connect-timeout)",
                        timeout.as_secs_f64()
                    );
                    return Err(Wait::Io(io::Error::new(io::ErrorKind::TimedOut, text)));
                }
                if absence::is_told() {
                    return Err(Wait::Io(absence::error()));
                }
                patience.tick(waited).map_err(Wait::Interrupted)?;
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(Wait::Io(error.into())),
        }
    }
}

/// Whether an error of a send or receive means that the other side had gone
/// without taking what was sent.
pub(crate) fn was_not_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}
