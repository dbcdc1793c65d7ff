//! `wsgid logs GROUP`: prints the log of a process group's own, its end or what comes.
//! The supervisor says where it is; it is read with the rights of the group's user, and
//! each line is made harmless, for the site may write there what it likes.
#![expect(clippy::print_stderr, reason = "this is the command line")]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::{Command, Identity};
use wsgid_protocol::readable::escaped;
use wsgid_protocol::status::{GroupStatus, Status};

use crate::command::client::{self, OneGroup};
use crate::command::print::say;
use crate::exit_code;
use crate::log::read_as;
use crate::process::identity::{self, DefaultAccount};

/// Between two looks at what is new.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes that are read at once to find the last lines.
const BLOCK: u64 = 64 << 10;
/// Bytes of a line that are printed as one.
const LINE_MAX: u64 = 64 << 10;

/// Arguments of `wsgid logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    of: OneGroup,
    /// Go on with what comes, until an interrupt
    #[arg(short, long)]
    follow: bool,
    /// So many of the last lines
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 100)]
    lines: usize,
}

pub(crate) fn run(args: &Logs) -> ExitCode {
    let name = &args.of.group;
    let command = Command::Progress {
        group: Some(name.clone()),
    };
    let status: Status = match client::ask_owner(&args.of, &command) {
        Ok((_, status)) => status,
        Err(error) => return error.report(),
    };
    let group = status.group(name).cloned().unwrap_or_default();
    let done = place_of(&group).and_then(|path| {
        print(Path::new(path), &group, args).map_err(|error| format!("`{path}`: {error}"))
    });
    match done {
        Ok(()) => ExitCode::from(exit_code::OK),
        Err(why) => {
            eprintln!("wsgid: {}", escaped(why.as_bytes()));
            ExitCode::from(exit_code::FAILURE)
        }
    }
}

/// The file, or where else to look.
fn place_of(group: &GroupStatus) -> Result<&str, String> {
    let name = &group.name;
    let Some(log) = &group.log else {
        return Err(format!(
            "process group `{name}` has no log of its own: what it says is in the error log of httpd or of the \
             supervisor; give it one with log-file= and request-log=On, or in a site file with log = '...'"
        ));
    };
    match log.strip_prefix("syslog:") {
        Some(tag) => Err(format!(
            "process group `{name}` logs to the system's log; say journalctl -t {tag}"
        )),
        None => Ok(log),
    }
}

fn print(path: &Path, group: &GroupStatus, args: &Logs) -> io::Result<()> {
    let who = owner(group)?;
    let mut file = read_as(path, who.as_ref())?;
    let start = start_of_last(&mut file, args.lines)?;
    file.seek(SeekFrom::Start(start))?;
    let mut reader = BufReader::new(file);
    let mut rest = Vec::new();
    loop {
        print_whole_lines(&mut reader, &mut rest, !args.follow)?;
        if !args.follow {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
        // Rotated, or cut; what was written into the old one meanwhile comes first.
        if let Ok(now) = read_as(path, who.as_ref())
            && has_begun_anew(&mut reader, &now)?
        {
            print_whole_lines(&mut reader, &mut rest, true)?;
            reader = BufReader::new(now);
        }
    }
}

/// As whom root reads it.
fn owner(group: &GroupStatus) -> io::Result<Option<Identity>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    let user = group.user.clone();
    let user = user.ok_or_else(|| io::Error::other("its user is not known"))?;
    let mut config = GroupConfig::new("", "");
    config.user = Some(user);
    let nobody = DefaultAccount {
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let who = identity::resolve(&config, nobody);
    who.map(Some)
        .map_err(|error| io::Error::other(error.to_string()))
}

fn has_begun_anew(reader: &mut BufReader<File>, now: &File) -> io::Result<bool> {
    let old = reader.get_ref().metadata()?;
    let new = now.metadata()?;
    let is_other = (old.dev(), old.ino()) != (new.dev(), new.ino());
    Ok(is_other || new.len() < reader.stream_position()?)
}

/// Prints what is there; a line that has no end yet waits for it, unless it is the last.
fn print_whole_lines(
    reader: &mut BufReader<File>,
    rest: &mut Vec<u8>,
    is_last: bool,
) -> io::Result<()> {
    loop {
        let room = LINE_MAX.saturating_sub(rest.len() as u64);
        let read = reader.by_ref().take(room).read_until(b'\n', rest)?;
        let is_whole = rest.last() == Some(&b'\n') || rest.len() as u64 >= LINE_MAX;
        if is_whole || (is_last && read == 0 && !rest.is_empty()) {
            say!("{}", escaped(rest.strip_suffix(b"\n").unwrap_or(rest)));
            rest.clear();
        } else if read == 0 {
            return Ok(());
        }
    }
}

/// Where the last so many lines begin.
fn start_of_last(file: &mut File, lines: usize) -> io::Result<u64> {
    let len = file.metadata()?.len();
    let mut end = len;
    let mut found = 0;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let mut block = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(end - start).read_to_end(&mut block)?;
        for (at, _) in block
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            let behind = start + at as u64 + 1;
            // The end of the last line begins no other.
            if behind == len {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(behind);
            }
        }
        end = start;
    }
    Ok(if lines == 0 { len } else { 0 })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_last_lines_are_found() {
        let mut file = tempfile::tempfile().unwrap();
        let start = |file: &mut File, lines| start_of_last(file, lines).unwrap();
        assert_eq!(start(&mut file, 3), 0);
        file.write_all(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(start(&mut file, 1), 8);
        assert_eq!(start(&mut file, 2), 4);
        assert_eq!(start(&mut file, 3), 0);
        assert_eq!(start(&mut file, 9), 0);
        assert_eq!(start(&mut file, 0), 14);
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"four").unwrap();
        assert_eq!(start(&mut file, 1), 14);
        // Lines longer than what is read at once.
        file.write_all(&vec![b'x'; 200_000]).unwrap();
        file.write_all(b"\nlast\n").unwrap();
        assert_eq!(start(&mut file, 1), 14 + 4 + 200_000 + 1);
        assert_eq!(start(&mut file, 2), 14);
    }

    #[test]
    fn where_there_is_no_file_the_cure_is_said() {
        let group = |log: Option<&str>| GroupStatus {
            name: "shop".into(),
            log: log.map(str::to_owned),
            ..GroupStatus::default()
        };
        assert_eq!(place_of(&group(Some("/srv/log"))), Ok("/srv/log"));
        let text = place_of(&group(Some("syslog:shop"))).unwrap_err();
        assert!(text.contains("journalctl -t shop"), "{text}");
        let text = place_of(&group(None)).unwrap_err();
        assert!(text.contains("log-file= and request-log=On"), "{text}");
    }
}
