//! Whether something could be done here, outside of the isolation, by the user that this
//! process is: asked of the kernel, and never done. Called by `failed_calls.rs` for what failed
//! inside.

use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::calls::Wanted;

pub(super) fn possible(path: &Path, wanted: Wanted) -> bool {
    let may = |how| access(path, how).is_ok();
    match wanted {
        // A link that leads nowhere is there, too.
        Wanted::See => path.symlink_metadata().is_ok(),
        Wanted::Read => may(AccessFlags::R_OK),
        Wanted::Execute => may(AccessFlags::X_OK),
        Wanted::Write | Wanted::Connect => may(AccessFlags::W_OK),
        Wanted::Make => {
            let entry = AccessFlags::W_OK | AccessFlags::X_OK;
            let directory = path.parent().is_some_and(|at| access(at, entry).is_ok());
            directory || may(AccessFlags::W_OK)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_may_be_had_and_what_is_not_may_be_made() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        std::fs::write(&file, "").unwrap();
        let none = place.path().join("none");
        for wanted in [Wanted::See, Wanted::Read, Wanted::Write, Wanted::Make] {
            assert!(possible(&file, wanted), "{wanted:?}");
        }
        assert!(!possible(&file, Wanted::Execute));
        assert!(possible(&none, Wanted::Make));
        for wanted in [Wanted::See, Wanted::Read, Wanted::Write, Wanted::Connect] {
            assert!(!possible(&none, wanted), "{wanted:?}");
        }
        assert!(!possible(&none.join("below"), Wanted::Make));
        assert!(!place.path().join("none").exists(), "nothing was made");
        std::os::unix::fs::symlink("nowhere", place.path().join("link")).unwrap();
        assert!(possible(&place.path().join("link"), Wanted::See));
    }
}
