//! mod_wsgi itself, built from PyPI with the Python and the httpd headers of
//! this machine, for the suites that compare. They do nothing where it cannot
//! be built, and say so.

use std::panic;
use std::path::PathBuf;
use std::process::Command;

use crate::{Python, cache, note};

const PEER: &str = "mod_wsgi==6.1.1";

/// A virtual environment with mod_wsgi in it, and its module for httpd.
#[must_use]
pub fn peer() -> Option<(PathBuf, PathBuf)> {
    let apxs = ["apxs", "apxs2"]
        .iter()
        .any(|name| Command::new(name).arg("-q").arg("MMN").output().is_ok());
    let python = Python::all().iter().find(|python| {
        let (major, minor) = python.version;
        let version = format!("python{major}.{minor}");
        // A copy that was moved does not link.
        !python.home.starts_with(cache::directory())
            && python
                .home
                .join("include")
                .join(version)
                .join("Python.h")
                .exists()
    });
    let (true, Some(python)) = (apxs, python) else {
        note("left out: mod_wsgi cannot be built here (it needs apache2-dev and python3-dev)");
        return None;
    };
    // What pip has kept may be built for another installation of that Python.
    let made = panic::catch_unwind(|| python.venv(&["--no-cache-dir", PEER]));
    let Ok(venv) = made else {
        note("left out: mod_wsgi could not be built; the reason is above");
        return None;
    };
    let text = Command::new(venv.join("bin/mod_wsgi-express"))
        .arg("module-location")
        .output()
        .ok()?;
    Some((
        venv,
        PathBuf::from(String::from_utf8(text.stdout).ok()?.trim()),
    ))
}
