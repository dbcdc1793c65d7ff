//! A program on a terminal of its own: what it draws, what is typed, and whether it leaves
//! the terminal as it was. Knows the few sequences that full-screen programs draw with.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
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
#[derive(Debug)]
pub struct Terminal {
    master: File,
    slave: OwnedFd,
    before: Termios,
    child: Child,
    screen: Screen,
}

#[derive(Debug)]
struct Screen {
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// Bytes that are no whole character or sequence yet.
    rest: Vec<u8>,
    alternate: bool,
    cursor: bool,
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
            screen: Screen {
                cells: vec![vec![' '; columns.into()]; rows.into()],
                row: 0,
                column: 0,
                rest: Vec::new(),
                alternate: false,
                cursor: true,
            },
        }
    }

    /// The lines that are to be seen.
    pub fn lines(&mut self) -> Vec<String> {
        let mut buffer = [0; 65_536];
        loop {
            match self.master.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.screen.take(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let lines = self.screen.cells.iter();
        lines
            .map(|line| line.iter().collect::<String>().trim_end().to_owned())
            .collect()
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
        self.screen.alternate && !self.screen.cursor && self.settings() != self.before
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
        assert!(!self.screen.alternate, "its screen stays: {lines:#?}");
        assert!(self.screen.cursor, "the cursor is gone: {lines:#?}");
        assert_eq!(self.settings(), self.before, "the settings are others");
        status
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.slave).expect("a terminal has settings")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Screen {
    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        loop {
            let rest = std::mem::take(&mut self.rest);
            let used = self.step(&rest);
            self.rest = rest[used..].to_vec();
            if used == 0 || self.rest.is_empty() {
                return;
            }
        }
    }

    /// Takes one character or sequence; returns its length, or 0 if it is not whole.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match bytes {
            [0x1b] => 0,
            [0x1b, b'[', rest @ ..] => {
                let Some(end) = rest.iter().position(|byte| (0x40..0x7f).contains(byte)) else {
                    return 0;
                };
                let parameters = String::from_utf8_lossy(&rest[..end]).into_owned();
                self.sequence(&parameters, rest[end]);
                2 + end + 1
            }
            [0x1b, ..] => 2,
            [b'\r', ..] => {
                self.column = 0;
                1
            }
            [b'\n', ..] => {
                self.row += 1;
                1
            }
            [first, ..] => {
                let len = match first {
                    0xf0.. => 4,
                    0xe0.. => 3,
                    0xc0.. => 2,
                    _ => 1,
                };
                let Some(bytes) = bytes.get(..len) else {
                    return 0;
                };
                let text = String::from_utf8_lossy(bytes);
                self.put(text.chars().next().unwrap_or('?'));
                len
            }
            [] => 0,
        }
    }

    fn put(&mut self, char: char) {
        let row = self.cells.get_mut(self.row);
        if let Some(cell) = row.and_then(|row| row.get_mut(self.column)) {
            *cell = char;
        }
        self.column += 1;
    }

    fn sequence(&mut self, parameters: &str, kind: u8) {
        match (kind, parameters) {
            (b'H', _) => {
                let mut numbers = parameters
                    .split(';')
                    .map(|number| number.parse().unwrap_or(1));
                let mut next = || numbers.next().unwrap_or(1_usize).saturating_sub(1);
                (self.row, self.column) = (next(), next());
            }
            (b'J', _) => self.cells.iter_mut().for_each(|row| row.fill(' ')),
            (b'h', "?1049") => self.alternate = true,
            (b'l', "?1049") => self.alternate = false,
            (b'h', "?25") => self.cursor = true,
            (b'l', "?25") => self.cursor = false,
            _ => {}
        }
    }
}
