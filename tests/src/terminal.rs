//! A program on a terminal of its own: what it draws, what is typed, and whether it leaves
//! the terminal as it was. The crate vt100 understands what is drawn.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;

use crate::wait::{eventually, until};

/// A terminal with a program on it.
pub struct Terminal {
    master: File,
    slave: OwnedFd,
    before: Termios,
    child: Child,
    parser: vt100::Parser,
}

impl Terminal {
    /// Starts the program.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn start(command: &mut Command, columns: u16, rows: u16) -> Self {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).expect("a terminal can be made");
        let before = tcgetattr(&pty.slave).expect("a terminal has settings");
        let end = || pty.slave.try_clone().expect("a descriptor can be copied");
        let child = command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("the program can be run");
        let flags = FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
        fcntl(&pty.master, flags).expect("a terminal has flags");
        Self {
            master: pty.master.into(),
            slave: pty.slave,
            before,
            child,
            parser: vt100::Parser::new(at_least_one(rows), at_least_one(columns), 0),
        }
    }

    /// What is to be seen.
    pub fn screen(&mut self) -> &vt100::Screen {
        let mut buffer = [0; 65_536];
        loop {
            match self.master.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.parser.process(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.parser.screen()
    }

    /// Its lines.
    pub fn lines(&mut self) -> Vec<String> {
        let screen = self.screen();
        let lines = screen.rows(0, screen.size().1.get());
        lines.map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits until the lines are as they should be, and gives them.
    ///
    /// # Panics
    /// If that takes too long: with what was seen last.
    pub fn wait(&mut self, what: &str, is_right: impl Fn(&[String]) -> bool) -> Vec<String> {
        let found = until(Duration::from_secs(20), || {
            Some(self.lines()).filter(|lines| is_right(lines))
        });
        found.unwrap_or_else(|| panic!("{what} is not to be seen: {:#?}", self.lines()))
    }

    /// Types.
    ///
    /// # Panics
    /// If the terminal takes nothing.
    pub fn types(&mut self, keys: &str) {
        self.master
            .write_all(keys.as_bytes())
            .expect("a terminal takes keys");
    }

    /// Sends the program a signal.
    ///
    /// # Panics
    /// If it has gone.
    pub fn signals(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("the program is there");
    }

    /// Whether the program has the terminal to itself now: on a screen of its own, without
    /// a cursor, key by key.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        let screen = self.parser.screen();
        screen.alternate_screen() && screen.hide_cursor() && self.settings() != self.before
    }

    /// Waits until the program has ended.
    ///
    /// # Panics
    /// If it does not end, or the terminal is not as it was before.
    pub fn ends(mut self) -> ExitStatus {
        let status = eventually("the program's end", Duration::from_secs(10), || {
            // It may still have to draw.
            let _ = self.lines();
            self.child.try_wait().expect("its status can be had")
        });
        let lines = self.lines();
        assert!(
            !self.parser.screen().alternate_screen(),
            "its screen stays: {lines:#?}"
        );
        assert!(
            !self.parser.screen().hide_cursor(),
            "the cursor is gone: {lines:#?}"
        );
        assert_eq!(self.settings(), self.before, "the settings are others");
        status
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.slave).expect("a terminal has settings")
    }
}

fn at_least_one(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("a terminal has lines and columns")
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
