//! Looks at every file that the options name, so that a mistake is reported in
//! one line before httpd starts. Called by `mod`.

use std::path::{Path, PathBuf};

use super::options::pairs;
use super::paths::absolute;
use super::plan::{PlanError, ServerPlan};

/// Checks that what is named is there and of the right kind.
pub(crate) fn files(plan: &ServerPlan) -> Result<(), PlanError> {
    let options = &plan.options;
    let tls = &options.tls;
    let environment = &options.environment;
    let single: [(&'static str, &Option<PathBuf>); 9] = [
        ("--rewrite-rules", &options.files.rewrite_rules),
        ("--mime-types", &options.files.mime_types),
        ("--host-access-script", &options.access.host_access_script),
        ("--auth-user-script", &options.access.auth_user_script),
        ("--auth-group-script", &options.access.auth_group_script),
        ("--envvars-script", &environment.envvars_script),
        (
            "--ssl-certificate-chain-file",
            &tls.ssl_certificate_chain_file,
        ),
        ("--ssl-ca-certificate-file", &tls.ssl_ca_certificate_file),
        (
            "--rotatelogs-executable",
            &options.logs.rotatelogs_executable,
        ),
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
        exists("--url-alias", Path::new(path))?;
    }
    if let Some(root) = &options.files.document_root {
        is_directory("--document-root", root)?;
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
    for (path, _) in pairs(&options.files.url_alias) {
        url_path("--url-alias", path)?;
    }
    for (path, _) in pairs(&options.files.proxy_mount_point) {
        url_path("--proxy-mount-point", path)?;
    }
    for (status, _) in pairs(&options.files.error_document) {
        if !matches!(status.parse::<u16>(), Ok(400..600)) {
            return Err(refused(
                "--error-document",
                status,
                "not an HTTP error status",
            ));
        }
    }
    let of_services = pairs(&environment.service_user)
        .chain(pairs(&environment.service_group))
        .chain(pairs(&environment.service_log_file));
    for (name, _) in of_services {
        if !pairs(&environment.service_script).any(|(service, _)| service == name) {
            return Err(refused(
                "--service-…",
                name,
                "no --service-script has this name",
            ));
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

fn refused(option: &'static str, value: &str, reason: &str) -> PlanError {
    PlanError::Value {
        option,
        value: value.to_owned(),
        reason: reason.to_owned(),
    }
}

fn exists(what: &'static str, path: &Path) -> Result<(), PlanError> {
    kind(what, path, "no such file or directory", |_| true)
}

fn is_file(what: &'static str, path: &Path) -> Result<(), PlanError> {
    kind(what, path, "no such file", |found| !found.is_dir())
}

fn is_directory(what: &'static str, path: &Path) -> Result<(), PlanError> {
    kind(what, path, "no such directory", std::fs::Metadata::is_dir)
}

fn kind(
    what: &'static str,
    path: &Path,
    missing: &str,
    fits: impl Fn(&std::fs::Metadata) -> bool,
) -> Result<(), PlanError> {
    let reason = match path.metadata() {
        Ok(found) if fits(&found) => return Ok(()),
        Ok(found) if found.is_dir() => "it is a directory, a file is needed".to_owned(),
        Ok(_) => "it is a file, a directory is needed".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => missing.to_owned(),
        Err(error) => error.to_string(),
    };
    Err(PlanError::File {
        what,
        path: absolute(path),
        reason,
    })
}
