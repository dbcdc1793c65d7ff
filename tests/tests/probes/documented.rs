//! What `docs/probes.md` gives Kubernetes and systemd, as far as a process goes: the commands, the
//! paths that are probed, and the shell that waits.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use wsgid_tests::document::{Block, blocks};
use wsgid_tests::{Express, Limit, Site, case, eventually};

const SOON: Duration = Duration::from_secs(40);

fn block(language: &str) -> Block {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/probes.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let mut found = blocks(&page).into_iter();
    found
        .find(|block| block.language == language)
        .expect("the page has such a block")
}

/// What stands behind this on some line.
fn behind<'t>(text: &'t str, begin: &str) -> Option<&'t str> {
    text.lines()
        .find_map(|line| line.trim_start().strip_prefix(begin))
}

/// The documented words behind `wsgid start-server SCRIPT`, but for the port.
fn words(line: &[String]) -> Vec<String> {
    let [_, command, script, rest @ ..] = line else {
        panic!("{line:?}");
    };
    assert_eq!(
        (command.as_str(), script.as_str()),
        ("start-server", "/srv/shop/wsgi.py")
    );
    let port = rest.iter().position(|word| word == "--port");
    let port = port.expect("the port is named");
    [&rest[..port], &rest[port + 2..]].concat()
}

#[test]
fn what_the_documentation_gives_an_orchestrator_works() {
    case(Limit::default(), || {
        let yaml = block("yaml").text;
        let command = behind(&yaml, "command: ").expect("a command");
        let command: Vec<String> = serde_json::from_str(command).expect("a list of words");
        let args = words(&command);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let probed = |probe: &str| {
            let (_, rest) = yaml.split_once(probe).expect("the probe is there");
            let (_, rest) = rest.split_once("path: \"").expect("it has a path");
            rest.split('"').next().expect("it ends").to_owned()
        };
        let (ready, live) = (probed("readinessProbe:"), probed("livenessProbe:"));
        assert_eq!(ready, probed("startupProbe:"));
        let site = Site::new();
        let mut server = Express::new()
            .path(&site.file("hello.py"))
            .args(&args)
            .spawn();
        let status = |path: &str| server.client().get(path).map_or(0, |said| said.status);
        eventually("it is ready", SOON, || {
            (status(&ready) == 200).then_some(())
        });
        assert_eq!((status(&live), status("/")), (200, 200));
        server.pid().signal(Signal::SIGTERM);
        eventually("it is not ready", SOON, || {
            (status(&ready) == 503).then_some(())
        });
        assert_eq!((status(&live), status("/")), (200, 200), "it serves on");
        let (output, status) = server.end(Signal::SIGINT);
        assert!(status.success(), "{status}: {output}");
    });
}

#[test]
fn what_the_documentation_gives_systemd_works() {
    case(Limit::default(), || {
        let unit = block("ini").text;
        let site = Site::new();
        site.write("broken.py", "import no_such_module_anywhere\n");
        let place = tempfile::tempdir().expect("a directory can be made");
        let here = |text: &str| text.replace("/run/shop", &place.path().display().to_string());
        let start = here(behind(&unit, "ExecStart=").expect("a command"));
        let line: Vec<String> = start.split_whitespace().map(str::to_owned).collect();
        let args = words(&line);
        // The suite looks below a root of its own.
        let root = args.iter().position(|word| word == "--server-root");
        let root = root.expect("the server root is named");
        let args = [&args[..root], &args[root + 2..]].concat();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let wait = here(behind(&unit, "ExecStartPost=/bin/sh -c '").expect("a command"));
        let wait = wait
            .strip_suffix('\'')
            .expect("a word of the shell")
            .to_owned();
        for (script, works) in [("hello.py", true), ("broken.py", false)] {
            let mut server = Express::new().path(&site.file(script)).args(&args).spawn();
            let mut shell = Command::new("/bin/sh")
                .args(["-c", &wait])
                .env("MAINPID", server.number().to_string())
                .spawn()
                .expect("there is a shell");
            let waited = eventually("the shell ends", SOON, || {
                // systemd reaps its main process.
                let _ = server.ended();
                shell.try_wait().expect("a child can be waited for")
            });
            assert_eq!(waited.success(), works, "{script}: {}", server.output());
            if works {
                assert_eq!(server.get("/").text(), "Hello World!");
                server.pid().signal(Signal::SIGTERM);
                eventually("the drain delay begins", SOON, || {
                    server
                        .output()
                        .contains("it serves on for 5 s")
                        .then_some(())
                });
                let (output, status) = server.end(Signal::SIGINT);
                assert!(status.success(), "{status}: {output}");
            } else {
                assert_eq!(server.wait(SOON).code(), Some(9));
            }
        }
    });
}
