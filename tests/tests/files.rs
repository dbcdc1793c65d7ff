//! `wsgi.file_wrapper`: real files go to httpd as descriptors, all else is
//! streamed. The numbers are those of the list of cases.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use wsgid_tests::pattern::{self, Checker};
use wsgid_tests::wire::{Addresses, transports};
use wsgid_tests::{
    Checked, Httpd, Limit, Log, Mpm, Raw, Site, Transport, Wire, case, eventually,
    heavy_on_every_mpm, on_every_mpm,
};

const SIZE: u64 = 3_000_000;
const SOON: Duration = Duration::from_secs(15);

fn wire(mpm: Mpm) -> (Wire, PathBuf) {
    let wire = Wire::start(mpm, |builder, site| {
        let stream = site.file("stream_cases.py");
        builder
            .load("deflate")
            .load("filter")
            .mount("/sent", &stream, "site")
            .mount("/zipped", &stream, "site")
            .line("<Location /sent>\n  EnableSendfile On\n  WSGIEnableSendfile On\n</Location>")
            .line("<Location /zipped>\n  EnableSendfile On\n  WSGIEnableSendfile On\n  SetOutputFilter DEFLATE\n</Location>")
    });
    let path = large_file(&wire.site);
    (wire, path)
}

fn large_file(site: &Site) -> PathBuf {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < SIZE {
        bytes.extend_from_slice(pattern::piece(
            bytes.len() as u64,
            SIZE - bytes.len() as u64,
        ));
    }
    let path = site.path().join("large.bin");
    fs::write(&path, bytes).expect("a site's file can be written");
    path
}

/// Whether these are the bytes of the file from `offset` on.
fn is_part(bytes: &[u8], offset: u64, len: u64) -> bool {
    let mut checker = Checker {
        len: offset,
        wrong_at: None,
    };
    checker.feed(bytes);
    checker.wrong_at.is_none() && bytes.len() as u64 == len
}

#[test]
fn files_are_exact_by_every_transport_on_every_mpm() {
    on_every_mpm(Limit::seconds(200), move |mpm| {
        let (wire, path) = wire(mpm);
        let (_site, wire, mut checked) = wire.checked();
        for transport in transports(mpm) {
            for mount in ["/stream", "/sent"] {
                whole(&mut checked, &wire, *transport, mount, &path);
                parts(&mut checked, &wire, *transport, mount, &path);
                ranges(&mut checked, &wire, *transport, mount, &path);
            }
            odd_ones(&mut checked, &wire, *transport);
        }
        checked.finish();
    });
}

fn whole(
    checked: &mut Checked,
    wire: &Addresses,
    transport: Transport,
    mount: &str,
    path: &std::path::Path,
) {
    let path = path.display();
    checked.case(
        &format!("57/59 {transport:?} {mount}: a whole file"),
        Log::Quiet,
        |_| {
            for kind in ["path", "unbuffered"] {
                let answer = wire
                    .curl(transport, &format!("{mount}/file?kind={kind}&path={path}"))
                    .run();
                assert!(
                    answer.complete() && is_part(&answer.body, 0, SIZE),
                    "{answer:?}"
                );
                assert_eq!(
                    answer.head.field("Content-Length"),
                    Some("3000000"),
                    "{kind} {answer:?}"
                );
            }
        },
    );
    checked.case(
        &format!("57 {transport:?} {mount}: an object with fileno()"),
        Log::Quiet,
        |httpd| {
            let id = format!("{}{transport:?}", &mount[1..]);
            let answer = wire.curl(transport, &format!("{mount}/file?id={id}")).run();
            assert!(
                answer.complete() && is_part(&answer.body, 0, SIZE),
                "{answer:?}"
            );
            closed_once(httpd, &id);
        },
    );
    checked.case(&format!("59 {transport:?}: deflated"), Log::Quiet, |_| {
        let curl = wire.curl(transport, &format!("/zipped/file?kind=path&path={path}"));
        let answer = curl.args(&["--compressed"]).run();
        assert!(
            answer.complete() && is_part(&answer.body, 0, SIZE),
            "{answer:?}"
        );
        assert_eq!(answer.head.field("Content-Encoding"), Some("gzip"));
    });
    checked.case(&format!("{transport:?} {mount}: HEAD"), Log::Quiet, |_| {
        let answer = wire
            .curl(transport, &format!("{mount}/file?kind=path&path={path}"))
            .head()
            .run();
        assert!(answer.complete() && answer.body.is_empty(), "{answer:?}");
        assert_eq!(
            answer.head.field("Content-Length"),
            Some("3000000"),
            "{answer:?}"
        );
    });
}

