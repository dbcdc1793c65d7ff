//! `wsgid check-config`: what of an httpd configuration that was written for
//! mod_wsgi means something else here. httpd itself reads it, with our module
//! in the place of mod_wsgi, and reports what it found; this part compares,
//! tries each process group as its user, and says it in words. Nothing is
//! changed, and nothing is started that stays.

mod ask;
mod built_with;
mod compare;
mod environment;
mod finding;
mod mounts;
mod print;
mod pythons;
mod section;
mod tree;
mod words;

use std::process::ExitCode;

pub(crate) use self::ask::CheckConfig;
use self::finding::{Finding, FindingKind};
use crate::exit_code;

/// Runs the command.
pub(crate) fn run(args: &CheckConfig) -> ExitCode {
    let asked = match ask::ask(args) {
        Ok(asked) => asked,
        Err(error) => {
            print::failure(&error.to_string());
            return ExitCode::from(error.exit_code());
        }
    };
    let configuration = tree::ConfigTree::new(&asked.report.tree);
    let uses = mounts::uses(&configuration, &asked.report);
    let mut findings = compare::findings(&configuration, &asked.report, &uses);
    findings.extend(environment::findings(asked.envvars.as_deref()));
    let groups = pythons::examine(&asked.report, &uses, args.loading.limit());
    let built_with = built_with::python(&asked.loading);
    findings.extend(pythons::findings(&groups, built_with));
    finding::sort(&mut findings);
    if args.json {
        print::json(&asked, &findings, &groups);
    } else {
        print::text(&asked, &findings, &groups);
    }
    ExitCode::from(exit_code(&findings))
}

fn exit_code(findings: &[Finding]) -> u8 {
    let has = |kind| findings.iter().any(|finding| finding.kind == kind);
    if has(FindingKind::Problem) {
        exit_code::CONFIGURATION
    } else if has(FindingKind::Change) {
        exit_code::DIFFERENT
    } else {
        exit_code::OK
    }
}
