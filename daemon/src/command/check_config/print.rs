//! The report for people, and as JSON.
#![expect(clippy::print_stderr, reason = "this is the command line")]

use super::ask::Configtest;
use super::finding::{Finding, FindingKind};
use super::pythons::Tried;
use crate::command::print::say;
use wsgid_protocol::text;

/// Columns of a line.
const WIDTH: usize = 100;

/// There is no report.
pub(crate) fn failure(text: &str) {
    eprintln!("wsgid: {text}");
}

/// The report as one JSON object.
pub(crate) fn json(asked: &Configtest, findings: &[Finding], groups: &[Tried<'_>]) {
    let text = serde_json::json!({
        "configuration": asked.conf,
        "module": asked.module,
        "load_module": asked.loading,
        "findings": findings,
        "process_groups": groups,
    });
    say!("{text:#}");
}

/// Findings by file, process groups, what to do.
pub(crate) fn text(asked: &Configtest, findings: &[Finding], groups: &[Tried<'_>]) {
    let mut file = None;
    for finding in findings {
        let (own, line) = finding.file_and_line();
        if file != Some(own) {
            say!("{}", if own.is_empty() { "In general" } else { own });
            file = Some(own);
        }
        let place = if line == 0 {
            String::new()
        } else {
            format!("line {line}")
        };
        block(
            &format!("  {place:<9} {:<8} ", finding.kind.word()),
            &finding.text,
        );
    }
    if !findings.is_empty() {
        say!();
    }
    say!("Process groups");
    for group in groups {
        let python = group.found.python;
        let python = python.map_or_else(String::new, |(major, minor)| {
            format!(", Python {major}.{minor}")
        });
        say!(
            "  {}  ({})\n    user {}{python}, {} × {} per application group",
            group.name,
            group.config.origin,
            group.user,
            text::count(group.processes, "process"),
            text::count(group.threads, "thread"),
        );
    }
    say!("\nTo do");
    if asked.loading.is_empty() {
        block(
            "  ",
            "No line that loads mod_wsgi was found in the files that httpd read.",
        );
    }
    for line in &asked.loading {
        say!("  {}\n    {}", line.origin, line.text);
        if line.text.to_ascii_lowercase().starts_with("loadfile") {
            say!("    is not needed: nothing of Python is in httpd");
        } else if line.text.contains("mod_wsgid.so") {
            say!("    is this project's module already");
        } else {
            say!(
                "    becomes\n    LoadModule wsgi_module {}",
                asked.module.display()
            );
        }
    }
    say!("\n{}", summary(findings));
}

fn summary(findings: &[Finding]) -> String {
    let counts = [
        (
            FindingKind::Problem,
            "problem (does not work here)",
            "problems (do not work here)",
        ),
        (
            FindingKind::Change,
            "change (works, and means something else)",
            "changes (work, and mean something else)",
        ),
        (FindingKind::Note, "note", "notes"),
    ];
    let counts = counts.map(|(kind, one, many)| {
        let found = findings.iter().filter(|finding| finding.kind == kind);
        let count = found.count();
        format!("{count} {}", if count == 1 { one } else { many })
    });
    counts.join(", ")
}

/// A paragraph behind a front, in lines.
fn block(front: &str, text: &str) {
    let indent = " ".repeat(front.chars().count());
    let mut line = front.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.chars().count() + word.chars().count() >= WIDTH {
            say!("{}", line.trim_end());
            line.clone_from(&indent);
        }
        line += word;
        line.push(' ');
        is_empty = false;
    }
    say!("{}", line.trim_end());
}
