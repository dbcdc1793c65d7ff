//! Whether others could put a socket of their own in the supervisor's place, and
//! so hear what httpd's children say to it. Asked by `launch` where httpd is
//! root; only looks, for an administrator may know better.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const WRITABLE_FOR_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// The first directory above `path` that is in the hands of somebody else than
/// root and httpd's own user, who hears all of it anyway.
pub(super) fn through(path: &Path, httpd_uid: u32) -> Option<PathBuf> {
    let real = path.canonicalize().ok()?;
    // As it is written and as it is: who owns a link decides where it leads.
    let above = path.ancestors().chain(real.ancestors()).skip(1);
    above
        .filter(|part| part.parent().is_some())
        .find(|part| part.metadata().is_ok_and(|facts| is_open(&facts, httpd_uid)))
        .map(Path::to_path_buf)
}

fn is_open(facts: &Metadata, httpd_uid: u32) -> bool {
    let stranger = facts.uid() != 0 && facts.uid() != httpd_uid;
    stranger || (facts.mode() & WRITABLE_FOR_OTHERS != 0 && facts.mode() & STICKY == 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn root_a_directory_in_other_hands_is_found_also_behind_a_link() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let top = std::env::temp_dir().join(format!("wsgid-exposure-{}", std::process::id()));
        let directory = top.join("above/wsgid.1");
        fs::create_dir_all(&directory).unwrap();
        let above = top.join("above");
        let link = top.join("link");
        symlink(&above, &link).unwrap();
        assert_eq!(through(&directory, 33), None);
        chown(&above, Some(64_007), None).unwrap();
        assert_eq!(through(&directory, 33), Some(above.clone()));
        assert_eq!(through(&link.join("wsgid.1"), 33), Some(link.clone()));
        assert_eq!(through(&directory, 64_007), None, "httpd's own");
        chown(&above, Some(0), None).unwrap();
        fs::set_permissions(&above, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(through(&directory, 33), Some(above.clone()));
        fs::set_permissions(&above, fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(through(&directory, 33), None, "nobody can rename ours there");
        fs::remove_dir_all(&top).unwrap();
    }
}
