//! What the httpd module makes of a configuration, for `wsgid check-config`:
//! the directives that httpd found, the process groups they make, and what is
//! refused or has no effect. JSON on standard output, from one program of this
//! project to another of the same version; no wire format.

use std::ffi::CStr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::GroupConfig;

/// The name that `httpd -D` has to define for the report to be written.
pub const DEFINE: &CStr = c"WSGID_REPORT";

/// The front of the line that holds the report.
pub const PREFIX: &str = "wsgid-report: ";

/// A sentence about a place in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// `file:line`; empty if it is about no line.
    pub origin: String,
    /// The sentence.
    pub text: String,
}

impl std::fmt::Display for Remark {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let separator = if self.origin.is_empty() { "" } else { ": " };
        write!(out, "{}{separator}{}", self.origin, self.text)
    }
}

/// A directive as httpd read it: conditions, includes and macros resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name; a section's begins with `<`.
    pub name: String,
    /// The rest of its line.
    pub arguments: String,
    /// `file:line`.
    pub origin: String,
    /// What a section holds.
    pub children: Vec<Node>,
}

/// The whole report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigReport {
    /// What httpd refuses, and what does not work.
    pub problems: Vec<Remark>,
    /// What is dangerous.
    pub warnings: Vec<Remark>,
    /// What has no effect, or another than in mod_wsgi.
    pub remarks: Vec<Remark>,
    /// The process groups as the supervisor would get them, the implicit one last.
    pub groups: Vec<GroupConfig>,
    /// The user of httpd's children.
    pub httpd_uid: u32,
    /// Their group.
    pub httpd_gid: u32,
    /// Where relative paths begin.
    pub server_root: PathBuf,
    /// WSGIRestrictEmbedded.
    pub restrict_embedded: bool,
    /// Sections, and the directives that this project is about.
    pub tree: Vec<Node>,
}
