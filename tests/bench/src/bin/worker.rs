//! `wsgid-bench-worker`: one worker process without httpd and supervisor, whose
//! parts this program plays. For looking at the worker alone: what a request
//! costs there, and with a profiler why. Figures of the whole come from `wsgid-bench`.

use std::io::{Write, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde_bytes::Bytes;

use wsgid_protocol::blocking::{FrameReader, send_all, send_frame};
use wsgid_protocol::config::GroupConfig;
use wsgid_protocol::control::{FromWorker, Identity, ServerFacts, ToWorker, WorkerSpec};
use wsgid_protocol::head::{FLAG_END, FrameHead};
use wsgid_protocol::isolation::IsolationPlaces;
use wsgid_protocol::payload::{decode, encode};
use wsgid_protocol::request::{BodyKind, Call, RequestHead, RequestOptions, VERSIONS};
use wsgid_protocol::{Kind, config::Preload};

const BOOTSTRAP: &str = include_str!("../../../../daemon/worker/bootstrap.py");
const NONCE: u32 = 0x5EED_0001;

#[derive(Debug, Parser)]
#[command(name = "wsgid-bench-worker")]
struct Options {
    /// The worker's extension.
    #[arg(long, default_value = "target/release/libwsgid_worker.so")]
    extension: PathBuf,
    /// The interpreter.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// The script.
    #[arg(long, default_value = "tests/bench/apps/bench_app.py")]
    script: PathBuf,
    /// PATH_INFO.
    #[arg(long, default_value = "/hello")]
    path: String,
    #[arg(long, default_value_t = 1)]
    threads: u32,
    #[arg(long, default_value_t = 8)]
    connections: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// End a round after so many requests instead: for tools that count instructions.
    #[arg(long)]
    requests: Option<usize>,
    /// Requests differ in their variables in so many ways, one after the other.
    #[arg(long, default_value_t = 1)]
    layouts: usize,
    /// Repeat so often.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

struct Connection {
    socket: OwnedFd,
    reader: FrameReader,
    count: u64,
    sent: Instant,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let script = options.script.canonicalize().context("no such script")?;
    let (control, theirs) = pair()?;
    let mut worker = spawn(&options, theirs)?;
    let result = drive(&options, &script, &control, worker.id());
    end(&mut worker)?;
    result
}

/// A profiler writes what it has found when its process ends by itself.
fn end(worker: &mut Child) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    kill(Pid::from_raw(i32::try_from(worker.id())?), Signal::SIGTERM)?;
    let deadline = Instant::now() + PATIENCE;
    while worker.try_wait()?.is_none() {
        if Instant::now() > deadline {
            worker.kill()?;
            worker.wait()?;
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::Unix,
        SockType::Stream,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .context("no socket pair")
}

/// A shell puts the descriptors where the worker expects them.
fn spawn(options: &Options, control: OwnedFd) -> Result<Child> {
    let extension = options
        .extension
        .canonicalize()
        .context("no such extension")?;
    Command::new("/bin/sh")
        .args(["-c", r#"exec "$0" -c "$1" 3<&0 4<"$2" 0</dev/null"#])
        .arg(&options.python)
        .arg(BOOTSTRAP)
        .arg(extension)
        .stdin(Stdio::from(control))
        .spawn()
        .context("failed to start the worker")
}

fn drive(options: &Options, script: &Path, control: &OwnedFd, pid: u32) -> Result<()> {
    tell(
        control,
        &ToWorker::Spec(Box::new(spec(options, script))),
        &[],
    )?;
    let mut reader = FrameReader::new(0);
    loop {
        let frame = reader
            .next(control.as_fd())
            .context("the worker ended before it was ready")?;
        if let FromWorker::Ready { python, failed } = decode(frame.payload)? {
            if let Some((_, traceback)) = failed.first() {
                bail!("the script does not load: {traceback}");
            }
            writeln!(stdout(), "worker {pid}, Python {python:?}")?;
            break;
        }
    }
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut connections = Vec::new();
    for number in 0..options.connections as u64 {
        let (socket, theirs) = pair()?;
        tell(
            control,
            &ToWorker::Assign {
                connection: number + 1,
                nonce: NONCE,
            },
            &[&theirs],
        )?;
        epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
        connections.push(Connection {
            socket,
            reader: FrameReader::new(1),
            count: 0,
            sent: Instant::now(),
        });
    }
    let requests = (0..options.layouts.max(1)).map(|layout| request(options, script, layout));
    let requests = requests.collect::<Result<Vec<_>>>()?;
    for _ in 0..options.rounds {
        let cpu = cpu_ns(pid)?;
        let start = Instant::now();
        let mut latencies = round(options, &epoll, &mut connections, &requests)?;
        let spent = cpu_ns(pid)? - cpu;
        let lasted = start.elapsed();
        latencies.sort_unstable();
        let count = latencies.len().max(1);
        let at = |share: usize| latencies.get(count * share / 100).map_or(0, |ns| ns / 1000);
        writeln!(
            stdout(),
            "{:.0} requests/s, {:.2} µs of worker CPU each, p50 {} µs, p99 {} µs",
            count as f64 / lasted.as_secs_f64(),
            spent as f64 / 1000.0 / count as f64,
            at(50),
            at(99)
        )?;
    }
    Ok(())
}

fn round(
    options: &Options,
    epoll: &Epoll,
    connections: &mut [Connection],
    requests: &[Vec<u8>],
) -> Result<Vec<u64>> {
    let mut requests = requests.iter().cycle();
    let mut next = || requests.next().map_or(&[][..], Vec::as_slice);
    let end = Instant::now() + Duration::from_secs_f64(options.seconds);
    let mut latencies = Vec::new();
    let mut events = [EpollEvent::empty(); 64];
    for connection in &mut *connections {
        connection.send(next())?;
    }
    let mut running = connections.len();
    while running > 0 {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in events.iter().take(count) {
            let Some(connection) = connections.get_mut(event.data() as usize) else {
                continue;
            };
            if connection.receive()? {
                latencies.push(connection.sent.elapsed().as_nanos() as u64);
                running -= 1;
                let goes_on = match options.requests {
                    Some(most) => latencies.len() + running < most,
                    None => Instant::now() < end,
                };
                if goes_on {
                    connection.send(next())?;
                    running += 1;
                }
            }
        }
    }
    Ok(latencies)
}

impl Connection {
    fn send(&mut self, request: &[u8]) -> Result<()> {
        self.count += 1;
        self.sent = Instant::now();
        let len = u32::try_from(request.len())?;
        let head = FrameHead::new(Kind::Request, u64::from(NONCE) << 32 | self.count, len)
            .with_flags(FLAG_END);
        let bytes = head.encode();
        let mut slices = [
            std::io::IoSlice::new(&bytes),
            std::io::IoSlice::new(request),
        ];
        send_all(
            self.socket.as_fd(),
            &mut slices,
            &[],
            nix::sys::socket::MsgFlags::empty(),
        )?;
        Ok(())
    }

    /// True: the answer is complete.
    fn receive(&mut self) -> Result<bool> {
        self.reader
            .fill(self.socket.as_fd(), nix::sys::socket::MsgFlags::empty())?;
        while let Some(frame) = self.reader.next_buffered()? {
            match frame.head.kind {
                Kind::End => return Ok(true),
                Kind::Fail => bail!(
                    "the worker failed: {}",
                    String::from_utf8_lossy(frame.payload)
                ),
                _ => {}
            }
        }
        Ok(false)
    }
}

fn tell(control: &OwnedFd, message: &ToWorker, descriptors: &[&OwnedFd]) -> Result<()> {
    let payload = encode(message)?;
    let head = FrameHead::new(Kind::Control, 0, u32::try_from(payload.len())?)
        .with_code(u16::try_from(descriptors.len()).unwrap_or(u16::MAX));
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    send_frame(control.as_fd(), head, &payload, &descriptors).context("failed to tell the worker")
}

fn spec(options: &Options, script: &Path) -> WorkerSpec {
    let mut group = GroupConfig::new("bench", "wsgid-bench-worker");
    group.threads = options.threads;
    group.runs.add_file(&script.to_string_lossy());
    group.preload_scripts = vec![Preload {
        script: script.to_path_buf(),
        application_group: String::new(),
        callable: Some("application".to_owned()),
    }];
    let identity = Identity {
        uid: nix::unistd::getuid().as_raw(),
        gid: nix::unistd::getgid().as_raw(),
        groups: Vec::new(),
        user: "bench".to_owned(),
        home: PathBuf::from("/"),
        shell: PathBuf::new(),
        change: false,
    };
    WorkerSpec {
        versions: VERSIONS,
        group,
        application_group: String::new(),
        identity,
        slot: 0,
        generation: 1,
        server: ServerFacts::default(),
        log_level: "warn".to_owned(),
        callables: Vec::new(),
        places: IsolationPlaces::default(),
    }
}

/// What httpd makes of an ordinary browser's request.
fn request(options: &Options, script: &Path, layout: usize) -> Result<Vec<u8>> {
    let script = script.to_str().context("the script's path is not UTF-8")?;
    let first = match layout {
        0 => "HTTP_DNT".to_owned(),
        other => format!("HTTP_X_{other}"),
    };
    let pairs = [
        (first.as_str(), "1"),
        ("HTTP_HOST", "localhost"),
        (
            "HTTP_USER_AGENT",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Safari/537.36",
        ),
        (
            "HTTP_ACCEPT",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ),
        ("HTTP_ACCEPT_LANGUAGE", "en-US,en;q=0.5"),
        ("HTTP_ACCEPT_ENCODING", "gzip, deflate, br"),
        (
            "HTTP_COOKIE",
            "session=0123456789abcdef0123456789abcdef; theme=dark",
        ),
        ("HTTP_CONNECTION", "keep-alive"),
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("SERVER_SIGNATURE", ""),
        ("SERVER_SOFTWARE", "Apache/2.4"),
        ("SERVER_NAME", "localhost"),
        ("SERVER_ADDR", "127.0.0.1"),
        ("SERVER_PORT", "80"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("DOCUMENT_ROOT", "/srv/www"),
        ("REQUEST_SCHEME", "http"),
        ("CONTEXT_PREFIX", ""),
        ("CONTEXT_DOCUMENT_ROOT", "/srv/www"),
        ("SERVER_ADMIN", "[no address given]"),
        ("SCRIPT_FILENAME", script),
        ("REMOTE_PORT", "50000"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_METHOD", "GET"),
        ("QUERY_STRING", ""),
        ("REQUEST_URI", &options.path),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", &options.path),
        ("PATH_TRANSLATED", script),
        ("mod_wsgi.request_id", "abcdefghijklmnop"),
        ("mod_wsgi.connection_id", "abcdefghijklmnop"),
        ("mod_wsgi.listener_host", ""),
        ("mod_wsgi.listener_port", "80"),
        ("mod_wsgi.server_pid", "1234"),
        ("mod_wsgi.request_handler", "wsgi-script"),
        ("mod_wsgi.handler_script", ""),
        ("mod_wsgi.script_name", ""),
        ("mod_wsgi.path_info", &options.path),
    ];
    let head = RequestHead {
        call: Call::Application,
        script: Bytes::new(script.as_bytes()),
        callable: Bytes::new(b"application"),
        body: BodyKind::None,
        options: RequestOptions {
            script_reloading: true,
            ..RequestOptions::default()
        },
        request_start_us: 1_700_000_000_000_000,
        queue_start_us: 1_700_000_000_000_100,
        environ: pairs
            .iter()
            .map(|(key, value)| (Bytes::new(key.as_bytes()), Bytes::new(value.as_bytes())))
            .collect(),
    };
    Ok(encode(&head)?)
}

fn cpu_ns(pid: u32) -> Result<u64> {
    let time = clock_gettime(ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(
        pid,
    )?))?)?;
    Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}
