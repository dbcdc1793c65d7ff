//! Looks at every file that the options name, so that a mistake is reported in
//! one line before httpd starts. Called by `mod`.

use std::fs::Metadata;
use std::path::Path;

use super::options::pairs;
use super::plan::{PlanError, ServerPlan, look};

/// Checks that what is named is there and of the right kind.
pub(crate) fn files(plan: &ServerPlan) -> Result<(), PlanError> {
    let options = &plan.options;
    let tls = &options.tls;
    let environment = &options.environment;
    let rotatelogs = &options.logs.rotatelogs_executable;
    let chain = &tls.ssl_certificate_chain_file;
    let single = [
        ("--rewrite-rules", &options.files.rewrite_rules),
        ("--mime-types", &options.files.mime_types),
        ("--host-access-script", &options.access.host_access_script),
        ("--auth-user-script", &options.access.auth_user_script),
        ("--auth-group-script", &options.access.auth_group_script),
        ("--envvars-script", &environment.envvars_script),
        ("--ssl-certificate-chain-file", chain),
        ("--ssl-ca-certificate-file", &tls.ssl_ca_certificate_file),
        ("--rotatelogs-executable", rotatelogs),
    ];
    for (what, path) in single {
        if let Some(path) = path {
            is_file(what, path)?;
        }
    }
    for path in &environment.include_file {
        is_file("--include-file", path)?;
    }
    for (_, path) in pairs(&environment.service_script) {
        is_file("--service-script", Path::new(path))?;
    }
    for (_, path) in pairs(&options.files.add_handler) {
        is_file("--add-handler", Path::new(path))?;
    }
    for (_, path) in pairs(&options.files.url_alias) {
        let missing = "no such file or directory";
        look("--url-alias", Path::new(path), |_| true, missing, "")?;
    }
    if let Some(root) = &options.files.document_root {
        let misfit = "it is a file, a directory is needed";
        let missing = "no such directory";
        look("--document-root", root, Metadata::is_dir, missing, misfit)?;
    }
    if let Some(https) = plan.https() {
        is_file("TLS certificate", &https.certificate)?;
        is_file("TLS key", &https.key)?;
    }
    values(plan)
}

fn values(plan: &ServerPlan) -> Result<(), PlanError> {
    let options = &plan.options;
    let environment = &options.environment;
    url_path("--mount-point", &options.application.mount_point)?;
    if let Some(path) = &options.deploy.health_path {
        plain_path("--health-path", path)?;
    }
    for (path, _) in pairs(&options.files.url_alias) {
        url_path("--url-alias", path)?;
    }
    for (path, _) in pairs(&options.files.proxy_mount_point) {
        url_path("--proxy-mount-point", path)?;
    }
    for (status, _) in pairs(&options.files.error_document) {
        if !matches!(status.parse::<u16>(), Ok(400..600)) {
            let reason = "not an HTTP error status";
            return Err(refused("--error-document", status, reason));
        }
    }
    let of_services = pairs(&environment.service_user)
        .chain(pairs(&environment.service_group))
        .chain(pairs(&environment.service_log_file));
    for (name, _) in of_services {
        if !pairs(&environment.service_script).any(|(service, _)| service == name) {
            let reason = "no --service-script has this name";
            return Err(refused("--service-…", name, reason));
        }
    }
    Ok(())
}

fn url_path(option: &'static str, value: &str) -> Result<(), PlanError> {
    if value.starts_with('/') {
        Ok(())
    } else {
        Err(refused(option, value, "a URL path begins with `/`"))
    }
}

/// A path that httpd compares as it is.
fn plain_path(option: &'static str, value: &str) -> Result<(), PlanError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._~-".contains(&byte);
    url_path(option, value)?;
    if value.len() > 1 && value.bytes().all(is_plain) {
        Ok(())
    } else {
        let reason = "letters, digits and `/._~-` make a path such as /health";
        Err(refused(option, value, reason))
    }
}

fn refused(option: &'static str, value: &str, reason: &str) -> PlanError {
    PlanError::Value {
        option,
        value: value.to_owned(),
        reason: reason.to_owned(),
    }
}

fn is_file(what: &'static str, path: &Path) -> Result<(), PlanError> {
    let misfit = "it is a directory, a file is needed";
    look(what, path, |found| !found.is_dir(), "no such file", misfit)
}
