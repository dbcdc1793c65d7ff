//! A status for people, on standard output. Called by `status`; it does not ask.
//! Texts of a tenant end up on the terminal of an administrator: one harmless line
//! each.

use std::io::{IsTerminal, stdout};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use wsgid_protocol::names;
use wsgid_protocol::status::{
    GroupState, GroupStatus, PoolStatus, Status, Urgency, UserStatus, WorkerStatus,
};

use crate::command::print::say;
use wsgid_protocol::readable::escaped;
use wsgid_protocol::text::{count, duration};

pub(super) fn print_status(status: &Status) {
    let printer = Printer {
        now: Timestamp::now().as_second(),
        zone: TimeZone::system(),
        has_colours: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    say!(
        "wsgid {} (pid {}), up {}{}",
        line(&status.version),
        status.pid,
        duration(status.uptime_s),
        printer.counts(&status.groups)
    );
    let supervisor = status
        .supervisor
        .as_ref()
        .filter(|_| has_several_users(status));
    if let Some(problem) = supervisor.and_then(|own| own.control_groups_problem.as_ref()) {
        say!("no or not all control groups: {}", line(problem));
    }
    for user in &status.users {
        say!("{}", of_user(user));
    }
    for group in &status.groups {
        printer.group(group);
    }
}

/// What a user has of what it may have, in one line.
fn of_user(user: &UserStatus) -> String {
    let limits = &user.limits;
    let own = user.control_group.as_ref();
    let used = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |it| it.to_string());
    let memory = own.and_then(|own| own.memory).map(|bytes| bytes >> 20);
    let tasks = own.and_then(|own| own.tasks);
    let killed = own
        .and_then(|own| own.memory_kills)
        .filter(|kills| *kills > 0);
    let parts = [
        (limits.processes > 0)
            .then(|| format!("{} of {} processes", user.processes, limits.processes)),
        (limits.sites > 0).then(|| format!("{} of {} sites", user.sites, limits.sites)),
        (limits.memory_max > 0)
            .then(|| format!("{} of {} MiB", used(memory), limits.memory_max >> 20)),
        (limits.tasks_max > 0).then(|| format!("{} of {} tasks", used(tasks), limits.tasks_max)),
        (limits.cpu_weight > 0).then(|| format!("cpu-weight {}", limits.cpu_weight)),
        killed.map(|kills| format!("{kills} killed for memory")),
        user.problem.as_deref().map(line),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("user {}: {}", line(&user.user), parts.join(", "))
}

/// Sites of one user are not kept apart. What an option asks for in vain is in the log.
fn has_several_users(status: &Status) -> bool {
    let mut users = status
        .groups
        .iter()
        .filter(|group| !names::is_reserved(&group.name))
        .filter_map(|group| group.user.as_ref());
    users
        .next()
        .is_some_and(|first| users.any(|user| user != first))
}

fn line(text: &str) -> String {
    escaped(text.as_bytes())
}

/// What all lines need.
struct Printer {
    now: i64,
    zone: TimeZone,
    has_colours: bool,
}

impl Printer {
    /// How many groups there are, and in which states.
    fn counts(&self, groups: &[GroupStatus]) -> String {
        let counts = GroupState::ALL.iter().filter_map(|state| {
            let number = groups.iter().filter(|group| group.state == *state).count();
            (number > 0).then(|| format!("{number} {}", self.word(*state)))
        });
        let counts: Vec<String> = counts.collect();
        let groups = count(groups.len(), "group");
        if counts.is_empty() {
            format!("; {groups}")
        } else {
            format!("; {groups}: {}", counts.join(", "))
        }
    }

    /// A state, in its colour.
    fn word(&self, state: GroupState) -> String {
        let colour = match state.urgency() {
            Urgency::Bad => "31",
            Urgency::Passing => "33",
            Urgency::Good => "32",
            Urgency::Resting => "2",
        };
        if self.has_colours {
            format!("\x1b[{colour}m{}\x1b[0m", state.word())
        } else {
            state.word().to_owned()
        }
    }

    fn since(&self, at: Option<u64>) -> String {
        let time = at.and_then(|at| self.time(at));
        time.map_or_else(String::new, |(time, past)| {
            format!(" since {time} ({past})")
        })
    }

    fn at(&self, at: u64) -> String {
        let time = self.time(at);
        time.map_or_else(String::new, |(time, past)| {
            format!(" at {time} ({past} ago)")
        })
    }

    /// The local time of it, and how long it is past. A supervisor may say any number.
    fn time(&self, at: u64) -> Option<(String, String)> {
        let at = i64::try_from(at).ok()?;
        let time = Timestamp::from_second(at).ok()?;
        let time = time.to_zoned_datetime(self.zone.clone());
        let past = u64::try_from(self.now.saturating_sub(at)).unwrap_or_default();
        let time = time.strftime("%Y-%m-%d %H:%M:%S").to_string();
        Some((time, duration(past)))
    }

    fn group(&self, group: &GroupStatus) {
        let state = self.word(group.state);
        let since = self.since(group.since);
        say!("\n{}  {state}{since}", line(&group.name));
        if let Some(why) = &group.why {
            say!("  {}", line(why));
        }
        say!(
            "  user {}, {} with {}{}",
            line(group.user.as_deref().unwrap_or("?")),
            processes(group),
            count(group.threads, "thread"),
            used(group)
        );
        if let Some(isolation) = &group.isolation {
            say!("  {}", line(&isolation.in_words()));
        }
        if group.log_dropped_lines > 0 {
            let (lines, bytes) = (group.log_dropped_lines, group.log_dropped_bytes);
            say!("  log-rate= has kept {lines} lines ({bytes} bytes) out of the log");
        }
        for pool in &group.pools {
            self.pool(pool, group);
        }
    }

    fn pool(&self, pool: &PoolStatus, group: &GroupStatus) {
        let application = match pool.application_group.as_str() {
            "" => "%{GLOBAL}".to_owned(),
            name => line(name),
        };
        let named = if pool.from_request {
            " (named by a request)"
        } else {
            ""
        };
        say!(
            "  {application}{named}: {}, generation {}, {} waiting, {}",
            self.word(pool.state),
            pool.generation,
            pool.waiting_requests(),
            count(pool.restarts, "restart")
        );
        if let Some(why) = pool
            .why
            .as_ref()
            .filter(|why| group.why.as_ref() != Some(*why))
        {
            say!("    {}{}", line(why), self.since(pool.since));
        }
        if let Some(preloader) = &pool.preloader
            && let Some(pid) = preloader.pid
        {
            say!("    {pid:>7}  preloader, {}", preloader.state.word());
        }
        pool.workers.iter().for_each(print_worker);
        if let Some(given_up) = &pool.given_up {
            let why = line(&given_up.why);
            let generation = given_up.generation;
            let at = self.at(given_up.at);
            say!("    generation {generation} was given up{at}: {why}");
            let failed = given_up.failed_scripts.iter();
            for text in failed.flat_map(|failed| failed.traceback.lines()) {
                say!("      {}", line(text));
            }
        }
        if let Some(cause) = pool.causes.last() {
            say!("    last: {},{}", line(&cause.text), self.at(cause.at));
            for text in cause.stacks.iter().flat_map(|stacks| stacks.lines()) {
                say!("      {}", line(text));
            }
        }
    }
}

/// As `processes=` has it.
fn processes(group: &GroupStatus) -> String {
    if group.processes_max > group.processes {
        format!("{} to {} processes", group.processes, group.processes_max)
    } else {
        count(group.processes, "process")
    }
}

/// What it uses; the processor time is that of its control group.
fn used(group: &GroupStatus) -> String {
    let memory = (group.memory > 0).then(|| format!(", {} MiB", group.memory >> 20));
    let own = group.control_group.as_ref();
    let cpu = own.and_then(|own| own.cpu_ms);
    let cpu = cpu.map(|ms| format!(", {} s of processor time", ms / 1000));
    memory.into_iter().chain(cpu).collect()
}

fn print_worker(worker: &WorkerStatus) {
    say!(
        "    {:>7}  slot {}  {:<9} python {}  {}, {} running, {}, up {}{}",
        worker.pid,
        worker.slot,
        worker.state.word(),
        line(worker.python.as_deref().unwrap_or("?")),
        count(worker.requests, "request"),
        worker.in_flight,
        count(worker.connections, "connection"),
        duration(worker.uptime_s),
        if worker.answers {
            ""
        } else {
            ", does not answer now"
        }
    );
    for failed in &worker.failed_scripts {
        say!("             `{}` failed to load", line(&failed.script));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wsgid_protocol::status::ControlGroupStatus;
    use wsgid_protocol::user_limits::UserLimits;

    #[test]
    fn a_user_is_one_line_of_what_is_limited() {
        let mut limits = UserLimits::new("shop");
        limits.processes = 4;
        limits.memory_max = 500 << 20;
        let control_group = ControlGroupStatus {
            memory: Some(120 << 20),
            memory_kills: Some(2),
            ..ControlGroupStatus::default()
        };
        let mut user = UserStatus {
            user: "shop\nroot".to_owned(),
            processes: 3,
            limits,
            control_group: Some(control_group),
            ..UserStatus::default()
        };
        assert_eq!(
            of_user(&user),
            "user shop\\x0aroot: 3 of 4 processes, 120 of 500 MiB, 2 killed for memory"
        );
        user.control_group = None;
        user.problem = Some("memory-max has no effect: nothing is mounted".to_owned());
        assert!(
            of_user(&user).ends_with("? of 500 MiB, memory-max has no effect: nothing is mounted")
        );
    }
}
