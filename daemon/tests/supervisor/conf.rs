//! What is installed for a supervisor on its own, and `wsgid check`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn conf(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../conf")
        .join(name)
}

fn check(config: &Path) -> (i32, String) {
    let out = Command::new(crate::program())
        .args(["check", "--config"])
        .arg(config)
        .output()
        .unwrap();
    (
        out.status.code().unwrap(),
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned(),
    )
}

/// A directory like /etc/wsgid, with one site.
fn etc(main: &str, site: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        dir.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    std::fs::create_dir(dir.path().join("sites")).unwrap();
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(crate::stand_in::nobody()))
        .unwrap()
        .unwrap();
    let main = main
        .replace("/etc/wsgid", &dir.path().display().to_string())
        .replace("www-data", &user.name);
    std::fs::write(dir.path().join("wsgid.toml"), main).unwrap();
    std::fs::write(dir.path().join("sites/site.toml"), site).unwrap();
    dir
}

/// The beginning of a group that runs as httpd's user, by name.
fn group_a() -> String {
    format!("[group.a]\nuser = '#{}'\n", crate::stand_in::nobody())
}

fn sample() -> String {
    std::fs::read_to_string(conf("standalone/wsgid.toml")).unwrap()
}

#[test]
fn the_sample_files_are_understood_and_check_says_what_is_missing() {
    let site = std::fs::read_to_string(conf("standalone/site.toml")).unwrap();
    let site = site.replace("user = \"example\"", "user = \"nobody\"");
    let site = site.replace("group = \"example\"", "group = \"#65534\"");
    let dir = etc(&sample(), &site);
    let (code, text) = check(&dir.path().join("wsgid.toml"));
    // The files are right; the site that they describe is not on this machine.
    assert_eq!(code, 7, "{text}");
    assert!(
        text.contains("home= `/srv/example`: `/srv/example` does not exist"),
        "{text}"
    );
    assert!(
        text.contains("script `/srv/example/app.wsgi`: `/srv/example` does not exist"),
        "{text}"
    );
    assert!(text.contains("is Python 3."), "{text}");
    assert!(text.contains("1 process group, 2 problems"), "{text}");
}

#[test]
fn check_is_content_with_what_works_and_names_the_closed_component() {
    let place = tempfile::tempdir().unwrap();
    let open = |mode: u32| {
        std::fs::set_permissions(
            place.path(),
            std::os::unix::fs::PermissionsExt::from_mode(mode),
        )
        .unwrap();
    };
    open(0o755);
    let script = place.path().join("app.wsgi");
    std::fs::write(&script, "").unwrap();
    let dir = etc(
        &sample(),
        &format!("{}scripts = ['{}']\n", group_a(), script.display()),
    );
    let config = dir.path().join("wsgid.toml");
    let (code, text) = check(&config);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("0 problems"), "{text}");
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    open(0o700);
    let (code, text) = check(&config);
    assert_eq!(code, 7, "{text}");
    assert!(
        text.contains(&format!(
            "`{}` cannot be entered by user",
            place.path().display()
        )),
        "{text}"
    );
    std::fs::write(
        dir.path().join("sites/site.toml"),
        "[group.a]\nuser = 'no-such-user'\n",
    )
    .unwrap();
    let (code, text) = check(&config);
    assert!(
        code == 7 && text.contains("user `no-such-user` does not exist"),
        "{text}"
    );
    std::fs::write(
        dir.path().join("sites/site.toml"),
        format!("{}python-home = '/usr/lib'\n", group_a()),
    )
    .unwrap();
    let (code, text) = check(&config);
    assert!(
        code == 7 && text.contains("python-home= `/usr/lib/bin/python`"),
        "{text}"
    );
}

