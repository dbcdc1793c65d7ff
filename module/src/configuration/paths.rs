//! Where things are: the supervisor's program and its socket. Pure but for
//! looking whether a file is there.

use std::path::{Path, PathBuf};

const PROGRAM: &str = "wsgid";

/// Directories that packages install it into.
const INSTALLED: &[&str] = &["/usr/sbin", "/usr/bin", "/usr/local/bin", "/usr/local/sbin"];

/// Where `wsgid` is: beside the module, in `../bin`, or where packages put it.
/// The error lists where it was looked for.
pub(crate) fn find_supervisor(
    given: Option<&Path>,
    module: Option<&Path>,
    is_there: impl Fn(&Path) -> bool,
) -> Result<PathBuf, String> {
    if let Some(path) = given {
        return is_there(path).then(|| path.to_path_buf()).ok_or_else(|| {
            let path = path.display();
            format!("`{path}` of WSGISupervisorExecutable is not an executable file")
        });
    }
    let in_bin = module.and_then(Path::parent).map(|above| above.join("bin"));
    let mut looked_for = Vec::new();
    for directory in module
        .into_iter()
        .chain(in_bin.as_deref())
        .chain(INSTALLED.iter().map(Path::new))
    {
        let path = directory.join(PROGRAM);
        if is_there(&path) {
            return Ok(path);
        }
        looked_for.push(path.display().to_string());
    }
    Err(format!(
        "`{PROGRAM}` was not found; looked for {}; say where it is with WSGISupervisorExecutable",
        looked_for.join(", ")
    ))
}

/// The directory of the socket: one for each httpd on the machine.
pub(crate) fn socket_directory(prefix: &str, pid: u32) -> String {
    format!("{prefix}.{pid}")
}

pub(crate) const SOCKET_NAME: &str = "httpd.sock";

/// The socket in it, if its path is short enough for the kernel.
pub(crate) fn socket_path(directory: &str, max: usize) -> Result<String, String> {
    let path = format!("{directory}/{SOCKET_NAME}");
    if path.len() < max {
        Ok(path)
    } else {
        Err(format!(
            "the path `{path}` has {} bytes, a socket's may have {}; choose a shorter one with WSGISocketPrefix",
            path.len(),
            max - 1
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_supervisor_beside_the_module_comes_first() {
        let module = Some(Path::new("/opt/lib"));
        let find = |there: &[&str]| {
            find_supervisor(None, module, |path| {
                there.iter().any(|known| Path::new(known) == path)
            })
        };
        assert_eq!(
            find(&["/usr/bin/wsgid", "/opt/lib/wsgid"]),
            Ok("/opt/lib/wsgid".into())
        );
        assert_eq!(
            find(&["/usr/bin/wsgid", "/opt/bin/wsgid"]),
            Ok("/opt/bin/wsgid".into())
        );
        assert_eq!(find(&["/usr/bin/wsgid"]), Ok("/usr/bin/wsgid".into()));
        assert!(find(&[]).unwrap_err().contains("/opt/lib/wsgid"));
    }

    #[test]
    fn what_was_given_is_not_replaced_by_something_else() {
        let error = find_supervisor(Some(Path::new("/x/wsgid")), None, |path| {
            path != Path::new("/x/wsgid")
        });
        assert!(error.unwrap_err().contains("`/x/wsgid`"));
    }

    #[test]
    fn a_path_that_is_too_long_is_refused_with_the_cure() {
        assert_eq!(
            socket_path(&socket_directory("/run/wsgid", 7), 108),
            Ok("/run/wsgid.7/httpd.sock".into())
        );
        assert!(
            socket_path(&"x".repeat(100), 108)
                .unwrap_err()
                .contains("WSGISocketPrefix")
        );
    }
}
