//! Manual pages and shell completions, generated from the definitions of the
//! command line, so that they cannot disagree with it. Called by `cli`, which
//! hands its definitions in.
#![expect(clippy::print_stderr, reason = "this is the command line")]

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Command;

use crate::atomic_write::write_whole;
use crate::exit_code;

/// Prints the completions of a shell.
pub(crate) fn completions(mut command: Command, shell: clap_complete::Shell) -> ExitCode {
    // clap_complete panics where it cannot write.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "wsgid", &mut text);
    finish(io::stdout().write_all(&text))
}

/// Writes `wsgid.8` and a page for each command that is not hidden.
pub(crate) fn manual(command: Command, directory: &Path) -> ExitCode {
    finish(write_pages(command, directory))
}

fn finish(done: io::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::from(exit_code::OK),
        Err(error) => {
            eprintln!("wsgid: {error}");
            ExitCode::from(exit_code::FAILURE)
        }
    }
}

fn write_pages(command: Command, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory).map_err(|error| unwritten(directory, &error))?;
    for (name, page) in pages(command)? {
        let path = directory.join(name);
        // Root may be asked to write where others can put a link.
        write_whole(&path, &page, 0o644).map_err(|error| unwritten(&path, &error))?;
    }
    Ok(())
}

fn unwritten(path: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("failed to write `{}`: {error}", path.display()))
}

/// File names and texts.
fn pages(command: Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = vec![page(command.clone())?];
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        pages.push(page(sub.clone())?);
    }
    Ok(pages)
}

fn page(command: Command) -> io::Result<(String, Vec<u8>)> {
    // `wsgid-start-server`, once the whole command line is built.
    let shown = command.get_display_name();
    let name = format!("{}.8", shown.unwrap_or_else(|| command.get_name()));
    let mut text = Vec::new();
    clap_mangen::Man::new(command)
        .section("8")
        .manual("mod_wsgid")
        .render(&mut text)?;
    Ok((name, text))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_command_has_a_page_and_every_option_is_in_it() {
        let pages = pages(Cli::command()).unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for wanted in [
            "wsgid.8",
            "wsgid-start-server.8",
            "wsgid-module-config.8",
            "wsgid-status.8",
        ] {
            assert!(names.contains(&wanted), "{wanted} is not in {names:?}");
        }
        let (_, text) = pages
            .iter()
            .find(|(name, _)| name == "wsgid-start-server.8")
            .unwrap();
        let text = String::from_utf8_lossy(text).replace('\\', "");
        for option in [
            "--processes",
            "--url-alias",
            "--https-port",
            "--reload-on-changes",
        ] {
            assert!(text.contains(option), "{option} is not in:\n{text}");
        }
    }

    #[test]
    fn shells_get_their_completions() {
        let mut out = Vec::new();
        clap_complete::generate(
            clap_complete::Shell::Bash,
            &mut Cli::command(),
            "wsgid",
            &mut out,
        );
        assert!(String::from_utf8_lossy(&out).contains("--reload-on-changes"));
    }
}
