//! Children of httpd that come and go all the time.

use std::time::Duration;

use wsgid_tests::wait::let_run;
use wsgid_tests::{Limit, Load, Mpm, Site, eventually, heavy_on_every_mpm};

use crate::server::{HELLO, SOON, builder};

/// Configurations of this MPM with which children end all the time.
fn churn(mpm: Mpm) -> &'static [&'static [&'static str]] {
    match mpm {
        Mpm::Event => &[
            &[
                "ThreadsPerChild 1",
                "MaxRequestWorkers 8",
                "MaxConnectionsPerChild 20",
            ],
            &[
                "ThreadsPerChild 64",
                "MaxRequestWorkers 512",
                "MinSpareThreads 1",
                "MaxSpareThreads 65",
                "MaxConnectionsPerChild 5",
            ],
        ],
        Mpm::Worker => &[&[
            "ThreadsPerChild 8",
            "MaxRequestWorkers 64",
            "MinSpareThreads 1",
            "MaxSpareThreads 9",
            "MaxConnectionsPerChild 5",
        ]],
        Mpm::Prefork => &[&[
            "MinSpareServers 1",
            "MaxSpareServers 2",
            "MaxConnectionsPerChild 5",
        ]],
    }
}

#[test]
fn children_of_httpd_that_come_and_go_lose_nothing() {
    heavy_on_every_mpm(Limit::seconds(240), |mpm| {
        for lines in churn(mpm) {
            children_come_and_go(mpm, lines);
        }
    });
}

fn children_come_and_go(mpm: Mpm, lines: &[&str]) {
    let site = Site::new();
    let builder = builder(mpm, &site, &[("site", "processes=2 threads=5")]);
    let httpd = lines
        .iter()
        .fold(builder, |builder, line| builder.line(*line))
        .start();
    assert_eq!(httpd.get("/site/hello").text(), HELLO);
    let workers = httpd.wait_for_workers(2, SOON);
    let supervisor = httpd.supervisor();
    let children = httpd.pid().children();
    let load = |connections| Load::new(httpd.address(), "/site/hello", connections).expect(HELLO);
    let kept = load(3).start();
    let fresh = load(4).fresh_connections().start();
    eventually("the end of a child", SOON, || {
        children.iter().any(|child| !child.alive()).then_some(())
    });
    let_run(Duration::from_secs(2));
    for tally in [fresh.stop(), kept.stop()] {
        // The event MPM resets connections when a child of one thread ends, also those
        // that ask for a file; nothing else may happen there, and nothing at all elsewhere.
        let resets = if lines.contains(&"ThreadsPerChild 1") {
            tally.of_kind("closed without a response")
        } else {
            0
        };
        assert!(
            tally.ok > 0 && tally.failed() == resets,
            "{lines:?}: {tally:?}"
        );
    }
    assert_eq!(
        (httpd.workers(), httpd.supervisor()),
        (workers, supervisor),
        "{lines:?}"
    );
    httpd.stop();
}
