//! Many sites in one httpd: each with its own user and its own Python.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use wsgid_tests::{Httpd, Limit, Python, Request, Site, TestUser, case, note, users};

/// What a site's group needs to run as its user.
fn options(user: Option<&TestUser>, home: &Path, site: &Site) -> String {
    let identity = user.map_or_else(String::new, |user| {
        format!("user={} group={}", user.name, user.group)
    });
    format!(
        "processes=1 threads=3 {identity} python-home={} {}",
        home.display(),
        site.python_path()
    )
}

fn assert_who(
    httpd: &Httpd,
    at: &str,
    framework: &str,
    python: &Python,
    venv: &Path,
    user: Option<&TestUser>,
) {
    let who = httpd.get(&format!("{at}/who")).json();
    assert_eq!(who["framework"], framework);
    assert_eq!(
        who["version"],
        json!([python.version.0, python.version.1]),
        "{at}"
    );
    assert_eq!(who["prefix"], venv.display().to_string(), "{at}");
    if let Some(user) = user {
        assert_eq!(
            (&who["uid"], &who["gid"]),
            (&json!(user.uid), &json!(user.gid)),
            "{at}"
        );
    }
    let body = vec![7; 10_000];
    let echoed = httpd
        .client()
        .send(&Request::post(&format!("{at}/echo"), body.clone()))
        .expect("an answer");
    assert_eq!((echoed.status, echoed.body), (200, body), "{at}");
}

/// Flask and Django with one Python each, side by side.
fn flask_and_django(accounts: [Option<&TestUser>; 2]) {
    let pythons = Python::all();
    let old = &pythons[0];
    let new = &pythons[pythons.len() - 1];
    let flask = old.venv(&["flask"]);
    let django = new.venv(&["django"]);
    let sites = accounts.map(|user| user.map_or_else(Site::new, Site::of));
    let httpd = Httpd::builder()
        .daemon("flask", &options(accounts[0], &flask, &sites[0]))
        .daemon("django", &options(accounts[1], &django, &sites[1]))
        .mount("/flask", &sites[0].file("flask_site.py"), "flask")
        .mount("/django", &sites[1].file("django_site.py"), "django")
        .start();
    assert_who(&httpd, "/flask", "flask", old, &flask, accounts[0]);
    assert_who(&httpd, "/django", "django", new, &django, accounts[1]);
    httpd.stop();
}

#[test]
fn flask_and_django_each_in_its_own_environment() {
    case(Limit::seconds(240), || flask_and_django([None, None]));
}

#[test]
fn root_flask_and_django_as_two_users() {
    case(Limit::seconds(240), || {
        if let Some(users) = users::three() {
            flask_and_django([Some(&users[0]), Some(&users[1])]);
        }
    });
}

/// Every interpreter of the machine in one httpd, bare (without an environment).
#[test]
fn root_every_python_side_by_side_each_as_a_user() {
    case(Limit::seconds(240), || {
        let Some(users) = users::three() else { return };
        let pythons = Python::all();
        if pythons.len() < 3 {
            note(&format!(
                "only {} CPython from 3.9 on was found; three are wanted",
                pythons.len()
            ));
        }
        let sites: Vec<Site> = (0..pythons.len())
            .map(|index| Site::of(&users[index % 3]))
            .collect();
        let mut builder = Httpd::builder();
        for (index, (python, site)) in pythons.iter().zip(&sites).enumerate() {
            let name = format!("python{index}");
            builder = builder
                .daemon(&name, &options(Some(&users[index % 3]), &python.home, site))
                .mount(&format!("/{name}"), &site.file("probe.py"), &name);
        }
        let httpd = builder.start();
        for (index, python) in pythons.iter().enumerate() {
            let info = httpd.get(&format!("/python{index}/info")).json();
            let user = &users[index % 3];
            let version: Vec<String> = info["version"]
                .as_array()
                .expect("a list")
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(version.join("."), python.full_version);
            assert_eq!(info["prefix"], python.home.display().to_string());
            assert_eq!(info["uid"], json!([user.uid, user.uid, user.uid]));
            assert_eq!(info["gid"], json!([user.gid, user.gid, user.gid]));
        }
        httpd.stop();
    });
}

