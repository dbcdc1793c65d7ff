//! `wsgid requests`: the requests that are being served, the oldest first, and how many
//! wait where. Texts of a tenant end up on the terminal of an administrator: each in one
//! harmless line.

use std::process::ExitCode;

use serde::Serialize;
use wsgid_protocol::control::Command;
use wsgid_protocol::readable::{escaped, escaped_json};
use wsgid_protocol::status::{Status, WorkerStatus};

use crate::command::client::{self, ClientError, OneGroup, Socket};
use crate::command::print::say;
use crate::command::rows::{RequestRow, WaitingRequests, requests};
use crate::exit_code;

#[derive(Debug, clap::Args)]
pub(crate) struct Requests {
    #[command(flatten)]
    socket: Socket,
    /// Only those of this process group
    group: Option<String>,
    /// With the Python stack of each
    #[arg(long)]
    stack: bool,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Told<'s> {
    requests: Vec<RequestRow<'s>>,
    waiting: Vec<WaitingRequests<'s>>,
}

pub(crate) fn run(args: &Requests) -> ExitCode {
    let command = Command::Requests {
        group: args.group.clone(),
        stacks: args.stack,
    };
    match ask(args, &command) {
        Ok(status) if args.json => print_json(&status),
        Ok(status) => print(&status, args.stack),
        Err(error) => return error.report(),
    }
    ExitCode::from(exit_code::OK)
}

/// The groups of all supervisors that are meant.
fn ask(args: &Requests, command: &Command) -> Result<Status, ClientError> {
    if let Some(group) = args.group.clone() {
        let socket = args.socket.clone();
        return client::ask_owner(&OneGroup { socket, group }, command).map(|(_, status)| status);
    }
    let mut all = Status::default();
    for place in client::places(&args.socket)? {
        let status: Status = client::ask_at(&place, command)?;
        all.groups.extend(status.groups);
    }
    Ok(all)
}

fn print_json(status: &Status) {
    let told = Told {
        requests: requests(status),
        waiting: status.groups.iter().map(WaitingRequests::of).collect(),
    };
    // Texts and numbers alone always make JSON.
    let json = serde_json::to_string(&told).unwrap_or_default();
    say!("{}", escaped_json(&json));
}

fn print(status: &Status, stacks: bool) {
    let rows = requests(status);
    for row in &rows {
        print_row(row, stacks);
    }
    if rows.is_empty() {
        say!("no request is in flight");
    }
    for group in &status.groups {
        if let Some(text) = WaitingRequests::of(group).text() {
            say!("{}: {text}", escaped(group.name.as_bytes()));
        }
        let left_out: u64 = group.workers().map(left_out).fold(0, u64::saturating_add);
        if left_out > 0 {
            let name = escaped(group.name.as_bytes());
            say!("{name}: {left_out} more, of which nothing is told");
        }
        for worker in group.workers().filter(|worker| is_silent(worker)) {
            let name = escaped(group.name.as_bytes());
            say!(
                "{name}: worker {} does not answer now: its interpreter is locked, or it is stopped",
                worker.pid
            );
        }
    }
}

fn print_row(row: &RequestRow<'_>, stacks: bool) {
    let RequestRow { request, .. } = row;
    let application = match row.application_group {
        "" => String::new(),
        name => format!(" ({name})"),
    };
    say!(
        "{:>9.1} s  {} {}  {}{}  worker {} thread {}  {}",
        request.for_us as f64 / 1e6,
        escaped(request.method.as_bytes()),
        escaped(request.path.as_bytes()),
        escaped(row.group.as_bytes()),
        escaped(application.as_bytes()),
        row.worker,
        request.thread,
        request.activity.word(),
    );
    match &request.stack {
        Some(stack) => {
            for line in stack.lines() {
                say!("             {}", escaped(line.as_bytes()));
            }
        }
        None if stacks => {
            say!("             no stack: it has just ended, or the worker does not answer");
        }
        None => {}
    }
}

/// Requests that the worker counts and does not tell of: there are too many, or it is of
/// another release.
fn left_out(worker: &WorkerStatus) -> u64 {
    let told = worker.running.len() as u64;
    if worker.answers {
        worker.in_flight.saturating_sub(told)
    } else {
        0
    }
}

fn is_silent(worker: &WorkerStatus) -> bool {
    worker.is_ready() && !worker.answers
}
