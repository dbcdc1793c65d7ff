//! What a forked worker is as a process, and what becomes of the processes of a site.

use std::collections::BTreeSet;
use std::fs;

use wsgid_tests::{Httpd, Limit, Load, Pid, Site, case, eventually, heavy_case, users};

use crate::server::{SLOW, SOON, preloader, ready, serve, site};

/// What the kernel shows of a worker, without what differs between any two.
fn privileges(pid: Pid) -> String {
    let read =
        |name: &str| fs::read_to_string(format!("/proc/{}/{name}", pid.number)).unwrap_or_default();
    let wanted = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "NoNewPrivs",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "Seccomp",
    ];
    let status = read("status");
    let status: Vec<&str> = status
        .lines()
        .filter(|line| {
            wanted
                .iter()
                .any(|name| line.starts_with(&format!("{name}:")))
        })
        .collect();
    let nice = read("stat")
        .rsplit_once(')')
        .and_then(|(_, rest)| Some(rest.split_whitespace().nth(16)?.to_owned()));
    let directory = fs::read_link(format!("/proc/{}/cwd", pid.number)).ok();
    let mut environment: Vec<_> = pid.environment().into_iter().collect();
    environment.sort();
    format!(
        "{status:#?}\nnice {nice:?}\n{directory:?}\n{environment:#?}\n{}",
        read("limits")
    )
}

/// Kinds of open descriptors.
fn descriptors(pid: Pid) -> Vec<String> {
    let kind = |text: &String| text.split([':', '[']).next().unwrap_or_default().to_owned();
    let descriptors = pid.descriptors();
    // One worker of a pool watches its files, whichever it is.
    let all_have = descriptors
        .values()
        .filter(|what| !what.contains("inotify"));
    let mut kinds: Vec<String> = all_have.map(kind).collect();
    kinds.sort();
    kinds
}

#[test]
fn root_a_forked_worker_is_who_a_plain_one_is() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let user = &users[0];
        let look = |preload: &str| {
            let site = Site::of(user);
            let script = site.write(
                "app.py",
                &SLOW
                    .replace("1.5", "0")
                    .replace("__file__ + \".count\"", "os.devnull"),
            );
            let options = format!(
                "processes=2 threads=2 user={} umask=0027 cpu-priority=5 memory-limit=1000000000 \
                 cpu-time-limit=100 home={} env=COLOUR=green {preload}",
                user.name,
                site.path().display(),
            );
            let httpd = Httpd::builder()
                .daemon("site", &options)
                .mount("/", &script, "site")
                .start();
            let workers = ready(&httpd, 2);
            let mut clients: Vec<_> = (0..4).map(|_| httpd.client()).collect();
            clients
                .iter_mut()
                .for_each(|client| assert_eq!(client.get("/").expect("an answer").status, 200));
            let groups: BTreeSet<_> = workers
                .iter()
                .map(|worker| process_group(*worker))
                .collect();
            assert_eq!(
                groups,
                workers.iter().map(|worker| Some(worker.number)).collect(),
                "a process group each"
            );
            let identity = workers[0].identity().expect("it runs");
            assert_eq!(
                (identity.uids, identity.gids),
                ([user.uid; 4], [user.gid; 4])
            );
            assert!(
                identity.no_new_privs && identity.capabilities == 0,
                "{identity:?}"
            );
            if let Some(preloader) = httpd.preloader() {
                assert_eq!(preloader.identity().expect("it runs").uids, [user.uid; 4]);
            }
            let place = site.path().display().to_string();
            let seen = (
                privileges(workers[1]).replace(&place, "SITE"),
                descriptors(workers[1]),
            );
            httpd.stop();
            seen
        };
        let plain = look("");
        let forked = look("preload=On");
        assert_eq!(plain.0, forked.0);
        let sockets = |kinds: &[String]| {
            kinds
                .iter()
                .filter(|kind| *kind != "socket")
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(sockets(&plain.1), sockets(&forked.1));
    });
}

fn process_group(pid: Pid) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.number)).ok()?;
    text.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(2)?
        .parse()
        .ok()
}

#[test]
fn forked_workers_survive_a_new_program_and_leave_a_dead_supervisor() {
    heavy_case(Limit::default(), || {
        let site = site(&SLOW.replace("1.5", "0.1"));
        let httpd = serve(&site, "processes=2 threads=2 preload=On graceful-timeout=2");
        let workers = ready(&httpd, 2);
        let first = preloader(&httpd);
        let running = Load::new(httpd.address(), "/", 4).start();
        running.wait_for_more(100);
        let _ = httpd.wsgid(&["reexec"]);
        eventually("the preloader of the next program", SOON, || {
            httpd.preloader().filter(|new| *new != first)
        });
        assert_eq!(ready(&httpd, 2), workers, "the workers are the same");
        running.wait_for_more(100);
        running.stop().assert_clean();
        workers[0].kill();
        let now = eventually("a worker forked by the next program", SOON, || {
            let now = httpd.ready_workers();
            (now.len() == 2 && !now.contains(&workers[0])).then_some(now)
        });
        // Ended processes are waited for, also those that nobody had started.
        let supervisor = httpd.supervisor().expect("it runs");
        eventually("no zombies", SOON, || {
            supervisor
                .children()
                .iter()
                .all(|child| child.alive())
                .then_some(())
        });

        let second = preloader(&httpd);
        let running = Load::new(httpd.address(), "/", 4).start();
        running.wait_for_more(100);
        supervisor.kill();
        eventually("the end of the old ones", SOON, || {
            now.iter()
                .chain([&second])
                .all(|process| !process.alive())
                .then_some(())
        });
        running.wait_for_more(100);
        running.stop().assert_clean();
        httpd.stop();
    });
}

#[test]
fn what_a_site_leaves_running_is_reaped_when_it_ends() {
    case(Limit::default(), || {
        let site = site(
            "import os, subprocess\n\
             def application(environ, start_response):\n    \
                 subprocess.run(['sh', '-c', 'sleep 1 & echo $!'], stdout=open(__file__ + '.pid', 'w'))\n    \
                 start_response('200 OK', [])\n    return [b'left']\n",
        );
        let httpd = serve(&site, "processes=1 threads=1 preload=On");
        assert_eq!(httpd.get("/").text(), "left");
        let number: i32 = fs::read_to_string(site.file("app.py.pid"))
            .expect("written")
            .trim()
            .parse()
            .expect("a pid");
        eventually("no trace of it", SOON, || {
            (!fs::exists(format!("/proc/{number}")).unwrap_or(true)).then_some(())
        });
        httpd.stop();
    });
}
