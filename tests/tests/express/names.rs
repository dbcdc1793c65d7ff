//! Host names, ports and users.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use wsgid_tests::{Express, Limit, Python, Request, Site, case, eventually, users};

fn status(server: &wsgid_tests::express::Server, host: &str) -> (u16, Option<String>) {
    let request = Request::new("GET", "/a?b=c").header("Host", host);
    let got = server.client().send(&request).expect("an answer");
    (got.status, got.header("Location").map(str::to_owned))
}

#[test]
fn only_the_named_hosts_are_served() {
    case(Limit::default(), || {
        let site = Site::new();
        let mut server = Express::new()
            .path(&site.file("hello.py"))
            .args(&[
                "--server-name",
                "www.example.test",
                "--server-alias",
                "*.alias.test",
                "--allow-localhost",
            ])
            .start();
        let port = server.port();
        for host in [
            "www.example.test",
            "a.alias.test",
            "localhost",
            &format!("www.example.test:{port}"),
        ] {
            assert_eq!(status(&server, host), (200, None), "{host}");
        }
        assert_eq!(
            status(&server, "example.test"),
            (301, Some(format!("http://www.example.test:{port}/a?b=c"))),
            "the bare name"
        );
        for host in ["else.test", "127.0.0.1"] {
            assert_eq!(status(&server, host).0, 403, "{host}");
        }
        server.stop();
    });
}

#[test]
fn root_opens_the_port_and_the_application_runs_as_its_user() {
    case(Limit::default(), || {
        let Some([owner, ..]) = users::three() else {
            return;
        };
        // Some port that only root may open.
        let port = (600..1024)
            .rev()
            .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
        let port = port.expect("a port below 1024 is free");
        let site = Site::of(owner);
        let mut command = std::process::Command::new(wsgid_tests::artifacts::wsgid());
        command.arg("start-server");
        let mut server = Express::of(command, port)
            .path(&site.file("probe.py"))
            .args(&[
                "--user",
                &owner.name,
                "--group",
                &owner.group,
                "--processes",
                "4",
                "--python-path",
            ])
            .path(site.path())
            .args(&["--python-home"])
            .path(&Python::any().home)
            .start();
        let info = server.get("/info").json();
        assert_eq!(info["uid"].as_array().map(Vec::len), Some(3));
        assert_eq!(
            (info["uid"][0].as_u64(), info["uid"][2].as_u64()),
            (Some(owner.uid.into()), Some(owner.uid.into()))
        );
        assert_eq!(info["gid"][0].as_u64(), Some(owner.gid.into()));
        eventually(
            "httpd's children and four workers",
            Duration::from_secs(20),
            || {
                let all = server.pid().descendants();
                let theirs = all
                    .iter()
                    .filter(|pid| pid.identity().is_some_and(|who| who.uids == [owner.uid; 4]));
                (theirs.count() >= 5).then_some(())
            },
        );
        server.stop();
    });
}

#[test]
fn a_home_that_cannot_be_entered_is_told() {
    case(Limit::default(), || {
        let Some([owner, other, _]) = users::three() else {
            return;
        };
        let site = Site::of(owner);
        let home = site.write("home/wsgi.py", "application = None\n");
        let closed = home.parent().expect("it has one");
        users::give(closed, owner);
        std::fs::set_permissions(closed, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .expect("root may");
        let mut server = Express::new()
            .path(&home)
            .args(&["--user", &other.name, "--group", &other.group])
            .start();
        assert_eq!(server.get("/").status, 500);
        let text = server.stop();
        for word in [closed.to_str().unwrap_or_default(), &other.name, "chmod"] {
            assert!(text.contains(word), "no `{word}` in: {text}");
        }
    });
}
