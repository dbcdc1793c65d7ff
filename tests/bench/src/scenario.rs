//! What is measured: workload × shape × connections × pace. The quick plan takes
//! minutes, the full one more than an hour; the command line narrows either.

use anyhow::{Result, bail};

use crate::options::Options;
use crate::workload::{self, App, Shape, Workload};

/// How the load of a scenario is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Load {
    Closed,
    /// At this share of what mod_wsgi does in a closed loop, the same rate for all.
    Share(f64),
}

/// One row of the report for each peer.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) workload: &'static Workload,
    pub(crate) shape: Shape,
    pub(crate) connections: usize,
    pub(crate) load: Load,
}

impl Scenario {
    /// Scenarios with the same servers run together.
    pub(crate) fn server(&self) -> (App, Shape) {
        (self.workload.app, self.shape)
    }

    pub(crate) fn title(&self) -> String {
        let load = match self.load {
            Load::Closed => format!("{} connections", self.connections),
            Load::Share(share) => format!("open loop at {:.0} % of mod_wsgi's rate", share * 100.0),
        };
        format!("{} {}, {load}", self.workload.name, self.shape)
    }
}

/// Workload, shapes, connections.
type ClosedRow = (&'static str, &'static [(u32, u32)], &'static [usize]);
/// Workload, shapes, share of mod_wsgi's rate.
type OpenRow = (&'static str, &'static [(u32, u32)], f64);

const CLOSED: &[ClosedRow] = &[
    ("hello", &[(1, 1), (4, 1), (1, 15), (4, 5)], &[32]),
    ("flask", &[(4, 1)], &[32]),
    ("django", &[(4, 1)], &[32]),
    ("sleep", &[(1, 15)], &[64]),
    ("cpu", &[(4, 1)], &[8]),
    ("10k", &[(4, 1)], &[32]),
    ("1m", &[(4, 1)], &[8]),
    ("stream", &[(4, 1)], &[8]),
    ("download", &[(4, 1)], &[2]),
    ("file", &[(4, 1)], &[2]),
    ("upload-64k", &[(4, 1)], &[8]),
    ("upload", &[(4, 1)], &[2]),
];
const OPEN: &[OpenRow] = &[
    ("hello", &[(4, 1)], 0.7),
    ("mixed", &[(4, 5)], 0.7),
    ("mixed-io", &[(4, 5)], 0.7),
];
const SHAPES: &[(u32, u32)] = &[(1, 1), (1, 15), (4, 1), (4, 5), (8, 1)];
const CONNECTIONS: &[usize] = &[1, 8, 32, 256];
/// Enough that an open loop never waits for a free connection before the server's own queue is long.
const OPEN_CONNECTIONS: usize = 100;

/// The scenarios that were asked for.
pub(crate) fn choose(options: &Options) -> Result<Vec<Scenario>> {
    for name in &options.workloads {
        if workload::find(name).is_none() {
            let known: Vec<&str> = workload::ALL.iter().map(|workload| workload.name).collect();
            bail!("no workload `{name}`; known are {}", known.join(", "));
        }
    }
    let mut chosen = Vec::new();
    for scenario in plan(options)? {
        let wanted = options.workloads.is_empty()
            || options
                .workloads
                .iter()
                .any(|name| *name == scenario.workload.name);
        if wanted {
            chosen.push(scenario);
        }
    }
    // Servers that several scenarios share are started once.
    chosen.sort_by_key(Scenario::server);
    Ok(chosen)
}

fn plan(options: &Options) -> Result<Vec<Scenario>> {
    let mut all = Vec::new();
    for (name, shapes, connections) in CLOSED {
        let wide = options.full && matches!(*name, "hello" | "flask" | "django");
        let connections = match (&*options.connections, wide) {
            ([], true) if *name == "hello" => CONNECTIONS,
            ([], _) => connections,
            (given, _) => given,
        };
        for shape in shapes_of(options, if wide { SHAPES } else { shapes })? {
            for connections in connections {
                all.extend(scenario(name, shape, *connections, Load::Closed));
            }
        }
    }
    for (name, shapes, share) in OPEN {
        let shares: &[f64] = if options.full {
            &[0.5, 0.7, 0.9]
        } else {
            &[*share]
        };
        for shape in shapes_of(options, shapes)? {
            for share in shares {
                all.extend(scenario(name, shape, OPEN_CONNECTIONS, Load::Share(*share)));
            }
        }
    }
    Ok(all)
}

fn shapes_of(options: &Options, planned: &[(u32, u32)]) -> Result<Vec<Shape>> {
    if options.shapes.is_empty() {
        return Ok(planned
            .iter()
            .map(|(processes, threads)| Shape::new(*processes, *threads))
            .collect());
    }
    let read = |text: &String| {
        Shape::parse(text).ok_or_else(|| {
            anyhow::anyhow!("`{text}` is no shape; write processes x threads, as in 4x5")
        })
    };
    options.shapes.iter().map(read).collect()
}

fn scenario(name: &str, shape: Shape, connections: usize, load: Load) -> Option<Scenario> {
    let workload = workload::find(name)?;
    Some(Scenario {
        workload,
        shape,
        connections,
        load,
    })
}

#[cfg(test)]
mod tests {
    use super::{CLOSED, OPEN};
    use crate::workload;

    #[test]
    fn the_plan_names_workloads_that_exist() {
        for name in CLOSED
            .iter()
            .map(|row| row.0)
            .chain(OPEN.iter().map(|row| row.0))
        {
            assert!(workload::find(name).is_some(), "no workload `{name}`");
        }
    }

    #[test]
    fn every_workload_is_in_the_plan() {
        for workload in workload::ALL {
            let name = workload.name;
            assert!(
                CLOSED.iter().any(|row| row.0 == name) || OPEN.iter().any(|row| row.0 == name),
                "{name}"
            );
        }
    }
}
