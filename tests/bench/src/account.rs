//! The user that httpd's children and all backends run as: they must not differ between peers.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::{Gid, Uid, User, chown};

/// Who servers run as.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// Started by root, so processes have to change to the account.
    pub(crate) changes: bool,
}

impl Account {
    pub(crate) fn choose(wanted: &str) -> Result<Self> {
        let own = Uid::effective();
        let user = if own.is_root() {
            User::from_name(wanted)?
                .with_context(|| format!("no user `{wanted}`; choose one with --user"))?
        } else {
            User::from_uid(own)?.with_context(|| format!("user id {own} has no name"))?
        };
        if user.uid.is_root() {
            bail!("servers do not run as root; choose an ordinary user with --user");
        }
        Ok(Self {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
            changes: own.is_root(),
        })
    }

    /// Makes a command run as the account.
    pub(crate) fn apply(&self, command: &mut Command) {
        if self.changes {
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
    }

    /// Gives a path to the account.
    pub(crate) fn own(&self, path: &Path) -> Result<()> {
        if self.changes {
            chown(path, Some(self.uid), Some(self.gid)).with_context(|| {
                format!("failed to give `{}` to `{}`", path.display(), self.name)
            })?;
        }
        Ok(())
    }

    /// Makes sure that the account can look into a directory.
    pub(crate) fn check_reach(&self, path: &Path) -> Result<()> {
        let mut command = Command::new("/usr/bin/test");
        command.arg("-x").arg(path);
        self.apply(&mut command);
        if !command
            .status()
            .context("failed to run `/usr/bin/test`")?
            .success()
        {
            bail!(
                "user `{}` cannot enter `{}`; choose a directory all users can reach with --cache, or another --user",
                self.name,
                path.display()
            );
        }
        Ok(())
    }
}
