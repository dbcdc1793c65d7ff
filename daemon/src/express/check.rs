//! Looks at every file that the options name, so that a mistake is reported in
//! one line before httpd starts. Called by `mod`.

use std::path::{Path, PathBuf};

use super::options::pairs;
use super::paths::absolute;
use super::plan::{Plan, PlanError};

/// Checks that what is named is there and of the right kind.
pub(crate) fn files(plan: &Plan) -> Result<(), PlanError> {
    let (options, tls) = (&plan.options, &plan.options.tls);
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
        path.as_deref().map_or(Ok(()), |path| is_file(what, path))?;
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
    if let Some((_, certificate, key)) = plan.tls() {
        is_file("TLS certificate", &certificate)?;
        is_file("TLS key", &key)?;
    }
    values(plan)
}

fn values(plan: &Plan) -> Result<(), PlanError> {
    let options = &plan.options;
    let url = |option: &'static str, value: &str| match value.starts_with('/') {
        true => Ok(()),
        false => Err(PlanError::Value {
            option,
            value: value.into(),
            reason: "a URL path begins with `/`".into(),
        }),
    };
    url("--mount-point", &options.application.mount_point)?;
    for (path, _) in pairs(&options.files.url_alias) {
        url("--url-alias", path)?;
    }
    for (path, _) in pairs(&options.files.proxy_mount_point) {
        url("--proxy-mount-point", path)?;
    }
    for (status, _) in pairs(&options.files.error_document) {
        let known = status
            .parse::<u16>()
            .is_ok_and(|status| (400..600).contains(&status));
        if !known {
            let reason = "not an HTTP error status".to_owned();
            return Err(PlanError::Value {
                option: "--error-document",
                value: status.into(),
                reason,
            });
        }
    }
    let all = pairs(&options.environment.service_user);
    for (name, _) in all
        .chain(pairs(&options.environment.service_group))
        .chain(pairs(&options.environment.service_log_file))
    {
        if !pairs(&options.environment.service_script).any(|(service, _)| service == name) {
            let reason = "no --service-script has this name".to_owned();
            return Err(PlanError::Value {
                option: "--service-…",
                value: name.into(),
                reason,
            });
        }
    }
    Ok(())
}

fn exists(what: &'static str, path: &Path) -> Result<(), PlanError> {
    kind(what, path, "no such file or directory", |_| true)
}

fn is_file(what: &'static str, path: &Path) -> Result<(), PlanError> {
    kind(what, path, "no such file", |facts| !facts.is_dir())
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
    let problem = |reason: String| PlanError::File {
        what,
        path: absolute(path),
        reason,
    };
    match path.metadata() {
        Ok(facts) if fits(&facts) => Ok(()),
        Ok(facts) if facts.is_dir() => Err(problem("it is a directory, a file is needed".into())),
        Ok(_) => Err(problem("it is a file, a directory is needed".into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(problem(missing.into())),
        Err(error) => Err(problem(error.to_string())),
    }
}