fn parts(
    checked: &mut Checked,
    wire: &Addresses,
    transport: Transport,
    mount: &str,
    path: &std::path::Path,
) {
    let path = path.display();
    checked.case(
        &format!("61 {transport:?} {mount}: from the middle"),
        Log::Quiet,
        |_| {
            let answer = wire
                .curl(
                    transport,
                    &format!("{mount}/file?kind=path&path={path}&offset=1000000"),
                )
                .run();
            assert!(
                answer.complete() && is_part(&answer.body, 1_000_000, SIZE - 1_000_000),
                "{answer:?}"
            );
            assert_eq!(
                answer.head.field("Content-Length"),
                Some("2000000"),
                "{answer:?}"
            );
        },
    );
    checked.case(
        &format!("61 {transport:?} {mount}: a part by Content-Length"),
        Log::Any,
        |_| {
            let query = format!("kind=path&path={path}&offset=100&Content-Length=50");
            let answer = wire.curl(transport, &format!("{mount}/file?{query}")).run();
            assert!(
                answer.complete() && is_part(&answer.body, 100, 50),
                "{answer:?}"
            );
        },
    );
    checked.case(&format!("61 {transport:?} {mount}: the application's own 206"), Log::Any, |_| {
        let query = format!(
            "kind=path&path={path}&offset=100&Content-Length=50&status=206+Partial&Content-Range=bytes+100-149/3000000"
        );
        let answer = wire.curl(transport, &format!("{mount}/file?{query}")).header("Range: bytes=100-149").run();
        assert_eq!((answer.status(), answer.head.field("Content-Range")), (206, Some("bytes 100-149/3000000")));
        assert!(answer.complete() && is_part(&answer.body, 100, 50), "{answer:?}");
    });
}

fn ranges(
    checked: &mut Checked,
    wire: &Addresses,
    transport: Transport,
    mount: &str,
    path: &std::path::Path,
) {
    let url = format!(
        "{mount}/file?kind=path&path={}&ETag=%22one%22",
        path.display()
    );
    let get = |range: &str, more: &[&str]| {
        let curl = wire
            .curl(transport, &url)
            .header(&format!("Range: bytes={range}"));
        more.iter().fold(curl, |curl, line| curl.header(line)).run()
    };
    for (range, offset, len) in [
        ("0-0", 0, 1),
        ("100-199", 100, 100),
        ("2999990-", 2_999_990, 10),
        ("-5", SIZE - 5, 5),
        ("2999000-9999999", 2_999_000, 1000),
    ] {
        checked.case(
            &format!("58 {transport:?} {mount}: bytes={range}"),
            Log::Quiet,
            |_| {
                let answer = get(range, &[]);
                assert_eq!(answer.status(), 206, "{answer:?}");
                assert!(
                    answer.complete() && is_part(&answer.body, offset, len),
                    "{answer:?}"
                );
                let expected = format!("bytes {offset}-{}/{SIZE}", offset + len - 1);
                assert_eq!(answer.head.field("Content-Range"), Some(expected.as_str()));
            },
        );
    }
    checked.case(
        &format!("58 {transport:?} {mount}: several ranges"),
        Log::Quiet,
        |_| {
            let answer = get("0-9,1000-1009", &[]);
            assert_eq!(answer.status(), 206, "{answer:?}");
            let kind = answer.head.field("Content-Type").unwrap_or_default();
            assert!(kind.starts_with("multipart/byteranges"), "{answer:?}");
            let has = |offset| {
                answer
                    .body
                    .windows(10)
                    .any(|part| part == pattern::piece(offset, 10))
            };
            assert!(answer.complete() && has(0) && has(1000), "{answer:?}");
        },
    );
    checked.case(
        &format!("58 {transport:?} {mount}: beyond the end"),
        Log::Any,
        |_| {
            assert_eq!(get("5000000-", &[]).status(), 416);
        },
    );
    checked.case(
        &format!("58 {transport:?} {mount}: If-Range"),
        Log::Quiet,
        |_| {
            assert_eq!(get("0-9", &["If-Range: \"one\""]).status(), 206);
            let whole = get("0-9", &["If-Range: \"two\""]);
            assert!(
                whole.status() == 200 && is_part(&whole.body, 0, SIZE),
                "{whole:?}"
            );
        },
    );
}

fn odd_ones(checked: &mut Checked, wire: &Addresses, transport: Transport) {
    for (what, query, body) in [
        ("memory", "kind=memory", pattern::piece(0, 60_000)),
        (
            "memory in small blocks",
            "kind=memory&block=7",
            pattern::piece(0, 60_000),
        ),
        ("a pipe", "kind=pipe", b"through a pipe"),
        ("an empty file", "size=0", b""),
        ("one byte", "size=1", pattern::piece(0, 1)),
    ] {
        checked.case(&format!("{transport:?}: {what}"), Log::Quiet, |_| {
            for mount in ["/stream", "/sent"] {
                let answer = wire.curl(transport, &format!("{mount}/file?{query}")).run();
                assert!(
                    answer.complete() && answer.status() == 200 && answer.body == body,
                    "{mount} {answer:?}"
                );
            }
        });
    }
    checked.case(
        &format!("{transport:?}: a wrapper that something else iterates"),
        Log::Quiet,
        |_| {
            let answer = wire.curl(transport, "/sent/wrapped").run();
            assert!(
                answer.complete() && is_part(&answer.body, 0, 100_000),
                "{answer:?}"
            );
        },
    );
    for kind in ["closed", "writing"] {
        checked.case(
            &format!("{transport:?}: a file that cannot be read: {kind}"),
            Log::Any,
            |_| {
                for mount in ["/stream", "/sent"] {
                    let answer = wire
                        .curl(transport, &format!("{mount}/file?kind={kind}"))
                        .run();
                    assert_eq!(answer.status(), 500, "{mount} {answer:?}");
                }
            },
        );
    }
}

