//! The table of misbehaviours, by what they break.

use std::io;

use super::case::Case;
use super::exchange::Exchange;
use super::{answer, files, frames, heads, sleepers, supervisor};

/// Everything a hostile worker does to the httpd module.
pub fn against_module() -> impl Iterator<Item = &'static Case> {
    [
        heads::CASES,
        frames::CASES,
        answer::CASES,
        files::CASES,
        sleepers::CASES,
    ]
    .into_iter()
    .flatten()
}

/// Everything it does to the supervisor.
pub fn against_supervisor() -> impl Iterator<Item = &'static Case> {
    supervisor::CASES.iter().chain(sleepers::CONTROL)
}

/// Descriptors that sleep when they are closed or read, sent to either.
pub fn sleepers() -> impl Iterator<Item = &'static Case> {
    sleepers::CASES.iter().chain(sleepers::CONTROL)
}

/// What goes on for ever: for clients that leave.
pub fn without_end() -> impl Iterator<Item = &'static Case> {
    answer::ENDLESS.iter()
}

/// Words before they are asked for.
pub fn too_early() -> impl Iterator<Item = &'static Case> {
    frames::EARLY.iter()
}

/// What a good worker would answer, at any path that names no case.
pub const GOOD: &str = "a good answer";

/// Does what the path names.
pub(super) fn act(path: &str, exchange: &mut Exchange) -> io::Result<()> {
    let name = path.rsplit('/').next().unwrap_or_default();
    match against_module()
        .chain(against_supervisor())
        .chain(without_end())
        .chain(too_early())
        .find(|case| case.name == name)
    {
        Some(case) => (case.act)(exchange),
        None => exchange.answer(GOOD.as_bytes()),
    }
}
