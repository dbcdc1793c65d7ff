//! What `wsgid` says about the supervisor of a test's httpd.

use std::path::PathBuf;
use std::process::Command;

use wsgid_protocol::status::{PoolStatus, PreloaderState, Status};

use crate::{Httpd, Pid, artifacts, control};

impl Httpd {
    /// What the command line prints.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn wsgid(&self, args: &[&str]) -> String {
        let out = Command::new(artifacts::wsgid())
            .args(args)
            .arg("--socket")
            .arg(self.control_socket())
            .output();
        let out = out.expect("wsgid can be run");
        assert!(
            out.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// What the supervisor says of everything.
    ///
    /// # Panics
    /// If it says something else.
    #[must_use]
    pub fn status(&self) -> Status {
        serde_json::from_str(&self.wsgid(&["status", "--json"])).expect("a status")
    }

    /// The pools of all process groups.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolStatus> {
        let groups = self.status().groups.into_iter();
        groups.flat_map(|group| group.pools).collect()
    }

    /// The workers that are ready, as the supervisor knows them: the launcher
    /// and preloaders are none.
    #[must_use]
    pub fn ready_workers(&self) -> Vec<Pid> {
        self.pools().iter().flat_map(control::ready).collect()
    }

    /// The preloader that is ready, if there is one.
    #[must_use]
    pub fn preloader(&self) -> Option<Pid> {
        let pools = self.pools();
        let mut preloaders = pools.iter().filter_map(|pool| pool.preloader.as_ref());
        let ready = preloaders.find(|preloader| preloader.state == PreloaderState::Ready)?;
        control::process(ready.pid?)
    }

    /// Where the supervisor takes commands.
    ///
    /// # Panics
    /// If there is no such socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        let found = control::socket(self.root());
        found.unwrap_or_else(|| {
            panic!(
                "the supervisor has no control socket below {}",
                self.root().display()
            )
        })
    }
}
