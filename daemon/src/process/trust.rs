//! Whether files and directories are in the hands of root and of ourselves
//! alone. Asked before configuration is read, before sockets are made and before
//! programs are run: who may write there decides for us. Only root has anything to
//! lose to other users there. How it is found out is `wsgid_protocol::trust`.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;
use wsgid_protocol::trust::{self, is_open, is_ours};
pub(crate) use wsgid_protocol::trust::{Distrust, Sticky};

/// A file whose content is carried out, opened already.
pub(crate) fn file(facts: &Metadata) -> Result<(), String> {
    if !is_ours(facts, geteuid().as_raw()) {
        return Err(format!(
            "it belongs to uid {}; give it to the supervisor's user with chown",
            facts.uid()
        ));
    }
    if is_open(facts) {
        return Err("others may write it; take that away with chmod go-w".to_owned());
    }
    Ok(())
}

/// A file that root reads, runs or writes, and all directories above it.
pub(crate) fn path(path: &Path) -> Result<(), Distrust> {
    if geteuid().is_root() {
        trust::file(path, 0)
    } else {
        Ok(())
    }
}

/// A directory whose names mean what we made them to mean: it and all above it.
pub(crate) fn directory(path: &Path, sticky: Sticky) -> Result<(), Distrust> {
    if geteuid().is_root() {
        return trust::directory(path, 0, sticky);
    }
    match path.metadata() {
        Ok(facts) if facts.is_dir() => Ok(()),
        Ok(_) => Err(Distrust::NoDirectory(path.into())),
        Err(error) => Err(Distrust::Look(path.into(), error)),
    }
}

/// The same for one that is made if it is not there.
pub(crate) fn directory_to_be(path: &Path, sticky: Sticky) -> Result<(), Distrust> {
    if geteuid().is_root() {
        trust::directory_to_be(path, 0, sticky)
    } else {
        Ok(())
    }
}
