//! Helpers of this part's unit tests.

use clap::Parser;

use super::options::Options;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// Options as the command line would give them.
pub(crate) fn options(arguments: &[&str]) -> Options {
    let line = std::iter::once("start-server").chain(arguments.iter().copied());
    Line::try_parse_from(line).unwrap().options
}
