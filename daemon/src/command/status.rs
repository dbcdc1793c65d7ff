//! `wsgid status`: all groups, one of them, or those that are broken; for people or as
//! JSON. Asks through `client`; does not know how it is printed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;
use wsgid_protocol::control::Command;
use wsgid_protocol::readable::{escaped, escaped_json};
use wsgid_protocol::status::{GroupState, Status};

use crate::command::client::{self, ClientError, Socket};
use crate::command::print::say;
use crate::command::print_status::print_status;
use crate::exit_code;
use wsgid_protocol::answers::{CommandError, ErrorAnswer};

/// What of the status is wanted.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusQuestion {
    #[command(flatten)]
    socket: Socket,
    /// Only this process group
    group: Option<String>,
    /// Only groups that are broken; ends with 1 if there are any
    #[arg(long)]
    failed: bool,
    /// Print the supervisor's answer as JSON
    #[arg(long)]
    json: bool,
    /// Print it as OpenMetrics, for Prometheus and its like
    #[arg(long, conflicts_with_all = ["json", "failed", "group"])]
    openmetrics: bool,
}

impl StatusQuestion {
    fn wants(&self, name: &str, state: GroupState) -> bool {
        (!self.failed || state.is_bad()) && self.names(name)
    }

    fn names(&self, name: &str) -> bool {
        self.group.as_ref().is_none_or(|own| own == name)
    }

    /// Whether this group is among them.
    fn wants_value(&self, group: &Value) -> bool {
        let name = group["name"].as_str().unwrap_or_default();
        let state = GroupState::ALL
            .iter()
            .find(|state| group["state"] == state.word());
        self.wants(name, state.copied().unwrap_or_default())
    }

    /// The word before a status among several.
    fn heading(&self, places: &[PathBuf], at: usize) {
        if places.len() > 1 && !self.json {
            let gap = if at > 0 { "\n" } else { "" };
            let place = escaped(places[at].as_os_str().as_encoded_bytes());
            say!("{gap}{place}");
        }
    }
}

/// What one supervisor has come to: how many of its groups are known by the name that was
/// asked for, and how many were shown.
#[derive(Default)]
struct Shown {
    named: usize,
    groups: usize,
}

/// `wsgid status`, of each supervisor that is found.
pub(crate) fn run(asked: &StatusQuestion) -> ExitCode {
    if asked.openmetrics {
        return client::metrics(&asked.socket);
    }
    let places = match client::places(&asked.socket) {
        Ok(places) => places,
        Err(error) => return error.report(),
    };
    let mut all = Shown::default();
    let mut code = None;
    for (at, place) in places.iter().enumerate() {
        asked.heading(&places, at);
        let shown = if asked.json {
            json(asked, place)
        } else {
            text(asked, place)
        };
        match shown {
            Ok(shown) => {
                all.named += shown.named;
                all.groups += shown.groups;
            }
            Err(error) => code = Some(error.report()),
        }
    }
    code.unwrap_or_else(|| match &asked.group {
        Some(group) if all.named == 0 => no_such(group),
        _ if asked.failed && all.groups > 0 => ExitCode::from(exit_code::FAILURE),
        _ => ExitCode::from(exit_code::OK),
    })
}

fn text(asked: &StatusQuestion, place: &Path) -> Result<Shown, ClientError> {
    let mut status: Status = client::ask_at(place, &Command::Status)?;
    let mut names = status.groups.iter().map(|group| &group.name);
    let named = names.by_ref().filter(|name| asked.names(name)).count();
    status
        .groups
        .retain(|group| asked.wants(&group.name, group.state));
    let groups = status.groups.len();
    if named > 0 || asked.group.is_none() {
        print_status(&status);
    }
    Ok(Shown { named, groups })
}

/// Also what only a newer release knows.
fn json(asked: &StatusQuestion, place: &Path) -> Result<Shown, ClientError> {
    let mut answer: Value = client::ask_at(place, &Command::Status)?;
    let mut shown = Shown::default();
    if let Some(groups) = answer.get_mut("groups").and_then(Value::as_array_mut) {
        let names = groups.iter().filter_map(|group| group["name"].as_str());
        shown.named = names.filter(|name| asked.names(name)).count();
        groups.retain(|group| asked.wants_value(group));
        shown.groups = groups.len();
    }
    if shown.named > 0 || asked.group.is_none() {
        say!("{}", escaped_json(&answer.to_string()));
    }
    Ok(shown)
}

fn no_such(group: &str) -> ExitCode {
    let error = CommandError::NoSuchGroup {
        group: group.to_owned(),
    };
    client::refuse(ErrorAnswer {
        kind: error.kind(),
        text: error.to_string(),
    })
}
