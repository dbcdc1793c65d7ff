//! Reads `?openmetrics`, once or again and again, and sees whether anything that only grows
//! has fallen.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wsgid_tests::{Client, Httpd, wait};

/// The samples by name and labels, as they stand in the text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    fn read(text: &str) -> Self {
        assert!(text.ends_with("# EOF\n"), "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
            (name.to_owned(), value.parse().expect("a number"))
        };
        Self(lines.map(sample).collect())
    }

    fn named(&self, name: &str) -> impl Iterator<Item = (&String, f64)> {
        let samples = self.0.iter();
        samples
            .filter(move |(sample, _)| sample.split('{').next() == Some(name))
            .map(|(sample, value)| (sample, *value))
    }

    /// All samples of this name together.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.named(name).map(|(_, value)| value).sum()
    }

    /// Those that have this value of a label.
    pub(crate) fn of(&self, name: &str, label: &str) -> f64 {
        let quoted = format!("=\"{label}\"");
        let samples = self.named(name);
        samples
            .filter(|(sample, _)| sample.contains(&quoted))
            .map(|(_, value)| value)
            .sum()
    }

    /// What must not fall: all that is counted of a group.
    fn growing(&self) -> impl Iterator<Item = (&String, f64)> {
        let ends = ["_total", "_count", "_sum", "_bucket", "_created"];
        let samples = self.0.iter();
        samples
            .filter(move |(sample, _)| {
                let name = sample.split('{').next().unwrap_or_default();
                ends.iter().any(|end| name.ends_with(end)) && !sample.contains("pid=")
            })
            .map(|(sample, value)| (sample, *value))
    }

    /// What has fallen, or is there no more.
    fn fallen_since(&self, before: &Self) -> Vec<String> {
        let fell = |(sample, was): (&String, f64)| {
            let now = self.0.get(sample).copied();
            (now.is_none_or(|now| now < was)).then(|| format!("{sample}: {was}, then {now:?}"))
        };
        before.growing().filter_map(fell).collect()
    }
}

pub(crate) fn scrape(httpd: &Httpd) -> Scrape {
    let answer = wait::eventually("the metrics", Duration::from_secs(20), || {
        let answer = httpd.client().get("/groups?openmetrics").ok()?;
        (answer.status == 200).then_some(answer)
    });
    Scrape::read(&answer.text())
}

/// Scrapes five times a second until it is stopped.
pub(crate) struct Scraper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u32>,
}

impl Scraper {
    pub(crate) fn start(httpd: &Httpd) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let address = httpd.address();
        let thread = thread::spawn(move || run(address, &stopped));
        Self { stop, thread }
    }

    /// How often there was an answer.
    ///
    /// # Panics
    /// If anything has fallen.
    pub(crate) fn stop(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(scrapes) => scrapes,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn run(address: SocketAddr, stop: &AtomicBool) -> u32 {
    let mut before = Scrape::default();
    let mut scrapes = 0;
    while !stop.load(Ordering::Relaxed) {
        // Without a supervisor there is no answer; that is a gap.
        let answer = Client::new(address).get("/groups?openmetrics");
        if let Some(answer) = answer.ok().filter(|answer| answer.status == 200) {
            let now = Scrape::read(&answer.text());
            if now.sum("wsgid_requests_total") > 0.0 {
                let fallen = now.fallen_since(&before);
                assert!(fallen.is_empty(), "{fallen:#?}");
                before = now;
                scrapes += 1;
            }
        }
        wait::let_run(Duration::from_millis(200));
    }
    scrapes
}
