//! Describes the machine of a run: what a reader needs to judge figures, and no
//! name or path of the machine.

use std::fs;
use std::process::Command;

use crate::environment::{Environment, run};
use crate::network::congestion;
use crate::service::Service;

/// Lines of a markdown list.
pub(crate) fn describe(environment: &Environment) -> Vec<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split(':').nth(1));
    let cores = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory: Option<u64> = memory
        .split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok());
    let memory = memory.unwrap_or_default() / 1024 / 1024;
    let virtual_machine = if cpus.contains("hypervisor") {
        ", virtual machine"
    } else {
        ""
    };
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    vec![
        format!(
            "{} × {}{virtual_machine}, {memory} GiB of memory",
            cores,
            model.unwrap_or(" unknown CPU").trim()
        ),
        format!(
            "Linux {}, {}, TCP congestion control {}",
            kernel(),
            distribution(),
            congestion()
        ),
        format!(
            "{}, event MPM, 2 children × 256 threads",
            first_line(Command::new(&environment.httpd).arg("-v"))
        ),
        format!(
            "each server in a {} of its own",
            if Service::is_possible() {
                "control group"
            } else {
                "session"
            }
        ),
        first_line(Command::new(environment.python()).arg("-V")),
        packages(environment),
        format!(
            "load average at the end of the run: {}",
            load.split(' ').take(3).collect::<Vec<_>>().join(" ")
        ),
    ]
}

fn kernel() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // Only the number: what follows can name the machine's provider.
    text.trim().split('-').next().unwrap_or_default().to_owned()
}

fn distribution() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("unknown distribution")
        .trim_matches('"')
        .to_owned()
}

fn packages(environment: &Environment) -> String {
    let wanted = [
        "mod_wsgi", "mod-wsgi", "uwsgi", "granian", "gunicorn", "flask", "django",
    ];
    let text =
        run(Command::new(environment.python()).args(["-m", "pip", "list", "--format", "freeze"]));
    let text = text.unwrap_or_default();
    let found = text.lines().filter(|line| {
        let name = line.split("==").next().unwrap_or_default().to_lowercase();
        wanted.contains(&name.as_str())
    });
    found
        .map(|line| line.replace("==", " "))
        .collect::<Vec<_>>()
        .join(", ")
}

fn first_line(command: &mut Command) -> String {
    let text = run(command).unwrap_or_else(|error| error.to_string());
    text.lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("Server version: ")
        .to_owned()
}
