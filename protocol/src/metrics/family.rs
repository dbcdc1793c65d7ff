//! What a family of metrics is, what its samples are made of, and how one is written. Used
//! by `table.rs`, which has them, and by `mod.rs`, which writes them all.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use crate::readable::escaped_lines;
use crate::status::{GroupStatus, PoolStatus, Status, WorkerStatus};
use crate::totals::{DurationTotals, GroupTotals};

/// Powers of two of microseconds that are edges of buckets: 128 µs to 134 s.
const EDGES: std::ops::RangeInclusive<usize> = 7..=27;

/// What a family of metrics is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Goes up and down.
    Gauge,
    /// Only grows.
    Counter,
    /// Counts by size.
    Histogram,
    /// A text in a label.
    Info,
}

/// A family of metrics.
#[derive(Clone, Copy, Debug)]
pub struct MetricFamily {
    /// Its name, without what a kind adds at the end.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// The labels of each of its metrics.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
    pub(super) samples: fn(&Facts<'_>, &mut Samples<'_>),
}

impl MetricFamily {
    /// The name as it is asked for.
    pub fn full_name(&self) -> String {
        let suffix = match self.kind {
            MetricKind::Gauge | MetricKind::Histogram => "",
            MetricKind::Counter => "_total",
            MetricKind::Info => "_info",
        };
        format!("{}{suffix}", self.name)
    }
}

/// Threads of httpd, all children together, as the module alone knows them.
#[derive(Clone, Debug, Default)]
pub struct HttpdThreads {
    /// By the name of the group: how many serve its requests, and how many wait until they
    /// may begin.
    pub groups: BTreeMap<String, (u32, u32)>,
    /// MaxRequestWorkers.
    pub most: u32,
}

pub(super) struct Facts<'s> {
    pub(super) status: &'s Status,
    pub(super) httpd: Option<&'s HttpdThreads>,
}

impl<'s> Facts<'s> {
    pub(super) fn totals(&self) -> impl Iterator<Item = (&'s GroupStatus, &'s GroupTotals)> {
        let groups = self.status.groups.iter();
        groups.filter_map(|group| Some((group, group.totals.as_ref()?)))
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = (&'s GroupStatus, &'s PoolStatus)> {
        let groups = self.status.groups.iter();
        groups.flat_map(|group| group.pools.iter().map(move |pool| (group, pool)))
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = ([&'s str; 2], &'s WorkerStatus)> {
        self.pools().flat_map(|(group, pool)| {
            let names = [group.name.as_str(), pool.application_group.as_str()];
            pool.workers.iter().map(move |worker| (names, worker))
        })
    }
}

/// Where the samples of a family go.
pub(super) struct Samples<'o> {
    pub(super) family: &'o MetricFamily,
    pub(super) out: &'o mut String,
}

impl Samples<'_> {
    pub(super) fn line(
        &mut self,
        suffix: &str,
        labels: &[&str],
        more: Option<(&str, &str)>,
        value: impl Display,
    ) {
        self.out.push_str(self.family.name);
        self.out.push_str(suffix);
        let named = self
            .family
            .labels
            .iter()
            .copied()
            .zip(labels.iter().copied());
        let mut separator = '{';
        for (name, value) in named.chain(more) {
            let _ = write!(self.out, "{separator}{name}=\"{}\"", label(value));
            separator = ',';
        }
        if separator == ',' {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    pub(super) fn gauge(&mut self, labels: &[&str], value: impl Display) {
        self.line("", labels, None, value);
    }

    pub(super) fn counter(&mut self, labels: &[&str], value: impl Display, since: Option<u64>) {
        self.line("_total", labels, None, value);
        if let Some(since) = since {
            self.line("_created", labels, None, since);
        }
    }

    pub(super) fn histogram(&mut self, labels: &[&str], durations: &DurationTotals, since: u64) {
        let mut below = 0;
        let mut counts = durations.histogram.iter().enumerate().peekable();
        for edge in EDGES {
            while let Some((_, count)) = counts.next_if(|(power, _)| *power <= edge) {
                below = u64::saturating_add(below, *count);
            }
            let seconds = ((1_u64 << edge) as f64 / 1e6).to_string();
            self.line("_bucket", labels, Some(("le", &seconds)), below);
        }
        let all = counts.fold(below, |all, (_, count)| all.saturating_add(*count));
        self.line("_bucket", labels, Some(("le", "+Inf")), all);
        self.line("_count", labels, None, all);
        self.line("_sum", labels, None, seconds(durations.sum_us));
        self.line("_created", labels, None, since);
    }
}

/// The value of a label.
fn label(text: &str) -> String {
    escaped_lines(text)
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
