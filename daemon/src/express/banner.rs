//! The summary that `start-server` prints: what will run and where to look.

use std::fmt::Write as _;

use super::logs;
use super::options::ApplicationType;
use super::paths::absolute;
use super::plan::Plan;

/// The whole text, with a line end at its end.
pub(crate) fn text(plan: &Plan) -> String {
    let mut rows: Vec<(&str, String)> = Vec::new();
    let (options, processes) = (&plan.options, &plan.options.processes);
    rows.push(("Server URL", plan.urls().join("  ")));
    if options.metrics.server_status {
        rows.extend(
            plan.urls()
                .first()
                .map(|url| ("Server status", format!("{url}server-status"))),
        );
    }
    rows.push(("Application", application(plan)));
    if let Some(python) = &plan.python {
        let home = if python.home.as_os_str().is_empty() {
            "/usr".into()
        } else {
            python.home.display().to_string()
        };
        rows.push(("Python", format!("{} ({home})", python.version)));
    }
    if options.application.application_type != ApplicationType::Static {
        let number = if plan.single() {
            "1"
        } else {
            processes.processes.as_deref().unwrap_or("1")
        };
        let threads = if plan.single() { 1 } else { processes.threads };
        let word = if number == "1" {
            "process"
        } else {
            "processes"
        };
        let each = if threads == 1 { "thread" } else { "threads" };
        rows.push(("Capacity", format!("{number} {word} × {threads} {each}")));
        let timeouts = &options.timeouts;
        let seconds = format!(
            "request {} s, startup {} s, queue {} s",
            timeouts.request_timeout, timeouts.startup_timeout, timeouts.queue_timeout
        );
        rows.push(("Timeouts", seconds));
    }
    let sizing = plan.sizing;
    let children = format!(
        "{} ({} MPM, up to {} requests)",
        plan.httpd.executable.display(),
        plan.mpm,
        sizing.max_clients
    );
    rows.push(("httpd", children));
    if plan.account.change {
        rows.push((
            "User",
            format!("{} (group {})", plan.account.user, plan.account.group),
        ));
    }
    rows.push(("Server root", plan.root.display().to_string()));
    rows.push((
        "Server conf",
        plan.root.join("httpd.conf").display().to_string(),
    ));
    let level = &options.logs.log_level;
    let error_log = logs::error_log_file(plan).map_or_else(
        || "the terminal".to_owned(),
        |file| file.display().to_string(),
    );
    rows.push(("Error log", format!("{error_log} ({level})")));
    if options.logs.access_log {
        let file = plan
            .log_directory
            .join(&options.logs.access_log_name)
            .display()
            .to_string();
        rows.push((
            "Access log",
            if options.logs.log_to_terminal {
                "the terminal".to_owned()
            } else {
                file
            },
        ));
    }
    if options.logs.startup_log {
        rows.push((
            "Startup log",
            plan.log_directory
                .join(&options.logs.startup_log_name)
                .display()
                .to_string(),
        ));
    }
    rows.push(("Locale", plan.locale.clone()));
    let develop = &options.develop;
    let directories = [
        (
            "Coverage",
            develop.enable_coverage,
            &develop.coverage_directory,
            "htmlcov",
        ),
        (
            "Profiles",
            develop.enable_profiler,
            &develop.profiler_directory,
            "pstats",
        ),
        (
            "Recordings",
            develop.enable_recorder,
            &develop.recorder_directory,
            "archive",
        ),
    ];
    for (name, on, given, default) in directories {
        if on {
            let directory = given
                .as_deref()
                .map_or_else(|| plan.root.join(default), absolute);
            rows.push((name, directory.display().to_string()));
        }
    }
    let mut out = String::new();
    for (name, value) in rows {
        let _ = writeln!(out, "{name:<13} : {value}");
    }
    out
}

fn application(plan: &Plan) -> String {
    let application = &plan.options.application;
    let what = match (application.application_type, &plan.entry) {
        (ApplicationType::Static, _) => return "static files only".to_owned(),
        (_, None) => "none; a page that says so".to_owned(),
        (ApplicationType::Module, Some(name)) => format!("module {name}"),
        (_, Some(path)) => path.clone(),
    };
    match application.mount_point.as_str() {
        "/" => what,
        mount => format!("{what} at {mount}"),
    }
}
