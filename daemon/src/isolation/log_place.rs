//! Where the log of an isolated group is written: the supervisor does it, which sees all
//! that the site does not. Called by the supervisor before it opens one; opens nothing.

use std::io;
use std::path::{Path, PathBuf};

use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::Identity;

use super::neighbours::own_roots;
use super::view::links::{Written, resolve};
use crate::user_rights::as_user;

/// Where the log is, without links.
///
/// # Errors
/// If a link that the site itself could exchange leads out of its own directories.
pub(crate) fn place_of_log(
    config: &GroupConfig,
    log: &Path,
    identity: &Identity,
) -> io::Result<PathBuf> {
    as_user(identity, || {
        let (Some(directory), Some(name)) = (log.parent(), log.file_name()) else {
            return Err(io::Error::other("it is no path of a file"));
        };
        let roots = own_roots(config);
        let own = roots.iter().chain(&config.read_write_paths);
        let own = Written::of(own.map(PathBuf::as_path));
        let found = resolve(directory)?;
        match own.leads_through(&found) {
            Some(link) if !own.holds_safely(&found.path) => Err(io::Error::other(format!(
                "`{}` is a link that the site itself could exchange, and leads to `{}`",
                link.display(),
                found.path.display()
            ))),
            _ => Ok(found.path.join(name)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs::create_dir;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_of_the_sites_own_leads_only_to_what_is_its_own() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        let path = |name: &str| root.join(name);
        for name in ["own", "own/logs", "other", "logs"] {
            create_dir(path(name)).unwrap();
        }
        symlink("logs", path("own/inside")).unwrap();
        symlink(path("other"), path("own/outside")).unwrap();
        symlink(path("logs"), path("link")).unwrap();
        let mut config = GroupConfig::new("own", "test:1");
        config.set("home", path("own").to_str().unwrap()).unwrap();
        config
            .set("read-write-paths", path("own/outside").to_str().unwrap())
            .unwrap();
        let identity = Identity {
            uid: 1,
            gid: 1,
            groups: Vec::new(),
            user: "site".into(),
            home: "/".into(),
            shell: "/".into(),
            change: false,
        };
        let of = |name: &str| place_of_log(&config, &path(name), &identity).ok();
        assert_eq!(of("own/inside/log"), Some(path("own/logs/log")));
        assert_eq!(of("link/log"), Some(path("logs/log")));
        assert_eq!(of("own/outside/log"), None);
    }
}