/// The site's Python is whatever the site has put there, and `wsgid check` is
/// run by root in a terminal.
#[test]
fn root_check_gives_no_terminal_away_and_does_not_wait_for_ever() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        place.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o1777),
    )
    .unwrap();
    let at = |name: &str| place.path().join(name);
    std::fs::create_dir_all(at("home/bin")).unwrap();
    // It types into the terminal, if there is one, and leaves a process behind.
    let python = format!(
        "#!/bin/sh\nif (echo typed > /dev/tty) 2> /dev/null; then echo yes; else echo no; fi > {}\n\
         sleep 300 &\necho 3 11 cpython\n",
        at("seen").display()
    );
    std::fs::write(at("home/bin/python"), python).unwrap();
    std::fs::set_permissions(
        at("home/bin/python"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let dir = etc(
        &sample(),
        &format!(
            "[group.a]\nuser = 'nobody'\npython-home = '{}'\n",
            at("home").display()
        ),
    );
    let check = format!(
        "{} check --config {}",
        crate::program().display(),
        dir.path().join("wsgid.toml").display()
    );
    let begun = std::time::Instant::now();
    let out = Command::new("script")
        .args(["-qec", &check, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(
        said.contains("is Python 3.11") && !said.contains("typed"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(at("seen")).unwrap().trim(), "no");
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
}

/// Neither a process group nor a session of its own keeps a process of the site's
/// Python alive, nor an end of its parent.
#[test]
fn root_a_python_that_leaves_its_session_leaves_nothing_behind() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        place.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o1777),
    )
    .unwrap();
    let at = |name: &str| place.path().join(name);
    std::fs::create_dir_all(at("home/bin")).unwrap();
    // A daemon as it is in the books, twice, and one that holds the output open.
    let python = format!(
        "#!/bin/sh\ncd {0}\n: > pids\n\
         setsid sh -c 'setsid sh -c \"echo \\$\\$ >> pids; exec sleep 300\" > /dev/null 2>&1 < /dev/null & exit 0'\n\
         setsid sh -c '(setsid sh -c \"echo \\$\\$ >> pids; sleep 300 & wait\") & exit 0'\n\
         while [ \"$(wc -l < pids)\" -lt 2 ]; do sleep 0.01; done\necho 3 11 cpython\n",
        place.path().display()
    );
    std::fs::write(at("home/bin/python"), python).unwrap();
    std::fs::set_permissions(
        at("home/bin/python"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let dir = etc(
        &sample(),
        &format!(
            "[group.a]\nuser = 'nobody'\npython-home = '{}'\nscript-directories = ['/srv']\n",
            at("home").display()
        ),
    );
    let begun = std::time::Instant::now();
    let (code, text) = check(&dir.path().join("wsgid.toml"));
    assert!(code == 0 && text.contains("is Python 3.11"), "{text}");
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    let pids = std::fs::read_to_string(at("pids")).unwrap();
    assert_eq!(pids.lines().count(), 2, "{pids}");
    let mut left = Vec::new();
    for pid in pids.lines() {
        if Path::new("/proc").join(pid).exists() {
            left.push(pid);
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid.parse().unwrap()),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
    assert!(left.is_empty(), "still there: {left:?}");
}

#[test]
fn check_looks_at_links_logs_and_kinds() {
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        place.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let root = place.path().canonicalize().unwrap().display().to_string();
    std::fs::create_dir_all(format!("{root}/releases/5")).unwrap();
    std::fs::write(format!("{root}/releases/5/app.wsgi"), "").unwrap();
    std::os::unix::fs::symlink(format!("{root}/releases/5"), format!("{root}/current")).unwrap();
    let site = format!(
        "{}scripts = ['{root}/current/app.wsgi', '{root}/current']\nlog = '{root}/none/a.log'\n",
        group_a()
    );
    let dir = etc(&sample(), &site);
    let config = dir.path().join("wsgid.toml");
    let (code, text) = check(&config);
    assert_eq!(code, 7, "{text}");
    assert!(
        text.contains(&format!("script `{root}/current/app.wsgi` can be read")),
        "{text}"
    );
    assert!(
        text.contains(&format!("script `{root}/current` is a directory")),
        "{text}"
    );
    assert!(
        text.contains(&format!(
            "log = `{root}/none/a.log`: `{root}/none` does not exist"
        )),
        "{text}"
    );
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    assert!(text.contains("note     it runs as httpd's user"), "{text}");
    let releases = format!("{root}/releases");
    std::fs::set_permissions(
        &releases,
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    let (_, text) = check(&config);
    let wanted = format!(
        "`{root}/current` is a link to `{root}/releases/5`, and `{releases}` cannot be entered by"
    );
    assert!(text.contains(&wanted), "{text}");
}

#[test]
fn check_names_what_would_not_start() {
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        place.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let root = place.path().canonicalize().unwrap().display().to_string();
    std::fs::write(format!("{root}/app.py"), "def application(:\n").unwrap();
    std::fs::write(format!("{root}/env"), "A=1\nB\n").unwrap();
    let site = format!(
        "{}scripts = ['{root}/app.py', '/dev/null']\nhome = '{root}/app.py'\nlog = '{root}'\nenv-file = '{root}/env'\n\
         [group.'']\nthreads = 1\n[group.\"a\\nb\"]\nthreads = 1\n",
        group_a()
    );
    let dir = etc(&sample(), &site);
    let (code, text) = check(&dir.path().join("wsgid.toml"));
    assert_eq!(code, 7, "{text}");
    for wanted in [
        format!("script `{root}/app.py` can be read, but is no Python: SyntaxError: "),
        format!("home= `{root}/app.py`: `{root}/app.py` is not a directory"),
        format!("log = `{root}`: `{root}` is a directory"),
        format!("env-file `{root}/env`, line 2: not NAME=VALUE"),
        "process group ``: a name has one character at least".to_owned(),
        "script `/dev/null` is not a regular file".to_owned(),
        "1 process group, 7 problems".to_owned(),
    ] {
        assert!(text.contains(&wanted), "{wanted}\n{text}");
    }
}

#[test]
fn systemd_understands_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("wsgid.service");
    let text = std::fs::read_to_string(conf("systemd/wsgid.service")).unwrap();
    // The program is not installed where the unit expects it.
    let text = text.replace("/usr/sbin/wsgid", &crate::program().display().to_string());
    std::fs::write(&unit, &text).unwrap();
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&unit)
        .stdin(Stdio::null())
        .output();
    let Ok(out) = verify else {
        // Without systemd: at least the sections and keys are in shape.
        assert!(
            text.contains("[Unit]") && text.contains("[Service]") && text.contains("[Install]")
        );
        assert!(
            text.lines()
                .all(|line| line.is_empty() || line.starts_with(['#', '[']) || line.contains('='))
        );
        return;
    };
    let said = String::from_utf8_lossy(&out.stderr);
    let complaints: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("wsgid.service"))
        .collect();
    assert!(complaints.is_empty(), "{said}");
    for line in text.lines().filter(|line| line.starts_with("ExecStart=")) {
        let words: Vec<&str> = line.trim_start_matches("ExecStart=").split(' ').collect();
        assert_eq!(words.get(1..3), Some(&["supervise", "--config"][..]));
    }
}
