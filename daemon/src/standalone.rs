//! `wsgid supervise --config`: a supervisor under systemd, with its own socket
//! and its own files, and no httpd parent.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};

use crate::config::{self, Loaded};
use crate::identity::Default as HttpdUser;

/// Where a supervisor on its own finds its configuration.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: PathBuf,
}

/// A configuration, and who httpd is.
pub(crate) struct Read {
    pub(crate) loaded: Loaded,
    pub(crate) httpd: HttpdUser,
}

impl Source {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: std::path::absolute(path)? })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads all files.
    ///
    /// # Errors
    /// If nothing of it can be used; in words.
    pub(crate) fn read(&self) -> Result<Read, String> {
        let loaded = config::load(&self.path)?;
        let name = &loaded.settings.httpd_user;
        let user = User::from_name(name).ok().flatten();
        let user = user.ok_or_else(|| format!("httpd-user: user `{name}` does not exist"))?;
        Ok(Read { loaded, httpd: HttpdUser { uid: user.uid.as_raw(), gid: user.gid.as_raw() } })
    }
}

/// Makes the listening socket for httpd's user alone, replacing an old one in
/// one step.
///
/// # Errors
/// With the path in the text.
pub(crate) fn bind(path: &Path, httpd: HttpdUser) -> io::Result<OwnedFd> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("socket `{}`: {error}", path.display()));
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(named)?;
    }
    let staged = path.with_extension(std::process::id().to_string());
    let _ = std::fs::remove_file(&staged);
    let listener = UnixListener::bind(&staged).map_err(named)?;
    std::fs::set_permissions(&staged, Permissions::from_mode(0o600)).map_err(named)?;
    if geteuid().is_root() {
        chown(&staged, Some(httpd.uid), None).map_err(named)?;
    }
    std::fs::rename(&staged, path).map_err(named)?;
    Ok(listener.into())
}
