//! The server of these tests, and what its applications noted.

use std::thread;
use std::time::Duration;

use wsgid_tests::wire::{Addresses, transports};
use wsgid_tests::{Answer, Httpd, Json, Mpm, Transport, Wire, eventually};

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn wire(mpm: Mpm) -> Wire {
    Wire::start(mpm, |mut builder, site| {
        let stream = site.file("stream_cases.py");
        let options = |more: &str| format!("processes=1 {more} {}", site.python_path());
        // The proxy is the same server, by another of its ports.
        let behind = builder.another_port();
        let builder = ["deflate", "filter", "ratelimit", "proxy", "proxy_http"]
            .into_iter()
            .fold(builder, wsgid_tests::Builder::load)
            .daemon("brief", &options("threads=4 socket-timeout=2"))
            .daemon("narrow", &options("threads=1 queue-timeout=2"))
            .daemon(
                "tight",
                &options("threads=1 listen-backlog=1 connect-timeout=1"),
            )
            .daemon("single", &options("threads=1"))
            .daemon("wide", &options("threads=60"));
        let builder = ["brief", "narrow", "tight", "single", "wide"]
            .into_iter()
            .fold(builder, |builder, group| {
                builder.mount(&format!("/{group}"), &stream, group)
            });
        // One for each transport: a group that dies often comes back more slowly.
        let builder = transports(mpm).iter().fold(builder, |builder, transport| {
            let group = format!("fragile-{transport:?}");
            ["", "/deflated", "/limited"].into_iter().fold(
                builder.daemon(&group, &options("threads=4")),
                |builder, filter| builder.mount(&format!("{filter}/{group}"), &stream, &group),
            )
        });
        builder
            .line("<Location /deflated>\n  SetOutputFilter DEFLATE\n</Location>")
            .line("<Location /limited>\n  SetOutputFilter RATE_LIMIT\n  SetEnv rate-limit 400\n</Location>")
            .line(format!("ProxyPass /proxied http://127.0.0.1:{behind}"))
    })
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

pub(crate) fn events(httpd: &Httpd, mount: &str, id: &str) -> Vec<String> {
    let json = httpd.get(&format!("{mount}/events?id={id}")).json();
    json.as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .map(str::to_owned)
        .collect()
}

pub(crate) fn wait_for_event(httpd: &Httpd, id: &str, event: &str) -> Vec<String> {
    eventually(&format!("`{event}` of {id}"), SOON, || {
        let events = events(httpd, "/stream", id);
        events.iter().any(|have| have == event).then_some(events)
    })
}

/// The same question by all transports at once.
pub(crate) fn by_all(
    wire: &Addresses,
    mpm: Mpm,
    ask: impl Fn(&Addresses, Transport) -> Answer + Sync,
) -> Vec<(Transport, Answer)> {
    thread::scope(|scope| {
        let asked: Vec<_> = transports(mpm)
            .iter()
            .map(|transport| (*transport, scope.spawn(|| ask(wire, *transport))))
            .collect();
        asked
            .into_iter()
            .map(|(transport, thread)| (transport, thread.join().expect("it does not panic")))
            .collect()
    })
}

/// Waits until a group serves again.
pub(crate) fn serves(httpd: &Httpd, path: &str) {
    eventually(
        &format!("{path} is served again"),
        Duration::from_secs(20),
        || {
            httpd
                .client()
                .get(path)
                .ok()
                .filter(|response| response.status == 200)
        },
    );
}
