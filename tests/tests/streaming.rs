//! Streams: each piece at once, small responses whole, large ones never in
//! memory, and the log of who wrote it. The numbers are those of the list of cases.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use wsgid_tests::pattern::{self, Checker};
use wsgid_tests::wait::let_run;
use wsgid_tests::wire::{Addresses, transports};
use wsgid_tests::{
    Limit, Log, Mpm, Raw, Transport, Wire, case, heavy_case, heavy_on_every_mpm, on_every_mpm,
};

const SOON: Duration = Duration::from_secs(15);

fn wire(mpm: Mpm) -> Wire {
    Wire::start(mpm, |builder, site| {
        let stream = site.file("stream_cases.py");
        ["deflate", "filter", "ratelimit"]
            .into_iter()
            .fold(builder, wsgid_tests::Builder::load)
            .daemon("narrow", &format!("processes=1 threads=1 {}", site.python_path()))
            .mount("/narrow", &stream, "narrow")
            .mount("/deflated", &stream, "site")
            .mount("/limited", &stream, "site")
            .line("<Location /deflated>\n  SetOutputFilter DEFLATE\n</Location>")
            .line("<Location /limited>\n  SetOutputFilter RATE_LIMIT\n  SetEnv rate-limit 400\n</Location>")
    })
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[test]
fn pieces_are_not_held_back() {
    on_every_mpm(Limit::seconds(120), |mpm| {
        let (_site, wire, mut checked) = wire(mpm).checked();
        for query in ["count=5&pause=0.5", "count=5&pause=0.5&length="] {
            checked.case(&format!("43: {query}"), Log::Quiet, |_| {
                for (transport, arrivals) in arrivals(&wire, mpm, &format!("/stream/timed?{query}"))
                {
                    assert_eq!(arrivals.len(), 5, "{transport:?}: {arrivals:?}");
                    for pair in arrivals.windows(2) {
                        let off = (pair[1] - pair[0]).abs_diff(Duration::from_millis(500));
                        assert!(
                            off < Duration::from_millis(400),
                            "{transport:?}: {arrivals:?}"
                        );
                    }
                }
            });
        }
        for mount in ["/deflated", "/limited"] {
            checked.case(
                &format!("43: through the filter of {mount}"),
                Log::Quiet,
                |_| {
                    let path = format!("{mount}/timed?count=4&pause=0.3&size=4000");
                    for (transport, arrivals) in arrivals(&wire, mpm, &path) {
                        let first = arrivals[0];
                        let last = arrivals[arrivals.len() - 1];
                        assert!(
                            last - first > Duration::from_millis(600),
                            "{transport:?}: all came at once: {arrivals:?}"
                        );
                    }
                },
            );
        }
        checked.finish();
    });
}

/// When the lines of a response came, by all `transports(mpm)` at the same time.
fn arrivals(wire: &Addresses, mpm: Mpm, path: &str) -> Vec<(Transport, Vec<Duration>)> {
    thread::scope(|scope| {
        let asked: Vec<_> = transports(mpm)
            .iter()
            .map(|by| (*by, scope.spawn(|| arrivals_by(wire, *by, path))))
            .collect();
        asked
            .into_iter()
            .map(|(by, thread)| (by, thread.join().expect("it does not panic")))
            .collect()
    })
}

/// By curl without a buffer of its own.
fn arrivals_by(wire: &Addresses, transport: Transport, path: &str) -> Vec<Duration> {
    use std::io::{BufRead as _, BufReader};
    let curl = wire
        .curl(transport, path)
        .args(&["--no-buffer", "--compressed"]);
    let mut child = curl.spawn();
    let begun = Instant::now();
    let lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
    let arrivals = lines
        .map_while(Result::ok)
        .map(|_| begun.elapsed())
        .collect();
    assert!(child.wait().expect("curl ends").success());
    arrivals
}

#[test]
fn small_responses_are_one_piece() {
    on_every_mpm(Limit::default(), move |mpm| {
        let (_site, wire, mut checked) = wire(mpm).checked();
        for size in [1, 4096, 60_000] {
            for transport in transports(mpm) {
                checked.case(
                    &format!("42 {transport:?}: {size} bytes"),
                    Log::Quiet,
                    |_| {
                        let answer = wire
                            .curl(*transport, &format!("/stream/block?size={size}"))
                            .run();
                        assert_eq!(
                            answer.head.field("Content-Length"),
                            Some(size.to_string().as_str()),
                            "{answer:?}"
                        );
                        assert_eq!(answer.head.field("Transfer-Encoding"), None, "{answer:?}");
                        let mut checker = Checker::default();
                        checker.feed(&answer.body);
                        checker.assert_exact(size);
                    },
                );
            }
        }
        checked.case("54: pipelined, the first one slow", Log::Quiet, |httpd| {
            let request = get("/stream/marked?id=first&seconds=1")
                + &get("/stream/pid")
                + &get("/probe/hello");
            let mut raw = Raw::connect(httpd.address());
            raw.send(request);
            raw.wait_for("Hello World!", SOON);
            let text = raw.text();
            let first = text.find("marked\n");
            let last = text.find("Hello World!");
            assert!(
                first.is_some() && first < last && text.matches("HTTP/1.1 200").count() == 3,
                "{text}"
            );
        });
        checked.finish();
    });
}

#[test]
fn a_slow_client_holds_no_python_thread() {
    heavy_on_every_mpm(Limit::default(), move |mpm| {
        let (_site, _, mut checked) = wire(mpm).checked();
        checked.case(
            "45: 200 KiB to a client that reads later",
            Log::Quiet,
            |httpd| {
                let mut raw = Raw::connect(httpd.address());
                raw.send(get("/narrow/single?size=204800&id=slow"));
                let_run(Duration::from_millis(300));
                // The first client has not read yet.
                let response = httpd
                    .client()
                    .timeout(SOON)
                    .get("/narrow/pid")
                    .expect("an answer");
                assert_eq!(response.status, 200);
                assert!(
                    raw.wait_for_more_than(204_800, SOON),
                    "{} bytes",
                    raw.received.len()
                );
            },
        );
        checked.finish();
    });
}

#[test]
fn logs_go_to_the_request_that_wrote_them() {
    case(Limit::default(), || {
        let (_site, _, mut checked) = wire(Mpm::Event).checked();
        checked.case("all the ways to the log", Log::Any, |httpd| {
            assert_eq!(httpd.get("/stream/log?text=marker").status, 200);
            for text in [
                "errors marker",
                "lines marker",
                "unfinished marker",
                "stdout marker",
            ] {
                let line = httpd.wait_for_log(text, SOON);
                assert!(line.contains("client 127.0.0.1"), "{line}");
            }
        });
        checked.case("a line cannot look like another's", Log::Any, |httpd| {
            let fake = "a%0A%5BSun%20Nov%2022%5D%20%5Bcore:alert%5D%20faked%1B%5B31m%0D";
            assert_eq!(httpd.get(&format!("/stream/log?text={fake}")).status, 200);
            let line = httpd.wait_for_log("faked", SOON);
            assert!(
                line.contains("client 127.0.0.1") && !line.contains('\u{1b}'),
                "{line:?}"
            );
            assert!(
                httpd
                    .error_log()
                    .lines()
                    .all(|line| !line.starts_with("[Sun Nov 22] [core:alert]"))
            );
        });
        checked.finish();
    });
}

#[test]
fn a_pipe_of_64_mib_stays_out_of_memory() {
    heavy_on_every_mpm(Limit::seconds(240), move |mpm| {
        let wire = wire(mpm);
        transports(mpm)
            .iter()
            .for_each(|transport| flat(&wire, *transport, 64 << 20));
        wire.httpd.stop();
    });
}

#[test]
fn a_pipe_of_1_gib_stays_out_of_memory() {
    if std::env::var_os("WSGID_SOAK_SECONDS").is_none() {
        wsgid_tests::note("left out: 1 GiB up and down by each transport; `make soak` runs it");
        return;
    }
    heavy_case(Limit::seconds(1800), || {
        let wire = wire(Mpm::Event);
        Transport::ALL
            .iter()
            .for_each(|transport| flat(&wire, *transport, 1 << 30));
        wire.httpd.stop();
    });
}

/// So many bytes up and so many down; resident memory does not grow.
fn flat(wire: &Wire, transport: Transport, size: u64) {
    const ALLOWED: u64 = 24 << 20;
    let httpd = &wire.httpd;
    // Both ways once, so that what is made once is there.
    down(wire, transport, 8 << 20);
    up(wire, transport, 8 << 20);
    let processes: Vec<_> = httpd.pid().descendants();
    let before: Vec<u64> = processes.iter().map(|pid| pid.resident()).collect();
    let begun = Instant::now();
    down(wire, transport, size);
    let took_down = begun.elapsed();
    let begun = Instant::now();
    up(wire, transport, size);
    let took_up = begun.elapsed();
    let grown = processes
        .iter()
        .zip(&before)
        .map(|(pid, before)| (pid.resident().saturating_sub(*before), *pid));
    let (most, who) = grown.max().expect("httpd runs");
    wsgid_tests::note(&format!(
        "{transport:?}: {} MiB down in {took_down:.1?}, up in {took_up:.1?}; the process that grew most grew by {} KiB",
        size >> 20,
        most >> 10
    ));
    assert!(
        most < ALLOWED,
        "{transport:?}: `{}` grew by {} KiB",
        who.command_line(),
        most >> 10
    );
}

/// A download, looked at as it comes.
fn down(wire: &Wire, transport: Transport, size: u64) {
    use std::io::Read as _;
    let curl = wire
        .addresses()
        .curl(transport, &format!("/stream/download?size={size}"));
    let mut child = curl.args(&["--max-time", "600"]).spawn();
    let mut stdout = child.stdout.take().expect("it was asked for");
    let mut checker = Checker::default();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match stdout.read(&mut buffer).expect("a pipe can be read") {
            0 => break,
            len => checker.feed(&buffer[..len]),
        }
    }
    assert!(
        child.wait().expect("curl ends").success(),
        "{transport:?}: the download is not complete"
    );
    checker.assert_exact(size);
}

/// An upload of a file, looked at by the application as it comes.
fn up(wire: &Wire, transport: Transport, size: u64) {
    let file = wire.site.path().join("upload.bin");
    if fs::metadata(&file).map_or(0, |file| file.len()) != size {
        let mut out = std::io::BufWriter::new(fs::File::create(&file).expect("a file can be made"));
        let mut written = 0;
        while written < size {
            let piece = pattern::piece(written, size - written);
            std::io::Write::write_all(&mut out, piece).expect("a file can be written");
            written += piece.len() as u64;
        }
    }
    let curl = wire.addresses().curl(transport, "/probe/upload");
    let file = file.display().to_string();
    let answer = curl
        .args(&[
            "--max-time",
            "600",
            "--request",
            "POST",
            "--header",
            "Expect:",
            "--upload-file",
            &file,
        ])
        .run();
    assert_eq!(
        answer.json(),
        serde_json::json!({"length": size, "wrong_at": null}),
        "{transport:?}"
    );
}
