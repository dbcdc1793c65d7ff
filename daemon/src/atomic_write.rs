//! A file that is there whole or not at all: written beside its target and renamed. For
//! files that others read meanwhile. Knows nothing of what they hold.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

pub(crate) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_whole_for(path, bytes, mode, None)
}

/// The same; the file belongs to this user from the moment it is there.
pub(crate) fn write_whole_for(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    owner: Option<u32>,
) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written =
        write_new(&temporary, bytes, mode, owner).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8], mode: u32, owner: Option<u32>) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    match owner {
        Some(_) => fchown(&file, owner, None),
        None => Ok(()),
    }
}
