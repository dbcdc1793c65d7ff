//! `wsgid supervise --config`: a supervisor under systemd, with its own socket
//! and its own files, and no httpd parent.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Uid, User, geteuid};

use wsgid_protocol::totals;

use crate::config::{self, InForce, Loaded};
use crate::process::identity::DefaultAccount;
use crate::process::trust;

/// What is to be said of a process group that runs as httpd's user.
pub(crate) const AS_HTTPD: &str = "runs as httpd's user, so its code may speak to every process group as httpd does; give it a user of its own";

/// Where a supervisor on its own finds its configuration.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: PathBuf,
    /// The socket for httpd, and whose it is, as far as that is known.
    bound: Option<(PathBuf, u32)>,
}

/// A configuration, and who httpd is.
pub(crate) struct Read {
    pub(crate) loaded: Loaded,
    pub(crate) httpd: DefaultAccount,
}

impl Source {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: std::path::absolute(path)?,
            bound: None,
        })
    }

    /// The socket for httpd is there.
    pub(crate) fn is_bound(&mut self, socket: &Path, httpd: DefaultAccount) {
        self.bound = Some((socket.to_path_buf(), httpd.uid));
    }

    /// Where the socket is, and the user that it is for.
    pub(crate) fn socket(&self) -> Option<(&Path, u32)> {
        let (path, httpd) = self.bound.as_ref()?;
        Some((path, *httpd))
    }

    /// Compares the socket that is there with what is configured now: another
    /// user gets it; a problem in words if it should be elsewhere.
    pub(crate) fn stays_at(&mut self, socket: &Path, httpd: DefaultAccount) -> Option<String> {
        let (bound, owner) = self
            .bound
            .get_or_insert_with(|| (socket.to_path_buf(), httpd.uid));
        let moved = bound != socket;
        let problem = moved.then(|| {
            let new = socket.display();
            let old = bound.display();
            format!("socket = `{new}`: the supervisor still listens at `{old}`; restart it to move")
        });
        if *owner == httpd.uid || !geteuid().is_root() {
            return problem;
        }
        if let Err(error) = lchown(&*bound, Some(httpd.uid), None) {
            return Some(format!(
                "httpd-user: failed to give `{}` to uid {}: {error}",
                bound.display(),
                httpd.uid
            ));
        }
        // Who counts there must be able to write; without it, nothing is counted.
        let _ = lchown(
            bound.with_file_name(totals::FILE_NAME),
            Some(httpd.uid),
            None,
        );
        *owner = httpd.uid;
        problem
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads all files, knowing what is in force.
    ///
    /// # Errors
    /// If nothing of it can be used; in words.
    pub(crate) fn read(&self, in_force: &InForce) -> Result<Read, String> {
        let mut loaded = config::load(&self.path, in_force)?;
        if geteuid().is_root() {
            loaded.refuse_without_user();
        }
        let name = &loaded.settings.httpd_user;
        let number = name
            .strip_prefix('#')
            .and_then(|number| number.parse().ok());
        let user = number.map_or_else(
            || User::from_name(name),
            |uid| User::from_uid(Uid::from_raw(uid)),
        );
        let user = user.ok().flatten();
        let user = user.ok_or_else(|| format!("httpd-user: user `{name}` does not exist"))?;
        Ok(Read {
            loaded,
            httpd: DefaultAccount {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            },
        })
    }
}

/// Makes the listening socket for httpd's user alone, replacing an old one in
/// one step.
///
/// # Errors
/// With the path in the text.
pub(crate) fn bind(path: &Path, httpd: DefaultAccount) -> io::Result<OwnedFd> {
    let named = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("socket `{}`: {error}", path.display()),
        )
    };
    let directory = path
        .parent()
        .ok_or_else(|| named(io::ErrorKind::InvalidInput.into()))?;
    let distrusted = |why: trust::Distrust| named(io::Error::other(why.to_string()));
    trust::directory_to_be(directory, trust::Sticky::Yes).map_err(distrusted)?;
    if !directory.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(named)?;
    }
    trust::directory(directory, trust::Sticky::Yes).map_err(distrusted)?;
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

/// The process id of a supervisor that answers at this control socket.
pub(crate) fn already_there(control: &Path) -> Option<i32> {
    let stream = UnixStream::connect(control).ok()?;
    // Whoever has made the socket.
    getsockopt(&stream, sockopt::PeerCredentials)
        .ok()
        .map(|peer| peer.pid())
}
