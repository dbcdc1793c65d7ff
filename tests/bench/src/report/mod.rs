//! Writes what was measured: a markdown page with tables, plots, and the raw samples.

mod plot;
mod samples;
mod table;

use std::fs;

use anyhow::{Context, Result};

use crate::options::Options;
use crate::peer::Peer;
use crate::schedule::Record;

/// Writes all files; gives the page back for the terminal.
pub(crate) fn write(
    options: &Options,
    machine: &[String],
    peers: &[Peer],
    record: &Record,
) -> Result<String> {
    let directory = &options.output;
    fs::create_dir_all(directory)
        .with_context(|| format!("failed to create `{}`", directory.display()))?;
    let mut plots = Vec::new();
    for group in plot::groups(record) {
        let name = format!("{}.svg", group.name);
        fs::write(directory.join(&name), plot::bars(&group))?;
        plots.push((name, group.title));
    }
    let page = table::page(options, machine, peers, record, &plots);
    fs::write(directory.join("results.md"), &page)?;
    fs::write(directory.join("samples.csv"), samples::csv(record))?;
    Ok(page)
}
