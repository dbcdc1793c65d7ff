//! Waits for what a command has begun, and says what came of it. Has the
//! supervisor asked again and again: nothing of it waits there, so whoever is interrupted here leaves
//! nothing behind. Called by `client`; what a status means is decided in `outcome`.
#![expect(clippy::print_stderr, reason = "this is the command line")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use wsgid_protocol::answers::Begun;
use wsgid_protocol::readable::escaped;
use wsgid_protocol::status::Status;

use crate::command::outcome::{self, Awaited, Outcome, Standing};
use crate::command::print::say;
use crate::exit_code;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct WaitOptions {
    /// Do not wait until the new workers serve or are given up
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    /// Wait for so many seconds at most; 0 waits as long as it takes
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
}

/// Asks how everything stands; an exit code if nobody can say any more.
pub(super) type Ask<'a> = &'a dyn Fn() -> Result<Status, ExitCode>;

/// One supervisor that is asked.
struct Conversation<'a> {
    ask: Ask<'a>,
    /// The process that has the command.
    pid: u32,
    begun: Instant,
    /// When it was enough.
    until: Option<Instant>,
}

impl<'a> Conversation<'a> {
    fn new(ask: Ask<'a>, begun: &Begun, wait: &WaitOptions) -> Self {
        let now = Instant::now();
        let limit = Some(Duration::from_secs(wait.timeout)).filter(|limit| !limit.is_zero());
        Self {
            ask,
            pid: begun.pid,
            begun: now,
            until: limit.and_then(|limit| now.checked_add(limit)),
        }
    }

    /// How it stands, to who has the command.
    fn ask(&self) -> Result<Status, ExitCode> {
        let status = (self.ask)()?;
        if status.pid == self.pid {
            return Ok(status);
        }
        eprintln!(
            "wsgid: the supervisor (pid {}) ended meanwhile; another one was started (pid {})",
            self.pid, status.pid
        );
        Err(ExitCode::from(exit_code::FAILURE))
    }

    /// Whether it is to be asked again, after a pause.
    fn goes_on(&self) -> bool {
        let goes_on = self.until.is_none_or(|until| Instant::now() < until);
        if goes_on {
            std::thread::sleep(PAUSE);
        }
        goes_on
    }

    fn timed_out(&self, what: &str) -> ExitCode {
        let seconds = self.begun.elapsed().as_secs();
        eprintln!("wsgid: {what} after {seconds} s");
        ExitCode::from(exit_code::UNDER_WAY)
    }
}

/// Waits until the workers that a command has begun serve, or are given up. `only`: the
/// group that was commanded.
pub(super) fn until_served(
    ask: Ask<'_>,
    only: Option<&str>,
    begun: &Begun,
    wait: &WaitOptions,
) -> ExitCode {
    if wait.no_wait {
        return ExitCode::from(exit_code::OK);
    }
    let Some(awaited) = &begun.awaited else {
        return cannot_tell();
    };
    if awaited.is_empty() {
        match only {
            Some(group) => say!(
                "process group `{}`: no process runs; its next request starts one",
                escaped(group.as_bytes())
            ),
            None => say!("the configuration is in force; no worker has to be replaced for it"),
        }
    }
    let conversation = Conversation::new(ask, begun, wait);
    let mut left: Vec<Awaited> = awaited.iter().cloned().map(Awaited::new).collect();
    let mut code = exit_code::OK;
    while !left.is_empty() {
        let status = match conversation.ask() {
            Ok(status) => status,
            Err(code) => return code,
        };
        left.retain_mut(|one| match one.judge(&status) {
            Standing::UnderWay => true,
            Standing::Came(outcome) => {
                if !tell(one, &outcome) {
                    code = exit_code::NOT_SERVING;
                }
                false
            }
        });
        if !left.is_empty() && !conversation.goes_on() {
            for one in &left {
                say_why_not_yet(one, &status);
            }
            return conversation.timed_out("it is still under way");
        }
    }
    ExitCode::from(code)
}

/// Waits until a group has no worker.
pub(super) fn until_stopped(
    ask: Ask<'_>,
    group: &str,
    begun: &Begun,
    wait: &WaitOptions,
) -> ExitCode {
    if wait.no_wait {
        return ExitCode::from(exit_code::OK);
    }
    if begun.awaited.is_none() {
        return cannot_tell();
    }
    let conversation = Conversation::new(ask, begun, wait);
    let name = escaped(group.as_bytes());
    loop {
        let status = match conversation.ask() {
            Ok(status) => status,
            Err(code) => return code,
        };
        match outcome::stopped(&status, group) {
            Some(true) => {
                say!("process group `{name}` has stopped");
                return ExitCode::from(exit_code::OK);
            }
            Some(false) => {
                eprintln!("wsgid: process group `{name}` was started again meanwhile");
                return ExitCode::from(exit_code::FAILURE);
            }
            None if conversation.goes_on() => {}
            None => {
                let text = format!("process group `{name}` still finishes its requests");
                return conversation.timed_out(&text);
            }
        }
    }
}

fn cannot_tell() -> ExitCode {
    eprintln!(
        "wsgid: it is commanded; this supervisor is of an older release, which does not say what comes of it: see wsgid status"
    );
    ExitCode::from(exit_code::OK)
}

/// Says it. Returns whether that is what was wanted.
fn tell(one: &Awaited, outcome: &Outcome) -> bool {
    let text = format!("{}: {outcome}", one.name());
    if outcome.is_success() {
        say!("{text}");
        return true;
    }
    eprintln!("wsgid: {text}");
    for failed in outcome.failed_scripts() {
        for line in failed.traceback.lines() {
            eprintln!("  {}", escaped(line.as_bytes()));
        }
    }
    false
}

fn say_why_not_yet(one: &Awaited, status: &Status) {
    let problem = one.problem(status).map_or_else(
        || "its workers load".to_owned(),
        |why| format!("the last that went wrong: {}", escaped(why.as_bytes())),
    );
    eprintln!("wsgid: {}: {problem}", one.name());
}