fn closed_once(httpd: &Httpd, id: &str) {
    let events = eventually("close() of the file", SOON, || {
        let events = httpd.get(&format!("/stream/events?id={id}")).json();
        events
            .as_array()
            .is_some_and(|events| !events.is_empty())
            .then_some(events)
    });
    assert_eq!(events, serde_json::json!(["close"]));
}

#[test]
fn a_file_that_shrinks_breaks_one_response_and_nothing_else() {
    on_every_mpm(Limit::seconds(120), move |mpm| {
        let (wire, _) = wire(mpm);
        let (site, wire, mut checked) = wire.checked();
        for transport in transports(mpm) {
            for mount in ["/stream", "/sent", "/zipped"] {
                checked.case(
                    &format!("61 {transport:?} {mount}: truncated"),
                    Log::Any,
                    |httpd| {
                        let path = site.path().join("shrinking.bin");
                        fs::write(&path, vec![b'x'; 30_000_000])
                            .expect("a site's file can be written");
                        let children = httpd.pid().children();
                        let query = format!("kind=path&path={}&truncate=1000", path.display());
                        let _ = fs::set_permissions(
                            &path,
                            std::os::unix::fs::PermissionsExt::from_mode(0o666),
                        );
                        let curl = wire.curl(
                            *transport,
                            &format!("{mount}/file?{query}&Content-Length=30000000"),
                        );
                        let answer = curl.args(&["--compressed", "--max-time", "20"]).run();
                        assert!(
                            !answer.complete() || answer.status() >= 500,
                            "it looks complete: {answer:?}"
                        );
                        assert_ne!(answer.exit, 28, "it hung: {answer:?}");
                        assert!(children.iter().all(|child| child.alive()), "a child died");
                    },
                );
            }
        }
        checked.finish();
    });
}

#[test]
fn many_files_leave_no_descriptor_behind() {
    // All of them in `make soak`.
    let count = if std::env::var_os("WSGID_SOAK_SECONDS").is_some() {
        10_000
    } else {
        1000
    };
    heavy_on_every_mpm(Limit::seconds(300), move |mpm| {
        let (wire, path) = wire(mpm);
        let (_site, wire, mut checked) = wire.checked();
        checked.case(
            &format!("60: {count} files, some of them aborted"),
            Log::Any,
            |httpd| {
                let url = format!("/sent/file?kind=path&path={}", path.display());
                let mut client = httpd.client();
                for number in 0..count {
                    if number % 20 == 0 {
                        let mut raw = Raw::connect(httpd.address());
                        raw.send(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"));
                        raw.wait_for("200", SOON);
                        raw.reset();
                    } else {
                        let small = client.get("/sent/file?size=100").expect("an answer");
                        assert!(is_part(&small.body, 0, 100));
                    }
                }
                for transport in transports(mpm) {
                    let answer = wire.curl(*transport, &url).run();
                    assert!(answer.complete() && is_part(&answer.body, 0, SIZE));
                }
                let worker = httpd
                    .workers()
                    .into_iter()
                    .map(|pid| pid.descriptors().len())
                    .max()
                    .unwrap_or(0);
                assert!(worker < 100, "a worker has {worker} descriptors");
            },
        );
        checked.finish();
    });
}

#[test]
fn a_real_file_is_sent_by_the_kernel() {
    case(Limit::default(), || {
        let strace = std::process::Command::new("strace").arg("-V").output();
        if !strace.is_ok_and(|output| output.status.success()) {
            wsgid_tests::note("left out: it needs strace");
            return;
        }
        let (wire, path) = wire(Mpm::Event);
        for (mount, expected) in [("/sent", true), ("/stream", false)] {
            let trace = wire.site.path().join("trace");
            let children: Vec<String> = wire
                .httpd
                .pid()
                .children()
                .iter()
                .map(|pid| pid.number.to_string())
                .collect();
            let mut tracer = std::process::Command::new("strace")
                .args([
                    "-f",
                    "-e",
                    "trace=sendfile,sendfile64",
                    "-p",
                    &children.join(","),
                    "-o",
                ])
                .arg(&trace)
                .stderr(std::process::Stdio::null())
                .spawn()
                .expect("strace can be run");
            let attached = |pid: &String| {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                !status.contains("TracerPid:\t0")
            };
            eventually("strace has attached", SOON, || {
                children.iter().all(attached).then_some(())
            });
            let response = wire
                .httpd
                .get(&format!("{mount}/file?kind=path&path={}", path.display()));
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(i32::try_from(tracer.id()).unwrap()),
                nix::sys::signal::Signal::SIGTERM,
            );
            tracer.wait().unwrap();
            assert!(is_part(&response.body, 0, SIZE));
            let text = fs::read_to_string(&trace).unwrap_or_default();
            assert_eq!(text.contains("sendfile"), expected, "57: {mount}: {text}");
        }
        wire.httpd.stop();
    });
}
