//! `mod_wsgi.request_metrics()`: what was served since it was asked last. Filled
//! by `application` once per request after `start_recording_metrics`, emptied by
//! `Core` on behalf of the Python module, which adds what it knows itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::lock;
use crate::meter::{Cpu, Traffic};

/// Buckets of a histogram: sixteen octaves from 1 ms, each in four equal parts,
/// the first with all that is shorter, and one for all that is longer.
const BUCKETS: usize = 16 * 4 + 1;

/// The phases of a request, as their names begin in the result.
const PHASES: [&str; 8] = [
    "server_time",
    "queue_time",
    "daemon_time",
    "application_time",
    "request_time",
    "gil_wait_time",
    "input_read_time",
    "output_write_time",
];

/// One request that has ended.
pub(crate) struct Sample {
    pub(crate) slot: usize,
    pub(crate) status: u16,
    /// Microseconds, in the order of `PHASES`.
    pub(crate) phases: [u64; PHASES.len()],
    pub(crate) cpu: Cpu,
    pub(crate) input: Traffic,
    pub(crate) output: Traffic,
}

struct PhaseHistogram {
    sum: u64,
    min: u64,
    max: u64,
    buckets: [u32; BUCKETS],
}

impl Default for PhaseHistogram {
    fn default() -> Self {
        Self {
            sum: 0,
            min: u64::MAX,
            max: 0,
            buckets: [0; BUCKETS],
        }
    }
}

impl PhaseHistogram {
    fn add(&mut self, micros: u64) {
        self.sum += micros;
        self.min = self.min.min(micros);
        self.max = self.max.max(micros);
        if let Some(count) = self.buckets.get_mut(bucket(micros)) {
            *count += 1;
        }
    }
}

fn bucket(micros: u64) -> usize {
    let Some(octave) = (micros / 1000).checked_ilog2() else {
        return 0;
    };
    let quarter = (micros * 4 / (1000 << octave.min(40)))
        .saturating_sub(4)
        .min(3);
    usize::try_from(u64::from(octave) * 4 + quarter)
        .unwrap_or(usize::MAX)
        .min(BUCKETS - 1)
}

#[derive(Clone, Copy, Default)]
struct Share {
    completed: u64,
    busy: u64,
    cpu: u64,
    longest: u64,
}

#[derive(Default)]
struct Period {
    count: u64,
    phases: [PhaseHistogram; PHASES.len()],
    statuses: [u64; 5],
    input: Traffic,
    output: Traffic,
    threads: Vec<Share>,
}

/// The counts since they were asked for last.
#[derive(Default)]
pub(crate) struct RequestMetrics {
    recording: AtomicBool,
    period: Mutex<Period>,
}

impl RequestMetrics {
    pub(crate) fn start(&self) {
        self.recording.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, sample: &Sample) {
        let mut period = lock::detached(&self.period);
        period.count += 1;
        for (phase, micros) in period.phases.iter_mut().zip(sample.phases) {
            phase.add(micros);
        }
        let class = usize::from(sample.status / 100).wrapping_sub(1);
        if let Some(count) = period.statuses.get_mut(class) {
            *count += 1;
        }
        period.input.add(sample.input);
        period.output.add(sample.output);
        if period.threads.len() <= sample.slot {
            period.threads.resize(sample.slot + 1, Share::default());
        }
        if let Some(share) = period.threads.get_mut(sample.slot) {
            let [_, _, _, application, ..] = sample.phases;
            share.completed += 1;
            share.busy += application;
            share.cpu += sample.cpu.user + sample.cpu.system;
            share.longest = share.longest.max(application);
        }
    }

    /// Takes what has gathered, under the names of mod_wsgi.
    pub(crate) fn take(
        &self,
        py: Python<'_>,
        threads: usize,
        elapsed: &[f64],
    ) -> PyResult<Py<PyDict>> {
        let mut period = std::mem::take(&mut *lock::detached(&self.period));
        period.threads.resize(threads, Share::default());
        let result = PyDict::new(py);
        result.set_item("request_count", period.count)?;
        for (name, phase) in PHASES.into_iter().zip(&period.phases) {
            let mean = if period.count == 0 {
                0.0
            } else {
                seconds(phase.sum) / period.count as f64
            };
            result.set_item(name, mean)?;
            let is_known = period.count > 0;
            result.set_item(format!("{name}_min_us"), is_known.then_some(phase.min))?;
            result.set_item(format!("{name}_max_us"), is_known.then_some(phase.max))?;
            result.set_item(format!("{name}_buckets"), phase.buckets.to_vec())?;
        }
        for (class, count) in (1..).zip(period.statuses) {
            result.set_item(format!("status_{class}xx"), count)?;
        }
        result.set_item("gil_wait_count", 0)?;
        result.set_item("input_reads", period.input.calls)?;
        result.set_item("input_bytes", period.input.bytes)?;
        result.set_item("output_writes", period.output.calls)?;
        result.set_item("output_bytes", period.output.bytes)?;
        let shares = &period.threads;
        let completed: Vec<u64> = shares.iter().map(|share| share.completed).collect();
        result.set_item("request_threads_completed", &completed)?;
        result.set_item("request_threads_buckets", completed)?;
        let busy: Vec<f64> = shares.iter().map(|share| seconds(share.busy)).collect();
        result.set_item("request_threads_busy_time", busy)?;
        let cpu: Vec<f64> = shares.iter().map(|share| seconds(share.cpu)).collect();
        result.set_item("request_threads_cpu_time", cpu)?;
        let longest: Vec<f64> = shares.iter().map(|share| seconds(share.longest)).collect();
        result.set_item("request_threads_max_duration", longest)?;
        result.set_item("request_threads_current_elapsed", elapsed)?;
        let active = shares
            .iter()
            .zip(elapsed)
            .filter(|(share, now)| share.completed > 0 || **now > 0.0);
        result.set_item("request_threads_active", active.count())?;
        Ok(result.unbind())
    }
}

pub(crate) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
