//! Threads of httpd that one site's requests hold for as long as it or its clients
//! like: event streams, long polls, upgraded connections behind a proxy; or as long as
//! its few slow threads need. More clients than httpd has threads; the site beside it is answered all the same.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wsgid_tests::upgrade::{upgrade, upgrading_server};
use wsgid_tests::{Builder, Client, Httpd, Limit, Mpm, Site, at_once, eventually};

use crate::SOON;

const APPLICATION: &str = r#"
import random, tempfile, time

def events():
    yield b"data: first\n\n"
    while True:
        time.sleep(0.5)
        yield b"data: tick\n\n"

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    if environ["PATH_INFO"] == "/events":
        return events()
    if environ["PATH_INFO"] == "/blocks":
        return (b"x" * 65536 for _ in range(1000))
    if environ["PATH_INFO"] == "/file":
        file = tempfile.TemporaryFile()
        file.truncate(64 << 20)
        return environ["wsgi.file_wrapper"](file)
    query = environ["QUERY_STRING"]
    time.sleep(random.uniform(2, 20) if query == "any" else float(query))
    return [b"data: news\n\n"]
"#;

/// Of httpd, and the clients of one site.
const THREADS: usize = 20;
const CLIENTS: usize = 60;
/// What one site may hold: one in ten is kept.
const SHARE: usize = 18;
/// By then a neighbour has its answer, on a machine that is busy.
const QUICKLY: Duration = Duration::from_secs(3);

fn each_mpm(run: fn(Mpm)) {
    at_once(Limit::seconds(90), [Mpm::Event, Mpm::Prefork], run);
}

/// Two sites and few threads.
fn builder(mpm: Mpm, site: &Site) -> Builder {
    builder_with(mpm, site, 40)
}

/// The same; so many threads has the site that holds those of httpd.
fn builder_with(mpm: Mpm, site: &Site, threads: u32) -> Builder {
    let lines = match mpm {
        Mpm::Prefork => vec!["StartServers 5".to_owned(), "MinSpareServers 1".to_owned()],
        _ => vec!["StartServers 1".to_owned(), "ThreadsPerChild 10".to_owned()],
    };
    lines
        .into_iter()
        .chain([format!("MaxRequestWorkers {THREADS}")])
        .fold(Httpd::builder().mpm(mpm), Builder::line)
        .daemon(
            "holds",
            &format!(
                "threads={threads} graceful-timeout=1 shutdown-timeout=1 {}",
                site.python_path()
            ),
        )
        .daemon("good", &format!("threads=2 {}", site.python_path()))
        .mount("/holds", &site.write("holds.py", APPLICATION), "holds")
        .mount("/good", &site.file("hello.py"), "good")
}

/// Clients that ask again and again, until this is dropped.
struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
    /// Requests that were refused.
    refused: Arc<AtomicUsize>,
}

impl Clients {
    fn start(address: SocketAddr, path: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let refused = Arc::new(AtomicUsize::new(0));
        let threads = (0..CLIENTS).map(|_| {
            let stop = Arc::clone(&stop);
            let refused = Arc::clone(&refused);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let was_refused = ask(address, path, &stop).starts_with("HTTP/1.1 503");
                    refused.fetch_add(usize::from(was_refused), Ordering::Relaxed);
                    wsgid_tests::wait::let_run(Duration::from_millis(300));
                }
            })
        });
        Self {
            threads: threads.collect(),
            stop,
            refused,
        }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("no panic");
        }
    }
}

/// One request, to its end; what began it.
fn ask(address: SocketAddr, path: &str, stop: &AtomicBool) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return String::new();
    };
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    let _ = write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) if text.len() < 64 => text.extend(&buffer[..count]),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The neighbour is answered, each time, and soon; the longest that it took.
fn assert_neighbour_is_served(httpd: &Httpd, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let begun = Instant::now();
        let answer = Client::new(httpd.address())
            .timeout(Duration::from_secs(10))
            .get("/good");
        let answer = answer.unwrap_or_else(|error| panic!("no thread for the neighbour: {error}"));
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "Hello World!")
        );
        assert!(
            begun.elapsed() < QUICKLY,
            "the neighbour waited {:?}",
            begun.elapsed()
        );
        wsgid_tests::wait::let_run(Duration::from_millis(50));
    }
}

