//! The default is for a public network: clients that hold threads of httpd, and ask
//! nothing of the application, keep nobody else out.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use wsgid_tests::upgrade::{upgrade, upgrading_server};
use wsgid_tests::{Express, Limit, Raw, Site, case, eventually};

/// For an answer beside the others.
const SOON: Duration = Duration::from_secs(2);

#[test]
fn half_open_and_upgraded_connections_keep_nobody_waiting() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let backend = format!("http://{}/", upgrading_server());
        let mut server = Express::new()
            .path(&site.file("hello.py"))
            .args(&["--proxy-mount-point", "/ws", &backend])
            .start();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
        let mut open = Vec::new();
        for _ in 0..100 {
            let (raw, line) = upgrade(address, "/ws");
            assert!(line.contains(" 101 "), "{line}");
            open.push(raw);
        }
        for _ in 0..200 {
            let mut raw = Raw::connect(address);
            raw.send("GET / HTTP/1.1\r\nHost: localhost\r\nX-");
            open.push(raw);
        }
        let begun = Instant::now();
        assert_eq!(server.get("/").text(), "Hello World!");
        assert!(begun.elapsed() < SOON, "after {:?}", begun.elapsed());
        drop(open);
        server.stop();
    });
}

/// One process group, whose requests are not counted; upgrades are.
#[test]
fn upgraded_connections_leave_the_last_threads_to_the_application() {
    case(Limit::default(), || {
        let site = Site::new();
        let backend = format!("http://{}/", upgrading_server());
        let mut server = Express::new()
            .path(&site.file("hello.py"))
            .args(&["--proxy-mount-point", "/ws", &backend])
            .args(&["--max-clients", "20"])
            .start();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
        let mut open = Vec::new();
        for _ in 0..25 {
            let (raw, line) = upgrade(address, "/ws");
            let wanted = if open.len() < 18 { " 101 " } else { " 503 " };
            assert!(line.contains(wanted), "{line} with {} open", open.len());
            if line.contains(" 101 ") {
                open.push(raw);
            }
        }
        let begun = Instant::now();
        assert_eq!(server.get("/").text(), "Hello World!");
        assert!(begun.elapsed() < SOON, "after {:?}", begun.elapsed());
        drop(open);
        eventually("upgrades are served again", Duration::from_secs(30), || {
            upgrade(address, "/ws").1.contains(" 101 ").then_some(())
        });
        server.stop();
    });
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    case(Limit::default(), || {
        let site = Site::new();
        let mut server = Express::new()
            .path(&site.file("hello.py"))
            .args(&["--header-timeout", "1", "--header-max-timeout", "2"])
            .start();
        let mut raw = Raw::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, server.port())));
        raw.send("GET / HTTP/1.1\r\nHost: localhost\r\nX-");
        raw.wait_for_close(Duration::from_secs(30));
        assert!(raw.text().contains(" 408 "), "{}", raw.text());
        server.stop();
    });
}
