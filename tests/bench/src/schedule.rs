//! Runs scenarios: starts the servers of all peers side by side, then lets them
//! take turns, round after round, so that what else the machine does meets all alike.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::environment::{Environment, progress};
use crate::instance::Instance;
use crate::load::{Order, Pace};
use crate::measure::{Sample, turn};
use crate::options::Options;
use crate::peer::Peer;
use crate::process::{Memory, Role, bare_interpreter, memory};
use crate::recovery::{self, Outage, Reload};
use crate::scenario::{Load, Scenario};
use crate::syscalls;
use crate::workload::{App, Shape};

/// All that one scenario gave.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) scenario: Scenario,
    /// Requests a second that an open loop asked for.
    pub(crate) rate: Option<f64>,
    /// For each peer one sample a round.
    pub(crate) samples: BTreeMap<Peer, Vec<Sample>>,
    /// System calls for each request, if they were counted.
    pub(crate) syscalls: BTreeMap<Peer, syscalls::Count>,
}

/// Memory of one peer after its load.
#[derive(Debug)]
pub(crate) struct MemoryRow {
    pub(crate) peer: Peer,
    pub(crate) app: App,
    pub(crate) shape: Shape,
    pub(crate) by_role: BTreeMap<Role, Memory>,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) results: Vec<Finding>,
    pub(crate) memory: Vec<MemoryRow>,
    /// An interpreter with the same application imported and nothing else.
    pub(crate) bare: BTreeMap<App, Memory>,
    /// Deaths of the only worker.
    pub(crate) outages: BTreeMap<(App, Peer), Vec<Outage>>,
    /// New versions of the script.
    pub(crate) reloads: BTreeMap<(App, Peer), Vec<Reload>>,
}

/// Runs all scenarios; those that share servers must lie side by side.
pub(crate) fn run(
    options: &Options,
    environment: &Environment,
    peers: &[Peer],
    scenarios: &[Scenario],
) -> Result<Record> {
    let mut record = Record::default();
    for group in scenarios.chunk_by(|one, other| one.server() == other.server()) {
        let Some((app, shape)) = group.first().map(Scenario::server) else {
            continue;
        };
        let instances = start(environment, peers, group, app, shape);
        for scenario in group {
            progress(&format!("measuring {}", scenario.title()));
            match measure(options, &instances, scenario) {
                Ok(finding) => record.results.push(finding),
                Err(error) => progress(&format!("  left out: {error:#}")),
            }
        }
        bare(environment, app, &mut record);
        for instance in &instances {
            let by_role = memory(&instance.tree());
            record.memory.push(MemoryRow {
                peer: instance.peer,
                app,
                shape,
                by_role,
            });
            let complaints = instance.complaints();
            let unusual: Vec<&str> = complaints
                .lines()
                .filter(|line| !line.contains(":notice]"))
                .collect();
            if let Some(first) = unusual.first() {
                progress(&format!(
                    "  {}: {} lines in the error log, first: {first}",
                    instance.peer.name(),
                    unusual.len()
                ));
            }
        }
        if options.recovery && shape.processes == 1 {
            recovery(options, environment, &instances, group, &mut record);
        }
    }
    Ok(record)
}

fn bare(environment: &Environment, app: App, record: &mut Record) {
    match bare_interpreter(environment, app.module()) {
        Ok(memory) => drop(record.bare.insert(app, memory)),
        Err(error) => progress(&format!("  bare interpreter not measured: {error:#}")),
    }
}

