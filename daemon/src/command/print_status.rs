//! A status for people, on standard output. Called by `client`; it does not ask.
//! Texts of a tenant end up on the terminal of an administrator: one harmless line
//! each.

use wsgid_protocol::names;
use wsgid_protocol::status::{GroupStatus, PoolStatus, Status, WorkerStatus};

use crate::command::print::say;
use wsgid_protocol::readable::escaped;

pub(super) fn print_status(status: &Status) {
    let version = line(&status.version);
    say!(
        "wsgid {version} (pid {}), up {} s",
        status.pid,
        status.uptime_s
    );
    let supervisor = status
        .supervisor
        .as_ref()
        .filter(|_| has_several_users(status));
    if let Some(problem) = supervisor.and_then(|own| own.control_groups_problem.as_ref()) {
        say!("no or not all control groups: {}", line(problem));
    }
    status.groups.iter().for_each(print_group);
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

fn print_group(group: &GroupStatus) {
    // As `processes=` has it.
    let processes = if group.processes_max > group.processes {
        format!("{}..{}", group.processes, group.processes_max)
    } else {
        group.processes.to_string()
    };
    say!(
        "\n{}  user {}, {processes} processes, {} threads",
        line(&group.name),
        line(group.user.as_deref().unwrap_or("?")),
        group.threads
    );
    if let Some(problem) = &group.problem {
        say!("  cannot start: {}", line(problem));
    } else if group.pools.is_empty() && group.stopped {
        say!("  stopped");
    } else if group.pools.is_empty() {
        say!("  starts with the first request");
    }
    if group.removed {
        say!("  no longer configured: it ends with its last requests");
    }
    if group.log_dropped_lines > 0 {
        let (lines, bytes) = (group.log_dropped_lines, group.log_dropped_bytes);
        say!("  log-rate= has kept {lines} lines ({bytes} bytes) out of the log");
    }
    group.pools.iter().for_each(print_pool);
}

fn print_pool(pool: &PoolStatus) {
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
        "  {application}{named}: {}, generation {}, {} waiting, {} restarts",
        pool.state.word(),
        pool.generation,
        pool.waiting_requests(),
        pool.restarts
    );
    if let Some(preloader) = &pool.preloader
        && let Some(pid) = preloader.pid
    {
        say!("    {pid:>7}  preloader, {}", preloader.state.word());
    }
    pool.workers.iter().for_each(print_worker);
    if let Some(given_up) = &pool.given_up {
        let why = line(&given_up.why);
        say!("    generation {} was given up: {why}", given_up.generation);
        let failed = given_up.failed_scripts.iter();
        for text in failed.flat_map(|failed| failed.traceback.lines()) {
            say!("      {}", line(text));
        }
    }
    if let Some(cause) = pool.causes.last() {
        say!("    last: {}", line(&cause.text));
    }
}

fn print_worker(worker: &WorkerStatus) {
    say!(
        "    {:>7}  slot {}  {:<9} python {}  {} requests, {} running, {} connections, up {} s{}",
        worker.pid,
        worker.slot,
        worker.state.word(),
        line(worker.python.as_deref().unwrap_or("?")),
        worker.requests,
        worker.in_flight,
        worker.connections,
        worker.uptime_s,
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
