//! What developers use: reloading, the debugger, profiles, coverage, recordings.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wsgid_tests::{
    Client, Express, Limit, Python, Request, Site, artifacts, case, eventually, until, users,
};

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
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
        let mut server = Express::new()
            .path(&script)
            .args(&["--reload-on-changes", "--python-path"])
            .path(site.path())
            .start();
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
        let got = server
            .client()
            .send(&Request::post("/echo", "recorded body"))
            .expect("an answer");
        assert_eq!(got.text(), "recorded body");
        server.stop();
        let archive = server.root().join("archive");
        let with = |end: &str| {
            let names = files(&archive)
                .into_iter()
                .filter(|name| name.ends_with(end));
            names
                .map(|name| fs::read_to_string(archive.join(name)).unwrap_or_default())
                .collect::<Vec<_>>()
        };
        let recorded = |texts: Vec<String>, head: &str| {
            texts.iter().any(|text| {
                let (first, body) = text.split_once('\n').unwrap_or_default();
                first.contains(head) && body == "recorded body"
            })
        };
        assert!(
            recorded(with(".request"), "\"/echo\""),
            "{:?}",
            with(".request")
        );
        assert!(
            recorded(with(".response"), "200 OK"),
            "{:?}",
            with(".response")
        );
        let profiles = server.root().join("pstats");
        let profile = files(&profiles).pop().expect("a profile");
        let output = Command::new(&Python::any().program)
            .args([
                "-c",
                "import pstats, sys; pstats.Stats(sys.argv[1]).print_stats('echo')",
            ])
            .arg(profiles.join(profile))
            .output()
            .expect("python can be run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.contains("probe.py") && text.contains("(echo)"),
            "{text}"
        );
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

/// A person at a terminal, which `script` makes, who has typed one command.
struct Person {
    child: Child,
    keyboard: ChildStdin,
    screen: PathBuf,
    address: SocketAddr,
}

impl Person {
    fn starts(site: &Site, script: &Path, options: &str) -> Self {
        let port = wsgid_tests::httpd::free_port();
        let user = users::of_httpd();
        // As if the user of the application had logged in there.
        let give = if users::is_root() {
            format!("chown {} \"$(tty)\"; ", user.name)
        } else {
            String::new()
        };
        let line = format!(
            "{give}exec {} start-server {} --host 127.0.0.1 --port {port} --server-root {} --user {} --group {} \
             --python-home {} {options}",
            artifacts::wsgid().display(),
            script.display(),
            site.file("root").display(),
            user.name,
            user.group,
            Python::any().home.display()
        );
        let screen = site.file("screen");
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(fs::File::create(&screen).expect("a file can be made"))
            .spawn()
            .expect("script is installed");
        let keyboard = child.stdin.take().expect("it is piped");
        Self {
            child,
            keyboard,
            screen,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        }
    }

    fn types(&mut self, text: &str) {
        self.keyboard
            .write_all(text.as_bytes())
            .expect("the terminal is there");
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.screen).unwrap_or_default()).into_owned()
    }

    fn sees(&self, text: &str) {
        let seen = until(Duration::from_secs(30), || {
            self.screen().contains(text).then_some(())
        });
        assert!(
            seen.is_some(),
            "no `{text}` on the screen:\n{}",
            self.screen()
        );
    }

    fn get(&self, path: &'static str) -> JoinHandle<Option<u16>> {
        let address = self.address;
        thread::spawn(move || {
            let answer = until(Duration::from_secs(30), || {
                Client::new(address).get(path).ok()
            });
            answer.map(|answer| answer.status)
        })
    }

    /// Ctrl-C, as typed.
    fn interrupts(mut self) {
        self.types("\u{3}");
        let status = eventually("the end", Duration::from_secs(30), || {
            self.child.try_wait().ok().flatten()
        });
        assert!(status.success(), "{status}: {}", self.screen());
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // A terminal that goes away ends what runs in it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const FAILING: &str = "def application(environ, start_response):\n\
    \x20   secret = 'the value'\n\
    \x20   if environ['PATH_INFO'] == '/fail':\n\
    \x20       raise ValueError('on purpose')\n\
    \x20   start_response('200 OK', [('Content-Type', 'text/plain')])\n\
    \x20   return [b'fine']\n";

#[test]
fn a_person_debugs_the_exception() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let script = site.write("failing.py", FAILING);
        let mut person = Person::starts(&site, &script, "--enable-debugger --debugger-startup");
        person.sees("(Pdb)");
        person.types("continue\n");
        assert_eq!(person.get("/").join().expect("no panic"), Some(200));
        let failing = person.get("/fail");
        person.sees("ValueError: on purpose");
        person.types("p secret\n");
        person.sees("'the value'");
        person.types("quit\n");
        assert_eq!(failing.join().expect("no panic"), Some(500));
        person.interrupts();
    });
}

#[test]
fn errors_are_red_on_a_terminal() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("failing.py", FAILING);
        let person = Person::starts(&site, &script, "--log-to-terminal --startup-log");
        assert_eq!(person.get("/fail").join().expect("no panic"), Some(500));
        person.sees("\u{1b}[31mValueError: on purpose");
        person.sees("Traceback (most recent call last)");
        person.interrupts();
        let log =
            fs::read_to_string(site.file("root/startup_log")).expect("--startup-log makes it");
        assert!(
            log.contains("ValueError: on purpose") && !log.contains('\u{1b}'),
            "{log}"
        );
    });
}