/// Kills the only worker of each peer, again and again; touches the script of
/// those that look at it.
fn recovery(
    options: &Options,
    environment: &Environment,
    instances: &[Instance],
    group: &[Scenario],
    record: &mut Record,
) {
    let Some(scenario) = group.first() else {
        return;
    };
    let app = scenario.workload.app;
    let path = scenario.workload.ask.path;
    let script = environment.apps().join(format!("{}.py", app.module()));
    for _ in 0..options.rounds() {
        for instance in instances
            .iter()
            .filter(|instance| !matches!(instance.peer, Peer::Floor | Peer::Limit | Peer::Static))
        {
            let complain = |error| progress(&format!("  {}: {error:#}", instance.peer.name()));
            match recovery::measure(instance, path) {
                Ok(outage) => record
                    .outages
                    .entry((app, instance.peer))
                    .or_default()
                    .push(outage),
                Err(error) => complain(error),
            }
            if !matches!(instance.peer, Peer::ModWsgid | Peer::Other | Peer::ModWsgi) {
                continue;
            }
            match recovery::reload(instance, &script, path) {
                Ok(reload) => record
                    .reloads
                    .entry((app, instance.peer))
                    .or_default()
                    .push(reload),
                Err(error) => complain(error),
            }
        }
    }
}

/// Starts all peers that can serve any of the scenarios; one that fails is left out, with its reason.
fn start(
    environment: &Environment,
    peers: &[Peer],
    group: &[Scenario],
    app: App,
    shape: Shape,
) -> Vec<Instance> {
    let mut instances = Vec::new();
    for peer in peers {
        let Some(scenario) = group.iter().find(|scenario| peer.serves(scenario.workload)) else {
            continue;
        };
        match Instance::start(*peer, environment, app, shape, scenario.workload.ask.path) {
            Ok(instance) => instances.push(instance),
            Err(error) => progress(&format!("left out: {} {shape}: {error:#}", peer.name())),
        }
    }
    instances
}

fn measure(options: &Options, instances: &[Instance], scenario: &Scenario) -> Result<Finding> {
    let able: Vec<&Instance> = instances
        .iter()
        .filter(|instance| instance.peer.serves(scenario.workload))
        .collect();
    let rate = match scenario.load {
        Load::Closed => None,
        Load::Share(share) => Some(share * reference_rate(options, &able, scenario)?),
    };
    let mut result = Finding {
        scenario: scenario.clone(),
        rate,
        samples: BTreeMap::new(),
        syscalls: BTreeMap::new(),
    };
    let pace = rate.map_or(Pace::Closed, |rate| Pace::Open { rate });
    for round in 0..options.rounds() {
        for position in 0..able.len() {
            // Another peer begins each round: none always follows the same one.
            let Some(instance) = able.get((position + round) % able.len()) else {
                continue;
            };
            let order = order(options, instance, scenario, pace, round as u64 + 1);
            match turn(instance, scenario.workload, order) {
                Ok(sample) => result
                    .samples
                    .entry(instance.peer)
                    .or_default()
                    .push(sample),
                Err(error) => progress(&format!("  {}: {error:#}", instance.peer.name())),
            }
        }
    }
    if options.syscalls {
        for instance in &able {
            let order = order(options, instance, scenario, pace, 99);
            match syscalls::count(instance, scenario.workload, order) {
                Ok(count) => drop(result.syscalls.insert(instance.peer, count)),
                Err(error) => progress(&format!(
                    "  system calls of {} not counted: {error:#}",
                    instance.peer.name()
                )),
            }
        }
    }
    Ok(result)
}

/// What mod_wsgi (or who is there instead) does in a closed loop.
fn reference_rate(options: &Options, able: &[&Instance], scenario: &Scenario) -> Result<f64> {
    let reference = able
        .iter()
        .find(|instance| instance.peer == Peer::ModWsgi)
        .or_else(|| {
            able.iter()
                .find(|instance| !matches!(instance.peer, Peer::Floor | Peer::Limit | Peer::Static))
        })
        .context("no peer is left to take the rate from")?;
    let closed = Scenario {
        connections: 32,
        ..scenario.clone()
    };
    let mut rates = Vec::new();
    for round in 0..3 {
        let order = order(options, reference, &closed, Pace::Closed, round + 1);
        rates.push(turn(reference, scenario.workload, order)?.rps);
    }
    rates.sort_by(f64::total_cmp);
    rates.get(1).copied().context("no rate")
}

fn order(
    options: &Options,
    instance: &Instance,
    scenario: &Scenario,
    pace: Pace,
    seed: u64,
) -> Order {
    Order {
        address: instance.address,
        connections: scenario.connections,
        pace,
        length: options.turn(),
        seed,
    }
}
