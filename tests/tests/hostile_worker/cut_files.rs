//! Files that a hostile worker has sent and that end before their time: the answer is
//! broken off, and nothing of another is where the rest would have been.

use std::time::Duration;

use wsgid_tests::h2::{H2, Stream};
use wsgid_tests::hostile::cases;
use wsgid_tests::wire::{Addresses, with_tls};
use wsgid_tests::{Httpd, Limit, Mpm, Raw, Site, Transport, case};

use crate::all_cases::children;
use crate::server::{PATIENCE, sites};

/// What a file that ends before its time is cut into.
const CUT: usize = 64 << 20;

/// Without reading what comes, so that the file is cut while it is being sent.
fn cut_over_http1(httpd: &Httpd, path: &str) -> Raw {
    let mut raw = Raw::connect(httpd.address());
    raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\nGET /good HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    wsgid_tests::wait::let_run(Duration::from_millis(800));
    assert!(
        raw.wait_for_close(PATIENCE),
        "{path}: the connection goes on after {} bytes",
        raw.received.len()
    );
    raw
}

#[test]
fn a_file_that_is_cut_breaks_the_answer_and_no_other() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let (builder, tls_port) = with_tls(Httpd::builder().mpm(Mpm::Event), Mpm::Event);
        let httpd = sites(builder, &site)
            .line("<Location /hostile/sendfile>\nEnableSendfile On\nWSGIEnableSendfile On\n</Location>")
            .line("<Location /hostile/mmap>\nEnableMMAP On\nEnableSendfile Off\n</Location>")
            .start();
        let wire = Addresses::of(&httpd, tls_port);
        assert_eq!(httpd.get("/hostile/good").text(), cases::GOOD);
        let processes = children(&httpd);
        for path in ["/hostile", "/hostile/sendfile", "/hostile/mmap"] {
            let raw = cut_over_http1(&httpd, &format!("{path}/file-cut-a-little-later"));
            assert!(raw.received.starts_with(b"HTTP/1.1 200 OK"), "{path}");
            assert!(
                raw.received.len() < CUT && !raw.text().contains("Hello World!"),
                "{path}"
            );
        }
        let curl = wire.curl(Transport::Tls1, "/hostile/file-cut-a-little-later");
        let answer = curl
            .args(&["--limit-rate", "20M", "--max-time", "20"])
            .run();
        assert!(!answer.complete() && answer.exit != 28, "{answer:?}");
        for (name, is_begun) in [
            ("file-of-the-kernel", false),
            ("file-cut-a-little-later", true),
        ] {
            let mut h2 = H2::connect(httpd.address());
            let over = |stream: &Stream| stream.ended || stream.reset.is_some();
            let cut = h2.get(&format!("/hostile/{name}"));
            wsgid_tests::wait::let_run(Duration::from_millis(800));
            let good = h2.get("/good");
            let good = h2.until(good, PATIENCE, over);
            assert_eq!(
                (String::from_utf8_lossy(&good.body), good.ended),
                ("Hello World!".into(), true),
                "{name}"
            );
            let cut = h2.until(cut, PATIENCE, over);
            assert_eq!(
                cut.reset.is_some(),
                is_begun,
                "{name}: {} bytes, {:?}",
                cut.body.len(),
                cut.ended
            );
            assert!(cut.body.len() < CUT, "{name}");
            let next = h2.get("/good");
            assert_eq!(
                h2.until(next, PATIENCE, over).body,
                b"Hello World!",
                "{name}: the connection goes on"
            );
        }
        assert!(processes.iter().all(|child| child.alive()));
        httpd.stop();
    });
}
