//! Standard output of the commands that ask, print and end. One that cannot be
//! written (a full disk) is an error like another: the command says so and fails.

use std::fmt::Arguments;
use std::io::{self, Write};

use crate::exit_code;

/// Prints a line.
#[expect(clippy::print_stderr, reason = "this is the command line")]
pub(crate) fn line(text: Arguments<'_>) {
    if let Err(error) = writeln!(io::stdout(), "{text}") {
        eprintln!("wsgid: failed to write to standard output: {error}");
        std::process::exit(exit_code::FAILURE.into());
    }
}

/// As `println!`.
macro_rules! say {
    () => { $crate::command::print::line(format_args!("")) };
    ($($text:tt)*) => { $crate::command::print::line(format_args!($($text)*)) };
}

pub(crate) use say;
