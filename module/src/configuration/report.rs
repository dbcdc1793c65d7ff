//! What `wsgid check-config` asks for: with `-D WSGID_REPORT` a configtest
//! collects all errors instead of ending at the first, and writes what it
//! found to standard output. Nothing else happens, as in every configtest.

use std::io::Write as _;

use wsgid_protocol::report::{ConfigReport, DEFINE, PREFIX, Remark};

use crate::configuration::{group_options, settings};
use crate::httpd::log;
use crate::httpd::server::{self, is_only_looking};
use crate::httpd::tree;
use crate::log_ids;

/// Directives of others that decide what ours mean, and sections.
const OF_OTHERS: &[&str] = &[
    "SetHandler",
    "AddHandler",
    "ServerName",
    "ServerAlias",
    "User",
    "Group",
    "AllowOverride",
    "Options",
];

/// Whether a directive is ours or decides what ours mean.
fn matters(name: &str) -> bool {
    let front = name.get(..4).unwrap_or_default();
    front.eq_ignore_ascii_case("WSGI")
        || OF_OTHERS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
}

pub(crate) fn is_wanted() -> bool {
    is_only_looking() && tree::is_defined(DEFINE)
}

/// Keeps an error for the report; false if there is none to be written.
pub(crate) fn collect(origin: &str, text: &str) -> bool {
    if !is_wanted() {
        return false;
    }
    let problem = Remark {
        origin: origin.to_owned(),
        text: text.to_owned(),
    };
    settings::with(|settings| settings.refused.push(problem));
    true
}

pub(crate) fn write(problems: Vec<Remark>, warnings: Vec<Remark>) {
    let (httpd_uid, httpd_gid) = server::children_identity();
    let mut report = settings::with(|settings| ConfigReport {
        problems: std::mem::take(&mut settings.refused),
        warnings,
        remarks: std::mem::take(&mut settings.remarks),
        groups: group_options::all(settings),
        httpd_uid,
        httpd_gid,
        restrict_embedded: settings.restrict_embedded,
        server_root: tree::server_root().to_string_lossy().into_owned().into(),
        tree: tree::copied(matters),
    });
    report.problems.extend(problems);
    let written = serde_json::to_string(&report)
        .map_err(std::io::Error::from)
        .and_then(|text| writeln!(std::io::stdout(), "{PREFIX}{text}"));
    if let Err(error) = written {
        log::server(log_ids::REPORT_NOT_WRITTEN, || {
            format!("the report could not be written: {error}")
        });
    }
}
