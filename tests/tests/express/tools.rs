//! What developers use: reloading, the debugger, profiles, coverage, recordings.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use wsgid_tests::{Express, Limit, Python, Request, Site, artifacts, case, eventually, users};

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn any_changed_module_replaces_the_process() {
    case(Limit::default(), || {
        let site = Site::new();
        site.write("words.py", "WORD = b'one'\n");
        let script = site.write(
            "reloading.py",
            "import words\n\
             def application(environ, start_response):\n\
             \x20   start_response('200 OK', [('Content-Type', 'text/plain')])\n\
             \x20   return [words.WORD]\n",
        );
        let mut server =
            Express::new().path(&script).args(&["--reload-on-changes", "--python-path"]).path(site.path()).start();
        assert_eq!(server.get("/").text(), "one");
        site.write("words.py", "WORD = b'the second'\n");
        eventually("the changed module", Duration::from_secs(20), || {
            let got = server.get("/");
            assert_eq!(got.status, 200, "a reload costs no request");
            (got.text() == "the second").then_some(())
        });
        server.stop();
        assert!(server.error_log().contains("words.py` has changed"));
    });
}

#[test]
fn profiles_and_recordings_are_written() {
    case(Limit::default(), || {
        let site = Site::new();
        let mut server = Express::new()
            .path(&site.file("probe.py"))
            .args(&["--enable-profiler", "--enable-recorder", "--python-path"])
            .path(site.path())
            .start();
        let got = server.client().send(&Request::post("/echo", "recorded body")).expect("an answer");
        assert_eq!(got.text(), "recorded body");
        server.stop();
        let archive = server.root().join("archive");
        let with = |end: &str| {
            let names = files(&archive).into_iter().filter(|name| name.ends_with(end));
            names.map(|name| fs::read_to_string(archive.join(name)).unwrap_or_default()).collect::<Vec<_>>()
        };
        let recorded = |texts: Vec<String>, head: &str| {
            texts.iter().any(|text| {
                let (first, body) = text.split_once('\n').unwrap_or_default();
                first.contains(head) && body == "recorded body"
            })
        };
        assert!(recorded(with(".request"), "\"/echo\""), "{:?}", with(".request"));
        assert!(recorded(with(".response"), "200 OK"), "{:?}", with(".response"));
        let profiles = server.root().join("pstats");
        let profile = files(&profiles).pop().expect("a profile");
        let output = Command::new(&Python::any().program)
            .args(["-c", "import pstats, sys; pstats.Stats(sys.argv[1]).print_stats('echo')"])
            .arg(profiles.join(profile))
            .output()
            .expect("python can be run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("probe.py") && text.contains("(echo)"), "{text}");
    });
}

#[test]
fn coverage_is_reported() {
    case(Limit::seconds(180), || {
        let site = Site::new();
        let venv = Python::any().venv(&["coverage"]);
        let mut server = Express::new()
            .path(&site.file("hello.py"))
            .args(&["--enable-coverage", "--python-home"])
            .path(&venv)
            .start();
        assert_eq!(server.get("/").text(), "Hello World!");
        server.stop();
        let index = fs::read_to_string(server.root().join("htmlcov/index.html")).expect("a report");
        assert!(index.contains("hello.py"), "{index}");
    });
}

/// The debugger has the terminal in which the server was started: `script`
/// makes one.
#[test]
fn a_person_debugs_the_exception() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let script = site.write(
            "failing.py",
            "def application(environ, start_response):\n\
             \x20   secret = 'the value'\n\
             \x20   if environ['PATH_INFO'] == '/fail':\n\
             \x20       raise ValueError('on purpose')\n\
             \x20   start_response('200 OK', [('Content-Type', 'text/plain')])\n\
             \x20   return [b'fine']\n",
        );
        let port = wsgid_tests::httpd::free_port();
        let user = users::of_httpd();
        let give = if users::is_root() { format!("chown {} \"$(tty)\"; ", user.name) } else { String::new() };
        let line = format!(
            "{give}exec {} start-server {} --host 127.0.0.1 --port {port} --server-root {} --user {} --group {} \
             --enable-debugger --python-home {}",
            artifacts::wsgid().display(),
            script.display(),
            site.file("root").display(),
            user.name,
            user.group,
            Python::any().home.display()
        );
        let output = fs::File::create(site.file("screen")).expect("a file can be made");
        let mut person = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(output)
            .spawn()
            .expect("script is installed");
        let mut keyboard = person.stdin.take().expect("it is piped");
        let screen = || String::from_utf8_lossy(&fs::read(site.file("screen")).unwrap_or_default()).into_owned();
        let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port));
        let get = move |path: &str| wsgid_tests::Client::new(address).get(path);
        eventually("the server", Duration::from_secs(30), || get("/").ok().filter(|got| got.status == 200));
        let failing = std::thread::spawn(move || get("/fail").map(|got| got.status));
        eventually("the prompt", Duration::from_secs(20), || screen().contains("(Pdb)").then_some(()));
        keyboard.write_all(b"p secret\n").expect("it reads");
        eventually("the value", Duration::from_secs(20), || screen().contains("'the value'").then_some(()));
        keyboard.write_all(b"quit\n").expect("it reads");
        let status = failing.join().expect("no panic").expect("an answer");
        assert_eq!(status, 500, "{}", screen());
        // Ctrl-C, as typed.
        keyboard.write_all(b"\x03").expect("it reads");
        let status = eventually("the end", Duration::from_secs(30), || person.try_wait().ok().flatten());
        assert!(status.success(), "{status}: {}", screen());
    });
}
