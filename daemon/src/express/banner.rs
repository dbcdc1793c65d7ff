//! The summary that `start-server` prints: what will run and where to look.

use std::path::Path;

use super::logs;
use super::options::ApplicationType;
use super::plan::ServerPlan;

/// SummaryLines of a name and a value each.
#[derive(Debug, Default)]
struct SummaryLines(String);

impl SummaryLines {
    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        self.0.push_str(&format!("{name:<13} : {value}\n"));
    }

    fn add_path(&mut self, name: &str, path: &Path) {
        self.add(name, path.display());
    }
}

/// The whole text, with a line end at its end.
pub(crate) fn text(plan: &ServerPlan) -> String {
    let mut lines = SummaryLines::default();
    let urls = plan.urls();
    lines.add("Server URL", urls.join("  "));
    if plan.options.metrics.server_status
        && let Some(url) = urls.first()
    {
        lines.add("Server status", format!("{url}server-status"));
    }
    add_application(&mut lines, plan);
    let httpd = plan.httpd.executable.display();
    let requests = plan.sizing.max_clients;
    lines.add(
        "httpd",
        format!("{httpd} ({} MPM, up to {requests} requests)", plan.mpm),
    );
    if plan.account.change {
        let account = &plan.account;
        lines.add(
            "User",
            format!("{} (group {})", account.user, account.group),
        );
    }
    lines.add_path("Server root", &plan.root);
    lines.add_path("Server conf", &plan.root.join("httpd.conf"));
    add_logs(&mut lines, plan);
    lines.add("Locale", &plan.locale);
    for tool in plan.options.develop.tools() {
        if tool.enabled {
            lines.add_path(tool.results, &plan.or_in_root(tool.directory, tool.usual));
        }
    }
    lines.0
}

fn add_application(lines: &mut SummaryLines, plan: &ServerPlan) {
    lines.add("Application", application(plan));
    if let Some(python) = &plan.python {
        let home = if python.home.as_os_str().is_empty() {
            Path::new("/usr")
        } else {
            &python.home
        };
        lines.add("Python", format!("{} ({})", python.version, home.display()));
    }
    if !plan.has_application() {
        return;
    }
    let given = &plan.options.processes;
    let (processes, threads) = if plan.single() {
        ("1", 1)
    } else {
        (given.processes.as_deref().unwrap_or("1"), given.threads)
    };
    let process_word = if processes == "1" {
        "process"
    } else {
        "processes"
    };
    let thread_word = if threads == 1 { "thread" } else { "threads" };
    lines.add(
        "Capacity",
        format!("{processes} {process_word} × {threads} {thread_word}"),
    );
    let timeouts = &plan.options.timeouts;
    lines.add(
        "Timeouts",
        format!(
            "request {} s, startup {} s, queue {} s",
            timeouts.request_timeout, timeouts.startup_timeout, timeouts.queue_timeout
        ),
    );
}

fn application(plan: &ServerPlan) -> String {
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

fn add_logs(lines: &mut SummaryLines, plan: &ServerPlan) {
    const TERMINAL: &str = "the terminal";
    let given = &plan.options.logs;
    let error_log = logs::error_log_file(plan);
    let error_log = error_log.map_or_else(|| TERMINAL.into(), |file| file.display().to_string());
    lines.add("Error log", format!("{error_log} ({})", given.log_level));
    if given.access_log && given.log_to_terminal {
        lines.add("Access log", TERMINAL);
    } else if given.access_log {
        lines.add_path(
            "Access log",
            &plan.log_directory.join(&given.access_log_name),
        );
    }
    if given.startup_log {
        lines.add_path(
            "Startup log",
            &plan.log_directory.join(&given.startup_log_name),
        );
    }
}
