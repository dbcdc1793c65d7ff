//! `wsgid-bench`: mod_wsgid and its peers behind the same httpd, measured in
//! interleaved rounds. Prints a table and writes it with plots and raw samples.
//! No figure decides anything here: the reader judges, no test gates on it.

mod account;
mod environment;
mod instance;
mod load;
mod machine;
mod many;
mod measure;
mod neighbour;
mod network;
mod options;
mod peer;
mod peers;
mod process;
mod recovery;
mod report;
mod scenario;
mod schedule;
mod service;
mod statistic;
mod syscalls;
mod workload;

use std::io::{Write, stdout};

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::environment::{Environment, progress};
use crate::instance::Instance;
use crate::options::Options;
use crate::peer::Peer;
use crate::process::ROLES;
use crate::scenario::Scenario;

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(count) = options.groups {
        return many::run(count);
    }
    if options.neighbour {
        return neighbour::run(&options);
    }
    let scenarios = scenario::choose(&options)?;
    if options.list {
        for scenario in &scenarios {
            writeln!(
                stdout(),
                "{:60} {}",
                scenario.title(),
                scenario.workload.what
            )?;
        }
        return Ok(());
    }
    if scenarios.is_empty() {
        bail!("nothing to measure: none of the scenarios was chosen (see --list)");
    }
    let environment = Environment::prepare(&options)?;
    if let Some(peer) = options.hold {
        return hold(peer, &environment, &scenarios);
    }
    let peers = build(&options, &environment);
    if peers.is_empty() {
        bail!("no peer is left to be measured");
    }
    // Only now: what is installed comes over the machine's own network.
    if let Err(error) = network::isolate() {
        progress(&format!(
            "on the machine's own network, TCP congestion control {}: {error:#}",
            network::congestion()
        ));
    }
    let record = schedule::run(&options, &environment, &peers, &scenarios)?;
    let machine = machine::describe(&environment);
    let text = report::write(&options, &machine, &peers, &record)?;
    writeln!(stdout(), "{text}")?;
    progress(&format!("written to {}", options.output.display()));
    Ok(())
}

/// Builds the chosen peers; one that cannot be built is left out.
fn build(options: &Options, environment: &Environment) -> Vec<Peer> {
    let mut wanted = if options.peers.is_empty() {
        Peer::all()
    } else {
        options.peers.clone()
    };
    if options.against.is_some() && !wanted.contains(&Peer::Other) {
        wanted.push(Peer::Other);
    }
    wanted.retain(|peer| match peer.build(environment) {
        Ok(()) => true,
        Err(error) => {
            progress(&format!("left out: {}: {error:#}", peer.name()));
            false
        }
    });
    wanted
}

/// Keeps one server running, for a profiler or a look by hand.
fn hold(peer: Peer, environment: &Environment, scenarios: &[Scenario]) -> Result<()> {
    let scenario = scenarios.first().context("no scenario was chosen")?;
    peer.build(environment)?;
    let (app, shape) = scenario.server();
    let instance = Instance::start(peer, environment, app, shape, scenario.workload.ask.path)?;
    let tree = instance.tree();
    for role in ROLES {
        let pids: Vec<String> = tree
            .pids()
            .iter()
            .filter(|process| process.role == role)
            .map(|process| process.pid.to_string())
            .collect();
        writeln!(stdout(), "{role:?}: {}", pids.join(" "))?;
    }
    writeln!(
        stdout(),
        "{} at http://{}{}",
        peer.name(),
        instance.address,
        scenario.workload.ask.path
    )?;
    std::io::stdin().read_line(&mut String::new())?;
    let complaints = instance.complaints();
    write!(stdout(), "{complaints}")?;
    Ok(())
}
