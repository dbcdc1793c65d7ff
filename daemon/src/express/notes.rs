//! What a user should be told about options that have no effect here, or a
//! different one than in mod_wsgi-express, and about files that the chosen user
//! may not reach. Called by `mod`.

use std::path::Path;

use super::plan::ServerPlan;

/// One line for each thing worth knowing.
pub(crate) fn collect(plan: &ServerPlan) -> Vec<String> {
    let mut notes = known(&without_effect(plan));
    notes.extend(account(plan));
    notes.extend(known(&missing_features(plan)));
    notes.extend(debugging(plan));
    notes
}

/// A note that is the same for everybody, and whether this plan gives rise to it.
type Known = (bool, &'static str);

fn known(rows: &[Known]) -> Vec<String> {
    let given = rows.iter().filter(|(given, _)| *given);
    given.map(|(_, text)| (*text).to_owned()).collect()
}

fn without_effect(plan: &ServerPlan) -> [Known; 9] {
    let options = &plan.options;
    [
        (
            options.processes.embedded_mode,
            "--embedded-mode: there is no embedded mode; the application runs in worker processes",
        ),
        (
            options.processes.free_threading,
            "--free-threading: free-threaded builds of Python are not supported; workers run with the lock",
        ),
        (
            options.processes.orphan_interpreter,
            "--orphan-interpreter: worker processes end without tearing the interpreter down",
        ),
        (
            options.files.with_php5,
            "--with-php5: PHP 5 has ended; use --proxy-mount-point or --include-file",
        ),
        (
            options.files.enable_docs,
            "--enable-docs: the documentation is not part of an installation",
        ),
        (
            options.logs.verbose_debugging,
            "--verbose-debugging: without effect; use --log-level debug",
        ),
        (
            options.metrics.enable_telemetry,
            "--enable-telemetry: there is no telemetry viewer; see `wsgid status`",
        ),
        (
            options.metrics.telemetry_service.is_some(),
            "--telemetry-service: nothing is reported by telemetry; see `wsgid status`",
        ),
        (
            options.metrics.server_metrics,
            "--server-metrics: mod_wsgi.server_metrics() is None; see --server-status",
        ),
    ]
}

fn account(plan: &ServerPlan) -> Vec<String> {
    let account = &plan.account;
    let user = &account.user;
    let mut notes = Vec::new();
    if !account.change {
        let environment = &plan.options.environment;
        let other_user = environment.user.as_ref().is_some_and(|given| given != user);
        let group = environment.group.as_ref();
        if other_user || group.is_some_and(|given| *given != account.group) {
            notes.push(format!(
                "--user and --group: only root can change the user; everything runs as `{user}`"
            ));
        }
        return notes;
    }
    let mut paths: Vec<&Path> = vec![&plan.working_directory];
    let entry = plan.entry.as_deref().map(Path::new);
    paths.extend(entry.filter(|path| path.is_absolute()));
    let python = plan.python.iter();
    let prefixes = python.flat_map(|python| [python.home.as_path(), python.base.as_path()]);
    paths.extend(prefixes.filter(|path| !path.as_os_str().is_empty()));
    paths.dedup();
    for path in paths {
        if let Some(closed) = account.closed_component(path) {
            notes.push(format!(
                "user `{user}` may not enter `{}` by its mode, so `{}` is out of reach; let it in with `chmod o+x` or by a group",
                closed.display(),
                path.display()
            ));
        }
    }
    notes
}

fn missing_features(plan: &ServerPlan) -> [Known; 4] {
    let http2 = plan.options.network.http2;
    let tls = &plan.options.tls;
    let no_https = plan.https().is_none();
    [
        (
            http2 && !plan.httpd.has("http2"),
            "--http2: httpd has no mod_http2; HTTP/1.1 is spoken",
        ),
        (
            http2 && plan.mpm == "prefork",
            "--http2: mod_http2 does not work with the prefork MPM",
        ),
        (
            no_https && tls.https_port.is_some(),
            "--https-port: without effect until a certificate is given with --ssl-certificate",
        ),
        (
            no_https && (tls.https_only || tls.hsts_policy.is_some()),
            "--https-only and --hsts-policy: without effect without --https-port and a certificate",
        ),
    ]
}

fn debugging(plan: &ServerPlan) -> Vec<String> {
    let mut notes = Vec::new();
    if !plan.single() {
        return notes;
    }
    if plan.options.processes.processes.is_some() {
        notes.push("debug mode: one process with one thread serves, whatever --processes and --threads say".to_owned());
    }
    let account = &plan.account;
    match &plan.terminal {
        None => notes.push("debug mode: no terminal, so a debugger has no input".to_owned()),
        Some(terminal) if account.closed_component(terminal).is_some() => notes.push(format!(
            "debug mode: user `{}` may not use the terminal `{}`; start the server as that user",
            account.user,
            terminal.display()
        )),
        Some(_) => {}
    }
    notes
}
