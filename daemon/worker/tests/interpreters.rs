//! Runs the Python suites beside this file under every CPython on the machine:
//! the one extension must load into all of them. The suites play httpd and
//! supervisor; nothing else is needed.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A suite that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn the_suites_pass_under_every_python() {
    let extension = &extension();
    let interpreters = interpreters();
    assert!(
        !interpreters.is_empty(),
        "no CPython of 3.9 or newer was found; install python3"
    );
    // All at once: most of their time is waiting.
    let failures: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = interpreters
            .iter()
            .map(|(version, python)| (version, scope.spawn(move || run(python, extension))))
            .collect();
        running
            .into_iter()
            .filter_map(|(version, suites)| {
                let text = suites.join().expect("no panic").err()?;
                let python = interpreters[version].display();
                Some(format!("Python {version} ({python}):\n{text}"))
            })
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Runs all suites. The text is what unittest printed.
fn run(python: &Path, extension: &Path) -> Result<(), String> {
    let output = tempfile::tempfile().map_err(|error| error.to_string())?;
    let suites = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut child = Command::new(python)
        .args([
            "-W",
            "error::ResourceWarning",
            "-m",
            "unittest",
            "discover",
            "-s",
        ])
        .arg(&suites)
        .env("WSGID_WORKER_SO", extension)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(|error| error.to_string())?)
        .stderr(output.try_clone().map_err(|error| error.to_string())?)
        .spawn()
        .map_err(|error| error.to_string())?;
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status.to_string(),
            None if Instant::now() > deadline => {
                child
                    .kill()
                    .and_then(|()| child.wait())
                    .map_err(|error| error.to_string())?;
                break "did not end in time".to_owned();
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    if status == "exit status: 0" {
        return Ok(());
    }
    let text = read_all(output).unwrap_or_default();
    Err(format!("{status}\n{text}"))
}

fn read_all(mut file: std::fs::File) -> std::io::Result<String> {
    use std::io::{Read, Seek};
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The extension: named, or among the artifacts, or beside this program.
fn extension() -> PathBuf {
    if let Some(path) = env::var_os("WSGID_WORKER_SO") {
        return path.into();
    }
    let own = env::current_exe().expect("a program has a path");
    let beside = own
        .parent()
        .expect("a program is in a directory")
        .to_owned();
    let directories = [
        env::var_os("WSGID_ARTIFACTS").map(PathBuf::from),
        Some(beside),
    ];
    let names = ["wsgid_worker.so", "libwsgid_worker.so"];
    let mut places = directories
        .into_iter()
        .flatten()
        .flat_map(|directory| names.map(|name| directory.join(name)));
    places
        .find(|path| path.is_file())
        .expect("the extension is built before its tests")
}

/// One interpreter for each version from 3.9 on, by version.
fn interpreters() -> BTreeMap<String, PathBuf> {
    let mut places: Vec<PathBuf> = [
        "python3",
        "python3.9",
        "python3.10",
        "python3.11",
        "python3.12",
        "python3.13",
    ]
    .into_iter()
    .flat_map(|name| {
        ["/usr/bin", "/usr/local/bin"].map(|directory| Path::new(directory).join(name))
    })
    .collect();
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv")));
    if let Some(versions) = root.and_then(|root| std::fs::read_dir(root.join("versions")).ok()) {
        places.extend(
            versions
                .flatten()
                .map(|entry| entry.path().join("bin/python")),
        );
    }
    let ask = "import sys; print('%d.%d' % sys.version_info[:2] if sys.version_info >= (3, 9) and \
               sys.implementation.name == 'cpython' else '')";
    let version = |python: &PathBuf| {
        let output = Command::new(python)
            .args(["-c", ask])
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    places
        .into_iter()
        .filter_map(|python| Some((version(&python)?, python)))
        .collect()
}
