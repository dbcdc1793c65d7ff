//! `wsgid check`: reads the configuration as a supervisor would, and tries
//! each group in a process of its own as the group's user: can its directory
//! be entered, does its Python run, can its scripts be read, and are they Python?
//! A group with isolation is loaded once in it, and what that denied is named.
//! Says in words what is wrong. Nothing is started that stays.
#![expect(clippy::print_stderr, reason = "this is the command line")]

mod calls;
mod denied;
mod enter;
mod failed_calls;
mod found;
mod hints;
mod load;
mod outside;
mod probe;
mod step;
mod trace;
mod users;

use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::text;

pub(crate) use self::found::Found;
use self::found::Probe;
pub(crate) use self::load::Surroundings;
use self::step::CheckStep;
use crate::command::print::say;
use crate::config::InForce;
use crate::config::standalone::{self, AS_HTTPD, Source};
use crate::exit_code;
use crate::process::{cgroup, identity};

/// How long one group may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(40);

/// Arguments of `wsgid check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The wsgid.toml to check
    #[arg(long, value_name = "FILE", default_value = "/etc/wsgid/wsgid.toml")]
    config: PathBuf,
    /// Check this process group alone
    group: Option<String>,
    #[command(flatten)]
    loading: Loading,
    /// Take one step with a group that is read from standard input (it uses this itself)
    #[arg(long, hide = true)]
    step: Option<CheckStep>,
    /// Number of the descriptor that the step writes its record to
    #[arg(long, hide = true)]
    record: Option<RawFd>,
}

/// Arguments about applications of groups with isolation.
#[derive(Debug, clap::Args)]
pub(crate) struct Loading {
    /// Do not load the applications of groups with isolation
    #[arg(long)]
    no_load: bool,
    /// How long one application may take to load
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    load_timeout: u64,
}

impl Loading {
    /// How long a load may take, if there is to be one.
    pub(crate) fn limit(&self) -> Option<Duration> {
        (!self.no_load).then_some(Duration::from_secs(self.load_timeout))
    }
}

/// Runs the command.
pub(crate) fn run(args: &Check) -> ExitCode {
    match args.step {
        Some(CheckStep::Probe) => return probe::run(),
        Some(CheckStep::Trace) => return trace::run(),
        Some(CheckStep::Enter) => return enter::run(args.record),
        None => {}
    }
    let limit = args.loading.limit();
    let read = match Source::new(&args.config)
        .map_err(|error| error.to_string())
        .and_then(|source| source.read(&InForce::new()))
    {
        Ok(read) => read,
        Err(problem) => {
            eprintln!("wsgid: {problem}");
            return ExitCode::from(exit_code::CONFIGURATION);
        }
    };
    let mut problems = read.loaded.problems.len();
    for problem in &read.loaded.problems {
        say!("{problem}");
    }
    if args.group.is_none() {
        problems += say_of_users(&read);
    }
    let mut count = 0_usize;
    let sockets = vec![read.loaded.settings.socket.clone()];
    let mut around = Surroundings::new(&read.loaded.groups, sockets);
    for group in &read.loaded.groups {
        if args.group.as_ref().is_some_and(|name| *name != group.name) {
            continue;
        }
        count += 1;
        let found = examine(group, read.httpd, limit, &mut around);
        problems += found.problems.len();
        print(group, &found);
        if identity::resolve(group, read.httpd)
            .is_ok_and(|who| who.change && who.uid == read.httpd.uid)
        {
            say!("  note     it {AS_HTTPD}");
        }
    }
    if let (0, Some(name)) = (count, &args.group) {
        eprintln!(
            "wsgid: process group `{name}` is not defined in `{}`",
            args.config.display()
        );
        return ExitCode::from(exit_code::NO_SUCH_GROUP);
    }
    say!(
        "{}, {}",
        text::count(count, "process group"),
        text::count(problems, "problem")
    );
    ExitCode::from(if problems == 0 {
        exit_code::OK
    } else {
        exit_code::CONFIGURATION
    })
}

/// Says what is wrong with the limits of users. Returns how much that is.
fn say_of_users(read: &standalone::Read) -> usize {
    let loaded = &read.loaded;
    let here = cgroup::impossible_here();
    let found = users::examine(&loaded.users, &loaded.groups, read.httpd, here.as_deref());
    for problem in &found.problems {
        say!("{problem}");
    }
    for note in &found.notes {
        say!("note: {note}");
    }
    found.problems.len()
}

fn print(group: &GroupConfig, found: &Found) {
    say!("{}  ({})", group.name, group.origin);
    for text in &found.good {
        say!("  ok       {text}");
    }
    for text in &found.problems {
        say!("  problem  {text}");
    }
    for text in &found.notes {
        say!("  note     {text}");
    }
}

/// Tries a group as its user. One with isolation is loaded in it, for at most this long;
/// `None`: nothing is loaded.
pub(crate) fn examine(
    config: &GroupConfig,
    httpd: identity::DefaultAccount,
    limit: Option<Duration>,
    around: &mut Surroundings<'_>,
) -> Found {
    let identity = match identity::resolve(config, httpd) {
        Ok(identity) => identity,
        Err(error) => return Found::failed(error.to_string()),
    };
    let probe = Probe {
        config: config.clone(),
        enter_home: identity.uid != httpd.uid,
        identity,
    };
    let mut found = match step::take(CheckStep::Probe, &probe, PROBE_TIMEOUT) {
        Ok(found) => found,
        Err(problem) => return Found::failed(problem),
    };
    load::examine(&probe, around, limit, &mut found);
    found
}