fn assert_holds(path: &'static str, mpm: Mpm, threads: u32) {
    let site = Site::new();
    let httpd = builder_with(mpm, &site, threads).start();
    assert_eq!(httpd.get("/good").text(), "Hello World!");
    let clients = Clients::start(httpd.address(), path);
    let line = httpd.wait_for_log("are kept for others", SOON);
    assert!(
        line.contains("MaxRequestWorkers") && line.contains("queue-full"),
        "{line}"
    );
    // Those that waited until it was known have gone.
    wsgid_tests::wait::let_run(Duration::from_millis(500));
    assert_neighbour_is_served(&httpd, Duration::from_secs(5));
    assert!(clients.refused.load(Ordering::Relaxed) > 0);
    clients.stop();
    eventually("the site is served again", SOON, || {
        let answer = Client::new(httpd.address())
            .timeout(SOON)
            .get("/holds/poll?0")
            .ok()?;
        (answer.status == 200).then_some(())
    });
    assert_neighbour_is_served(&httpd, Duration::from_millis(200));
    httpd.stop();
}

#[test]
fn event_streams_do_not_take_the_last_threads_of_httpd() {
    each_mpm(|mpm| assert_holds("/holds/events", mpm, 40));
}

#[test]
fn long_polls_do_not_take_the_last_threads_of_httpd() {
    each_mpm(|mpm| assert_holds("/holds/poll?any", mpm, 40));
}

/// They end, but three in half a second, and each holds a thread of httpd while it waits.
#[test]
fn slow_requests_do_not_take_the_last_threads_of_httpd() {
    each_mpm(|mpm| assert_holds("/holds/poll?0.5", mpm, 3));
}

#[test]
fn upgraded_connections_do_not_take_the_last_threads_of_httpd() {
    each_mpm(|mpm| {
        let site = Site::new();
        let backend = upgrading_server();
        let httpd = builder(mpm, &site)
            .load("proxy")
            .load("proxy_http")
            .line(format!("ProxyPass /ws http://{backend}/ upgrade=websocket"))
            .start();
        assert_eq!(httpd.get("/good").text(), "Hello World!");
        // More than there are threads; one after the other, so that each is judged alone.
        let mut open = Vec::new();
        for _ in 0..THREADS + 10 {
            let (raw, line) = upgrade(httpd.address(), "/ws");
            match open.len() {
                SHARE => assert!(line.contains(" 503 ") && raw.closed, "{line}"),
                _ => assert!(line.contains(" 101 "), "{line}"),
            }
            if line.contains(" 101 ") {
                open.push(raw);
            }
        }
        httpd.wait_for_log("an upgrade of this virtual host is refused", SOON);
        assert_neighbour_is_served(&httpd, Duration::from_secs(2));
        drop(open);
        eventually("upgrades are served again", SOON, || {
            upgrade(httpd.address(), "/ws")
                .1
                .contains(" 101 ")
                .then_some(())
        });
        httpd.stop();
    });
}

/// A client that reads the head of its answer and no more; none if it was refused.
fn download(address: SocketAddr, path: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).expect("the server takes connections");
    stream
        .set_read_timeout(Some(SOON))
        .expect("a socket has this option");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .expect("it is read");
    let mut head = [0; 12];
    stream.read_exact(&mut head).expect("an answer begins");
    match &head {
        b"HTTP/1.1 200" => Some(stream),
        b"HTTP/1.1 503" => None,
        other => panic!("{}", String::from_utf8_lossy(other)),
    }
}

#[test]
fn downloads_that_nobody_reads_do_not_take_the_last_threads_of_httpd() {
    each_mpm(|mpm| {
        let site = Site::new();
        let httpd = builder(mpm, &site).start();
        assert_eq!(httpd.get("/good").text(), "Hello World!");
        // On event no thread is held while a file is being sent.
        let paths: &[&str] = if mpm == Mpm::Event {
            &["/holds/blocks"]
        } else {
            &["/holds/blocks", "/holds/file"]
        };
        for path in paths {
            let held: Vec<TcpStream> = (0..THREADS + 10)
                .filter_map(|_| download(httpd.address(), path))
                .collect();
            assert_eq!(held.len(), SHARE, "{path}");
            assert_neighbour_is_served(&httpd, Duration::from_secs(1));
            drop(held);
            eventually("downloads are served again", SOON, || {
                download(httpd.address(), path).map(drop)
            });
        }
        httpd.stop();
    });
}
