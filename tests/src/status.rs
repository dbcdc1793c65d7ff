//! What `wsgid` says about the supervisor of a test's httpd.

use std::path::PathBuf;
use std::process::Command;

use crate::{Httpd, Json, Pid, artifacts, control};

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

    /// The pools of all process groups.
    ///
    /// # Panics
    /// If the status is no JSON.
    #[must_use]
    pub fn pools(&self) -> Vec<Json> {
        let status: Json = serde_json::from_str(&self.wsgid(&["status", "--json"])).expect("JSON");
        let groups = status["groups"].as_array().into_iter().flatten();
        groups
            .flat_map(|group| group["pools"].as_array())
            .flatten()
            .cloned()
            .collect()
    }

    /// The workers that are ready, as the supervisor knows them: the launcher
    /// and preloaders are none.
    #[must_use]
    pub fn ready_workers(&self) -> Vec<Pid> {
        let pools = self.pools();
        let workers = pools
            .iter()
            .flat_map(|pool| pool["workers"].as_array())
            .flatten();
        let ready = workers.filter(|worker| worker["state"] == "ready");
        ready
            .filter_map(|worker| Pid::current(i32::try_from(worker["pid"].as_i64()?).ok()?))
            .collect()
    }

    /// The preloader that is ready, if there is one.
    #[must_use]
    pub fn preloader(&self) -> Option<Pid> {
        let pools = self.pools();
        let ready = pools
            .iter()
            .map(|pool| &pool["preloader"])
            .find(|preloader| preloader["state"] == "ready")?;
        Pid::current(i32::try_from(ready["pid"].as_i64()?).ok()?)
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
