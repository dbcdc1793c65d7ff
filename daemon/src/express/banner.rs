//! The summary that `start-server` prints: what will run and where to look.

use std::fmt::Display;
use std::path::Path;

use super::hosts::{bracketed, origin};
use super::logs;
use super::options::ApplicationType;
use super::plan::ServerPlan;

/// Lines of a name and a value each.
#[derive(Debug, Default)]
struct SummaryLines(String);

impl SummaryLines {
    fn add(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("{name:<13} : {value}\n"));
    }
}

/// The whole text, with a line end at its end.
pub(crate) fn text(plan: &ServerPlan) -> String {
    let mut lines = SummaryLines::default();
    let urls = urls(plan);
    lines.add("Server URL", urls.join("  "));
    if plan.options.metrics.server_status
        && let Some(url) = urls.first()
    {
        lines.add("Server status", format!("{url}server-status"));
    }
    add_probes(&mut lines, plan, &urls);
    lines.add("Application", application(plan));
    if let Some(python) = &plan.python {
        let home = Some(python.home.as_path()).filter(|home| !home.as_os_str().is_empty());
        let home = home.unwrap_or(Path::new("/usr")).display();
        lines.add("Python", format!("{} ({home})", python.version));
    }
    if plan.has_application() {
        add_limits(&mut lines, plan);
    }
    let httpd = plan.httpd.executable.display();
    let requests = plan.sizing.max_clients;
    let capacity = format!("{} MPM, up to {requests} requests", plan.mpm);
    lines.add("httpd", format!("{httpd} ({capacity})"));
    let account = &plan.account;
    if account.change {
        lines.add(
            "User",
            format!("{} (group {})", account.user, account.group),
        );
    }
    lines.add("Server root", plan.root.display());
    lines.add("Server conf", plan.root.join("httpd.conf").display());
    add_logs(&mut lines, plan);
    lines.add("Locale", &plan.locale);
    for tool in plan.options.develop.tools() {
        if tool.enabled {
            let directory = plan.or_in_root(tool.directory, tool.usual);
            lines.add(tool.results, directory.display());
        }
    }
    lines.0
}

/// Where its supervisor answers, which is known once httpd is started.
pub(crate) fn socket(path: &Path) -> String {
    let mut lines = SummaryLines::default();
    lines.add(
        "Commands",
        format!("wsgid status --socket {}", path.display()),
    );
    lines.0.trim_end().to_owned()
}

/// Where a browser finds the server, first of all.
pub(crate) fn url(plan: &ServerPlan) -> String {
    urls(plan).into_iter().next().unwrap_or_default()
}

/// Where a browser finds the server.
fn urls(plan: &ServerPlan) -> Vec<String> {
    let network = &plan.options.network;
    let host = network.server_name.as_ref().or(network.host.as_ref());
    let host = bracketed(host.map_or("localhost", String::as_str));
    let mut urls = vec![origin("http", &host, network.port) + "/"];
    if let Some(https) = plan.https() {
        urls.push(origin("https", &host, https.port) + "/");
    }
    urls
}

fn add_limits(lines: &mut SummaryLines, plan: &ServerPlan) {
    let given = &plan.options.processes;
    let capacity = match given.processes.as_deref() {
        _ if plan.single() => capacity("1", 1),
        processes => capacity(processes.unwrap_or("1"), given.threads),
    };
    lines.add("Capacity", capacity);
    let timeouts = &plan.options.timeouts;
    lines.add(
        "Timeouts",
        format!(
            "request {} s, startup {} s, queue {} s",
            timeouts.request_timeout, timeouts.startup_timeout, timeouts.queue_timeout
        ),
    );
}

/// What who starts and stops servers goes by.
fn add_probes(lines: &mut SummaryLines, plan: &ServerPlan, urls: &[String]) {
    let deploy = &plan.options.deploy;
    if let (Some(path), Some(url)) = (&deploy.health_path, urls.first()) {
        lines.add(
            "Probes",
            format!("{}{path}?ready", url.trim_end_matches('/')),
        );
    }
    if let Some(file) = &deploy.ready_file {
        lines.add("Ready file", file.display());
    }
    if deploy.drain_delay > 0 {
        let delay = deploy.drain_delay;
        lines.add(
            "Drain delay",
            format!("serves on for {delay} s after SIGTERM"),
        );
    }
    if deploy.keep_going {
        lines.add("Keep going", "serves on if it fails to load");
    }
}

fn capacity(processes: &str, threads: u32) -> String {
    let plural = if processes == "1" { "" } else { "es" };
    let of_threads = if threads == 1 { "" } else { "s" };
    format!("{processes} process{plural} × {threads} thread{of_threads}")
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
    let given = &plan.options.logs;
    let level = &given.log_level;
    lines.add(
        "Error log",
        format!("{} ({level})", log(plan, &given.error_log_name)),
    );
    if given.access_log {
        lines.add("Access log", log(plan, &given.access_log_name));
    }
    if given.startup_log {
        let file = plan.log_directory.join(&given.startup_log_name);
        lines.add("Startup log", file.display());
    }
}

/// Where a person finds a log of httpd.
fn log(plan: &ServerPlan, name: &str) -> String {
    match logs::file(plan, name) {
        Some(file) => file.display().to_string(),
        None => "the terminal".to_owned(),
    }
}