/// What the kernel says of a worker, not what the worker says of itself.
#[test]
fn root_a_worker_has_given_up_everything() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let user = &users[0];
        let site = Site::of(user);
        let home = Python::any().home.display().to_string();
        let more = "umask=0027 lang=C.UTF-8 display-name=%{GROUP} processes=2 threads=2";
        let httpd = Httpd::builder()
            .daemon(
                "closed",
                &format!(
                    "user={} group={} home={} python-home={home} {} {more}",
                    user.name,
                    user.group,
                    site.path().display(),
                    site.python_path()
                ),
            )
            .mount("/", &site.file("probe.py"), "closed")
            .start();
        let info = httpd.get("/info").json();
        assert_eq!(info["umask"], 0o027);
        assert_eq!(info["cwd"], site.path().display().to_string());
        let environment = info["environment"].as_object().expect("a map");
        assert_eq!(environment["LANG"], "C.UTF-8");
        assert_eq!(
            (&environment["USER"], &environment["LOGNAME"]),
            (&json!(user.name), &json!(user.name))
        );
        for (name, value) in environment {
            let known = [
                "PATH", "HOME", "SHELL", "LANG", "TZ", "USER", "LOGNAME", "USERNAME", "LC_ALL",
                "LC_CTYPE",
            ];
            let ours = name.starts_with("PYTHON") || name.starts_with("WSGID");
            assert!(
                known.contains(&name.as_str()) || ours,
                "{name}={value} came from outside"
            );
        }
        let workers = httpd.wait_for_workers(2, Duration::from_secs(20));
        for worker in workers {
            let identity = worker.identity().expect("it runs");
            assert_eq!(identity.uids, [user.uid; 4]);
            assert_eq!(identity.gids, [user.gid; 4]);
            assert!(
                identity.groups.iter().all(|group| *group == user.gid),
                "{identity:?}"
            );
            assert_eq!(identity.capabilities, 0);
            assert!(identity.no_new_privs);
            wsgid_tests::eventually("the worker's name", Duration::from_secs(20), || {
                (worker.command_line() == "(wsgi:closed)").then_some(())
            });
            let inherited: Vec<_> = worker
                .descriptors()
                .into_iter()
                .filter(|(_, what)| {
                    what.contains(".log")
                        || what.starts_with(&format!("{}/", httpd.root().display()))
                })
                .collect();
            assert!(
                inherited.is_empty(),
                "descriptors of httpd in a worker: {inherited:?}"
            );
        }
        httpd.stop();
    });
}

#[test]
fn the_supervisor_is_seen_in_ps() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = Httpd::builder()
            .daemon(
                "named",
                &format!(
                    "display-name=my-site processes=2 threads=2 {}",
                    site.python_path()
                ),
            )
            .mount("/", &site.file("hello.py"), "named")
            .start();
        assert_eq!(httpd.get("/").status, 200);
        let supervisor = httpd.supervisor().expect("httpd has a supervisor");
        assert!(
            supervisor.command_line().contains("wsgid supervise"),
            "{}",
            supervisor.command_line()
        );
        wsgid_tests::eventually("workers with their name", Duration::from_secs(20), || {
            let names: Vec<String> = httpd
                .workers()
                .into_iter()
                .map(|worker| worker.command_line())
                .collect();
            (names == ["my-site", "my-site"]).then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn a_script_that_breaks_does_not_touch_other_groups() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = Httpd::builder()
            .daemon("good", &format!("threads=2 {}", site.python_path()))
            .daemon("bad", "threads=2")
            .mount("/bad", &site.file("broken.py"), "bad")
            .mount("/", &site.file("hello.py"), "good")
            .start();
        let good = httpd.get("/").status;
        let bad = httpd.get("/bad").status;
        assert_eq!((good, bad), (200, 500));
        let line = httpd.wait_for_log("ImportError: broken on purpose", Duration::from_secs(10));
        assert!(!line.is_empty());
        assert_eq!(
            (httpd.get("/").status, httpd.get("/bad").status),
            (200, 500)
        );
        httpd.stop();
    });
}
