//! The command lines of the servers that httpd forwards to, as their own
//! documentation recommends for production: no access log, sockets of the file system.

use std::process::Command;

use super::Plan;

fn program(plan: &Plan<'_>, name: &str) -> Command {
    let mut command = Command::new(plan.environment.venv().join("bin").join(name));
    command.current_dir(plan.environment.apps());
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .env("HOME", &plan.directory);
    command
}

pub(super) fn uwsgi(plan: &Plan<'_>) -> Command {
    let mut command = program(plan, "uwsgi");
    command.args([
        "--master",
        "--die-on-term",
        "--need-app",
        "--enable-threads",
        "--disable-logging",
    ]);
    command.args([
        "--thunder-lock",
        "--listen",
        "1024",
        "--chmod-socket=666",
        "--buffer-size",
        "32768",
    ]);
    command.arg("--socket").arg(plan.socket());
    command.arg("--virtualenv").arg(plan.environment.venv());
    command
        .arg("--processes")
        .arg(plan.shape.processes.to_string());
    if plan.shape.threads > 1 {
        command.arg("--threads").arg(plan.shape.threads.to_string());
    }
    command.arg("--wsgi-file").arg(plan.script());
    command
}

pub(super) fn granian(plan: &Plan<'_>) -> Command {
    let mut command = program(plan, "granian");
    command.args([
        "--interface",
        "wsgi",
        "--http",
        "1",
        "--no-ws",
        "--log-level",
        "warning",
        "--no-access-log",
        "--respawn-failed-workers",
    ]);
    command.args(["--uds-permissions", "666", "--backlog", "4096"]);
    command.arg("--uds").arg(plan.socket());
    command
        .arg("--workers")
        .arg(plan.shape.processes.to_string());
    command
        .arg("--blocking-threads")
        .arg(plan.shape.threads.to_string());
    command.arg(format!("{}:application", plan.app.module()));
    command
}

pub(super) fn gunicorn(plan: &Plan<'_>) -> Command {
    let mut command = program(plan, "gunicorn");
    command.args([
        "--log-level",
        "warning",
        "--backlog",
        "4096",
        "--worker-tmp-dir",
        "/dev/shm",
        "--umask",
        "0",
    ]);
    command.args([
        "--no-control-socket",
        "--keep-alive",
        "75",
        "--timeout",
        "120",
    ]);
    command
        .arg("--bind")
        .arg(format!("unix:{}", plan.socket().display()));
    command
        .arg("--workers")
        .arg(plan.shape.processes.to_string());
    command.arg("--threads").arg(plan.shape.threads.to_string());
    command.arg(format!("{}:application", plan.app.module()));
    command
}

/// Built beside this program.
pub(super) fn floor(plan: &Plan<'_>) -> Command {
    let own = std::env::current_exe().unwrap_or_default();
    let mut command = Command::new(own.with_file_name("wsgid-bench-floor"));
    command.env_clear().arg("--socket").arg(plan.socket());
    command
        .arg("--workers")
        .arg(plan.shape.processes.to_string());
    command
}
