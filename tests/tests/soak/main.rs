//! Mixed load while everything is touched, killed and restarted: `make soak`
//! for long, a minute of it in every run of the tests.
//!
//! Every request has an id, and the application writes down which process began
//! it. So a failure counts as explained only if the very process that had begun
//! the request was killed; and an id that was begun twice was repeated wrongly.
//! `WSGID_SOAK_SECONDS` and `WSGID_SOAK_SEED` say how long and which chaos,
//! `WSGID_SOAK_ONLY` a part of the names of disturbances.

mod chaos;
mod clients;
mod record;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wsgid_tests::{
    Httpd, Limit, Site, artifacts, control, eventually, heavy_case, note, pattern, users,
};

use chaos::Chaos;
use clients::Kind;
use record::{Record, Verdict};

const SCRIPT: &str = include_str!("../../apps/soak_cases.py");
const SOON: Duration = Duration::from_secs(60);

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// A group of the ordinary kind, one whose workers are replaced all the time,
/// one whose workers are forked, and one that comes and goes with its requests.
fn serve(site: &Site) -> Httpd {
    let script = site.write("app.py", SCRIPT);
    // What has no worker that works cannot outlast a script that does not load.
    let demand = site.write("demand.py", SCRIPT);
    let journal = site.write("journal", "");
    users::give(&journal, &users::of_httpd());
    let mib = pattern_bytes(1 << 20);
    fs::write(site.file("pattern.bin"), mib).expect("a file of the site can be written");
    let path = site.python_path();
    Httpd::builder()
        .daemon("site", &format!("processes=2 threads=4 {path}"))
        .daemon(
            "replaced",
            &format!("processes=2 threads=2 maximum-requests=40 maximum-requests-jitter=20 {path}"),
        )
        .daemon(
            "forked",
            &format!("processes=2 threads=2 preload=On maximum-requests=40 {path}"),
        )
        .daemon(
            "demand",
            &format!("processes=0..2 threads=1 idle-stop=1 {path}"),
        )
        .mount("/replaced", &script, "replaced")
        .mount("/forked", &script, "forked")
        .mount("/demand", &demand, "demand")
        .mount("/", &script, "site")
        .start()
}

fn pattern_bytes(len: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < len {
        bytes.extend_from_slice(pattern::piece(bytes.len() as u64, len - bytes.len() as u64));
    }
    bytes
}

#[test]
fn nothing_is_lost_twice_done_or_cut_short() {
    let time = Duration::from_secs(number("WSGID_SOAK_SECONDS").unwrap_or(60));
    let seed = number("WSGID_SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    heavy_case(Limit(time + Duration::from_secs(180)), move || {
        let site = Site::new();
        let mut httpd = serve(&site);
        let record = Arc::new(Record::new());
        let mut clients = Vec::new();
        for (at, kind, count) in [
            ("", Kind::Kept, 3),
            ("", Kind::Fresh, 1),
            ("", Kind::Post, 2),
            ("", Kind::Upload, 1),
            ("", Kind::Echo, 1),
            ("", Kind::Stream, 1),
            ("", Kind::File, 1),
            ("", Kind::Slow, 2),
            ("/replaced", Kind::Kept, 1),
            ("/replaced", Kind::Post, 1),
            ("/forked", Kind::Kept, 1),
            ("/forked", Kind::Post, 1),
            ("/demand", Kind::Rare, 1),
        ] {
            clients.extend((0..count).map(|_| clients::start(httpd.address(), at, kind, &record)));
        }
        let chaos = Chaos::new(seed, &record).run(&mut httpd, &site, Instant::now() + time);
        record.stop();
        clients
            .into_iter()
            .for_each(|client| client.join().expect("a client ends"));
        let journal = fs::read_to_string(site.file("journal")).expect("the journal is there");
        let mut verdict = record.judge(&journal, &httpd.access_log());
        verdict.troubles.extend(
            Chaos::missing(&chaos, time)
                .into_iter()
                .map(|name| format!("never done: {name}")),
        );
        // A child of httpd that crashes takes no request with it that a client could not send again.
        let crashed = |line: &&str| {
            ["exit signal", "panicked", "AH00052"]
                .iter()
                .any(|sign| line.contains(sign))
        };
        verdict
            .troubles
            .extend(httpd.error_log().lines().filter(crashed).map(str::to_owned));
        note(&format!("seed {seed}: {verdict}"));
        if !verdict.troubles.is_empty() {
            let kept = keep(&httpd, &site, &verdict, &chaos);
            panic!(
                "seed {seed}: {verdict}\n{}\nall logs: {}",
                verdict.first(),
                kept.display()
            );
        }
        settle(&httpd);
        httpd.stop();
    });
}

/// Everything that can explain a failure, where it outlives the test.
fn keep(httpd: &Httpd, site: &Site, verdict: &Verdict, chaos: &[String]) -> PathBuf {
    let directory = artifacts::target_directory()
        .join("wsgid-tests")
        .join("soak");
    fs::create_dir_all(&directory).expect("the target directory can be written");
    let write =
        |name: &str, text: &str| fs::write(directory.join(name), text).expect("a log can be kept");
    write("troubles", &verdict.troubles.join("\n"));
    write("chaos", &chaos.join("\n"));
    for name in ["error.log", "access.log", "stderr.log"] {
        let _ = fs::copy(httpd.root().join(name), directory.join(name));
    }
    let _ = fs::copy(site.file("journal"), directory.join("journal"));
    directory
}

/// With the load gone, nothing is left of what has been.
fn settle(httpd: &Httpd) {
    let supervisor = eventually("a supervisor", SOON, || httpd.supervisor());
    eventually("two workers of each group", SOON, || {
        let whole =
            |group| control::workers(httpd, group).is_some_and(|workers| workers.len() == 2);
        ["site", "replaced", "forked"]
            .into_iter()
            .all(whole)
            .then_some(())
    });
    let open = || supervisor.descriptors().len();
    eventually("the end of old connections", SOON, || {
        (open() < 150).then_some(())
    });
    note(&format!(
        "at the end: supervisor {} KiB, {} descriptors",
        supervisor.resident() / 1024,
        open()
    ));
}
