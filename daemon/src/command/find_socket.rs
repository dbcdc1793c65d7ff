//! Where the control socket of a running supervisor may be. Asked by `client`
//! when no socket was named.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::channel::operator::NAME;

/// Where a supervisor of its own has it.
const OWN: &str = "/run/wsgid";
/// Where httpd keeps what runs: below it, `wsgid.PID` is the directory of the
/// supervisor that the httpd with this pid has started.
const OF_HTTPD: [&str; 2] = ["/run/apache2", "/run/httpd"];

/// The socket of the one supervisor that answers.
pub(crate) fn find() -> Result<PathBuf, String> {
    let of_httpd = OF_HTTPD.iter().flat_map(|base| below(Path::new(base)));
    one_of(of_httpd.chain([Path::new(OWN).join(NAME)]))
}

fn one_of(sockets: impl Iterator<Item = PathBuf>) -> Result<PathBuf, String> {
    // A supervisor that was killed leaves its socket behind.
    let mut found: Vec<PathBuf> = sockets
        .filter(|path| UnixStream::connect(path).is_ok())
        .collect();
    found.sort();
    match found.as_slice() {
        [path] => Ok(path.clone()),
        [] => Err(format!(
            "no supervisor answers in {OWN}, nor below {}; name its control.sock with --socket",
            OF_HTTPD.join(" or ")
        )),
        all => {
            let all: Vec<String> = all
                .iter()
                .map(|path| format!("`{}`", path.display()))
                .collect();
            Err(format!(
                "several supervisors run: {}; name one with --socket",
                all.join(", ")
            ))
        }
    }
}

fn below(base: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(base).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("wsgid."));
    named.map(|entry| entry.path().join(NAME)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_one_that_answers_is_found() {
        let place = tempfile::tempdir().unwrap();
        let socket = |pid: &str| {
            let directory = place.path().join(format!("wsgid.{pid}"));
            std::fs::create_dir(&directory).unwrap();
            UnixListener::bind(directory.join(NAME)).unwrap()
        };
        let find = || one_of(below(place.path()).into_iter());
        assert!(find().unwrap_err().contains("no supervisor"));
        drop(socket("1"));
        let _running = socket("2");
        assert_eq!(find().unwrap(), place.path().join("wsgid.2").join(NAME));
        let _another = socket("3");
        let text = find().unwrap_err();
        assert!(
            text.contains("several") && text.contains("wsgid.2") && text.contains("wsgid.3"),
            "{text}"
        );
    }
}
