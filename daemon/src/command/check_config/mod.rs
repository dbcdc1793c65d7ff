//! `wsgid check-config`: what of an httpd configuration that was written for
//! mod_wsgi means something else here. httpd itself reads it, with our module
//! in the place of mod_wsgi, and reports what it found; this part compares,
//! tries each process group as its user, and says it in words. Nothing is
//! changed, and nothing is started that stays.

mod ask;
mod compare;
mod environment;
mod finding;
mod mounts;
mod pattern;
mod print;
mod pythons;
mod tree;
mod values;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use self::finding::{Finding, Kind};
use crate::exit_code;

/// Arguments of `wsgid check-config`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckConfig {
    /// httpd's configuration file [default: the one of Debian's or Red Hat's package]
    #[arg(value_name = "HTTPD_CONF")]
    conf: Option<PathBuf>,
    /// The httpd that reads it
    #[arg(long, value_name = "PATH", env = "HTTPD")]
    httpd: Option<PathBuf>,
    /// Define a name for httpd, as its own -D does; may be repeated
    #[arg(short = 'D', long = "define", value_name = "NAME")]
    defines: Vec<String>,
    /// File with httpd's environment variables [default: `envvars` beside the configuration]
    #[arg(long, value_name = "FILE")]
    envvars: Option<PathBuf>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &CheckConfig) -> ExitCode {
    let asked = match ask::ask(args) {
        Ok(asked) => asked,
        Err(error) => {
            print::failure(&error.to_string());
            return ExitCode::from(error.exit_code());
        }
    };
    let configuration = tree::Configuration::new(&asked.report.tree);
    let uses = mounts::uses(&configuration, &asked.report);
    let mut findings = compare::findings(&configuration, &asked.report, &uses);
    findings.extend(environment::findings(asked.envvars.as_deref()));
    let groups = pythons::examine(&asked.report, &uses);
    findings.extend(pythons::findings(&asked.report, &groups));
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
    if has(Kind::Problem) {
        exit_code::CONFIGURATION
    } else if has(Kind::Change) {
        exit_code::DIFFERENT
    } else {
        exit_code::OK
    }
}
