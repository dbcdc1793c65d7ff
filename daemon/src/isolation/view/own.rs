//! What is the site's own, as its definition and the file system say together.

use std::path::{Path, PathBuf};

use wsgid_protocol::GroupConfig;
use wsgid_protocol::isolation::Isolation;

use super::links::{resolve, where_it_is};
use crate::isolation::neighbours::{directory_beside, is_below};

/// Where its scripts are: a directory of scripts is one itself.
pub(super) fn script_directories(config: &GroupConfig) -> Vec<PathBuf> {
    let places = config.script_places().into_iter();
    places
        .filter_map(|place| {
            if place.is_dir() {
                return Some(place);
            }
            // A script may be named with something behind it.
            let mut above = place.ancestors().skip(1);
            above.find(|one| one.is_dir()).map(Path::to_path_buf)
        })
        .collect()
}

/// The directories beside one of the site's own, as it is named and where it leads.
pub(super) fn directories_beside(own: &Path) -> Vec<PathBuf> {
    let Some(named) = where_it_is(own) else {
        return Vec::new();
    };
    let leads_to = resolve(own).map_or_else(|_| named.clone(), |found| found.path);
    // The directory of a link that each deployment exchanges is the site's.
    let around = if named.is_symlink() {
        named.parent()
    } else {
        None
    };
    let around = around.unwrap_or(&named);
    let elsewhere = Some(&leads_to).filter(|path| !is_below(path, around));
    let all = [Some(around), elsewhere.map(PathBuf::as_path)];
    all.into_iter()
        .flatten()
        .filter_map(directory_beside)
        .collect()
}

/// What a site writes, with the option that has to be right.
pub(super) fn written_by(config: &GroupConfig) -> Vec<(Option<&'static str>, PathBuf)> {
    let home = config.home.as_ref().map(|_| "home=");
    let own = config.home.clone();
    let own = own.map_or_else(|| script_directories(config), |home| vec![home]);
    let own = own.into_iter().map(|path| (home, path));
    let named = config.read_write_paths.iter().cloned();
    let named = named.map(|path| (Some("read-write-paths="), path));
    let eggs = config.python_eggs.iter().cloned().map(|path| (None, path));
    let may_write = config.isolation != Isolation::Strict;
    own.filter(|_| may_write).chain(named).chain(eggs).collect()
}
