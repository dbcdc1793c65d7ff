//! Opens the log of a group: of an isolated one only where its site could lead no log to
//! what is others'. Called where groups get their logs (`logs.rs`) and get them again
//! (`groups.rs`).

use std::fs::File;
use std::io;
use std::path::Path;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::Identity;
use wsgid_protocol::isolation::Isolation;

use crate::isolation::log_place::place_of_log;
use crate::log::{open_as, open_without_links_as};

pub(super) fn open_log(config: &GroupConfig, log: &Path, identity: &Identity) -> io::Result<File> {
    let is_apart = config.isolation > Isolation::None || config.protect_home == Some(true);
    if !is_apart {
        return open_as(log, Some(identity));
    }
    let place = place_of_log(config, log, identity)?;
    open_without_links_as(&place, identity)
}
