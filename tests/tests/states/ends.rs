//! Each way in which a worker ends: its line in the log, its cause in the status, the
//! count, and what it was doing if it took too long.

use wsgid_protocol::status::{CauseStatus, EndReason, GroupState, PoolStatus};
use wsgid_tests::{Httpd, Limit, Site, case, control, eventually};

use crate::{
    APPLICATION, SOON, begin, builder, group, let_go, wait_for, wait_for_answer, wait_for_running,
};

/// A way to end.
struct End {
    name: &'static str,
    options: &'static str,
    /// In front of the application.
    script: &'static str,
    bring: fn(&Httpd, &str),
    reason: EndReason,
    level: &'static str,
    /// What the line says behind the worker.
    says: &'static str,
    /// What the stacks hold: of the status, or only of the log.
    stacks: Option<(&'static str, Kept)>,
}

impl End {
    /// What the stacks in the status hold, if they are there.
    fn in_status(&self) -> Option<&'static str> {
        let (text, kept) = self.stacks?;
        (kept == Kept::InStatus).then_some(text)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kept {
    InStatus,
    /// The interpreter could not be had: the process itself has written them.
    InLog,
}

/// Sends a request that its worker does not survive.
fn ask(httpd: &Httpd, path: &str) {
    begin(httpd, path);
}

fn restart(httpd: &Httpd, name: &str) {
    wait_for_running(httpd, name);
    let said = control::command(httpd, &["restart", "--no-wait", name]).expect("a control socket");
    assert_eq!(said.code, 0, "{}", said.text);
}

const ENDS: &[End] = &[
    End {
        name: "loads",
        options: "startup-timeout=3",
        script: "import time\ntime.sleep(600)",
        bring: |_, _| {},
        reason: EndReason::StartupTimeout,
        level: "error",
        says: "was killed because it was not ready within startup-timeout (3 s); raise it",
        stacks: Some(("time.sleep(600)", Kept::InStatus)),
    },
    End {
        name: "locked-load",
        options: "startup-timeout=1",
        script: "import ctypes\nctypes.PyDLL(None).usleep(60000000)",
        bring: |_, _| {},
        reason: EndReason::StartupTimeout,
        level: "error",
        says: "was killed because it was not ready within startup-timeout (1 s); raise it",
        stacks: Some(("locked-load.py", Kept::InLog)),
    },
    End {
        name: "preloader",
        options: "startup-timeout=1 preload=On",
        script: "import time\ntime.sleep(600)",
        bring: |_, _| {},
        reason: EndReason::StartupTimeout,
        level: "error",
        says: "is killed because it was not ready within startup-timeout (1 s); workers load",
        stacks: Some(("preloader.py", Kept::InLog)),
    },
    End {
        name: "drains",
        options: "threads=1 graceful-timeout=1 shutdown-timeout=1",
        script: "",
        bring: |httpd, name| {
            ask(httpd, &format!("/{name}/hold"));
            restart(httpd, name);
        },
        reason: EndReason::ShutdownTimeout,
        level: "warn",
        says: "was ended with 1 request unfinished because it was not done within shutdown-timeout (1 s)",
        stacks: Some(("in hold", Kept::InStatus)),
    },
    End {
        name: "locked",
        options: "deadlock-timeout=0 threads=1 graceful-timeout=1 shutdown-timeout=1",
        script: "",
        bring: |httpd, name| {
            ask(httpd, &format!("/{name}/lock"));
            restart(httpd, name);
        },
        reason: EndReason::ShutdownTimeout,
        level: "warn",
        says: "was ended with 1 request unfinished because it was not done within shutdown-timeout (1 s)",
        stacks: Some(("locked.py", Kept::InLog)),
    },
    End {
        name: "deadlock",
        options: "threads=1 deadlock-timeout=1",
        script: "",
        bring: |httpd, name| ask(httpd, &format!("/{name}/lock")),
        reason: EndReason::Deadlock,
        level: "error",
        says: "was killed because its interpreter was locked for longer than deadlock-timeout (1 s)",
        stacks: Some(("deadlock.py", Kept::InLog)),
    },
    End {
        name: "request",
        options: "threads=1 request-timeout=1 interrupt-timeout=1 shutdown-timeout=1 graceful-timeout=1",
        script: "",
        bring: |httpd, name| ask(httpd, &format!("/{name}/long")),
        reason: EndReason::RequestTimeout,
        level: "error",
        says: "has ended, because a request ran longer than request-timeout and did not stop",
        stacks: Some(("time.sleep(60)", Kept::InStatus)),
    },
    End {
        name: "signal",
        options: "threads=1",
        script: "",
        bring: |httpd, name| ask(httpd, &format!("/{name}/die")),
        reason: EndReason::Signalled,
        level: "error",
        says: "was ended by SIGKILL",
        stacks: None,
    },
    End {
        name: "exits",
        options: "threads=1",
        script: "",
        bring: |httpd, name| ask(httpd, &format!("/{name}/exit?3")),
        reason: EndReason::Exited,
        level: "error",
        says: "exited with code 3",
        stacks: None,
    },
    End {
        name: "exits-quietly",
        options: "threads=1",
        script: "",
        bring: |httpd, name| ask(httpd, &format!("/{name}/exit?0")),
        reason: EndReason::Exited,
        level: "error",
        says: "exited with code 0",
        stacks: None,
    },
    End {
        name: "closes",
        options: "threads=1",
        script: "",
        bring: |httpd, name| ask(httpd, &format!("/{name}/close")),
        reason: EndReason::ControlLost,
        level: "error",
        says: "was killed because it closed its control socket, or did not read it",
        stacks: None,
    },
    End {
        name: "no-python",
        options: "python-home=/nowhere/at/all",
        script: "",
        bring: |_, _| {},
        reason: EndReason::NotStarted,
        level: "error",
        says: "did not start: no Python interpreter was found in python-home `/nowhere/at/all`",
        stacks: None,
    },
];

#[test]
fn each_end_has_a_line_a_cause_a_count_and_stacks() {
    case(Limit::seconds(240), || {
        let site = Site::new();
        let mut builder = builder();
        for end in ENDS {
            let text = format!("{}\n{APPLICATION}", end.script);
            let script = site.write(&format!("{}.py", end.name), &text);
            builder = builder.daemon(end.name, end.options).mount(
                &format!("/{}", end.name),
                &script,
                end.name,
            );
        }
        let httpd = builder.start();
        for end in ENDS {
            (end.bring)(&httpd, end.name);
        }
        for end in ENDS {
            is_told(&httpd, end);
        }
        let_go(&site);
        httpd.stop();
    });
}

fn is_told(httpd: &Httpd, end: &End) {
    let line = eventually(end.name, SOON, || {
        let log = httpd.error_log();
        let of_group = format!("process group `{}`: ", end.name);
        let mut lines = log.lines();
        let found = lines.find(|line| {
            line.contains("[wsgid:") && line.contains(&of_group) && line.contains(end.says)
        });
        found.map(str::to_owned)
    });
    assert!(line.contains(&format!("[wsgid:{}]", end.level)), "{line}");
    let of_preloader = line.contains("preloader ");
    if !of_preloader {
        let (pool, cause) = eventually(end.name, SOON, || cause(httpd, end));
        assert!(cause.text.contains(end.says), "{}", cause.text);
        let counted = pool.ends.iter().find(|one| one.reason == end.reason);
        assert!(counted.is_some_and(|one| one.count > 0), "{:?}", pool.ends);
        let expected = end.in_status().unwrap_or_default();
        let stacks = cause.stacks.unwrap_or_default();
        assert!(stacks.contains(expected), "{stacks}");
    }
    if let Some((text, _)) = end.stacks {
        eventually("the stacks in the log", SOON, || {
            httpd.error_log().contains(text).then_some(())
        });
    }
}

fn cause(httpd: &Httpd, end: &End) -> Option<(PoolStatus, CauseStatus)> {
    let group = group(httpd, end.name)?;
    let pool = group.pools.first()?.clone();
    let mut causes = pool.causes.iter();
    // On a busy machine one is killed before its Python can answer.
    let tells = |cause: &CauseStatus| cause.stacks.is_some() == end.in_status().is_some();
    let cause = causes.find(|cause| cause.reason == end.reason && tells(cause));
    let cause = cause?.clone();
    Some((pool, cause))
}

/// A start that always takes too long is no work for ever: it is given up for a while, and the
/// site says so.
#[test]
fn starts_that_take_too_long_are_given_up() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let script = site.write("slow.py", "import time\ntime.sleep(600)\n");
        let httpd = builder()
            .daemon(
                "slow",
                "threads=1 startup-timeout=2 restart-burst=2 restart-window=3",
            )
            .mount("/slow", &script, "slow")
            .start();
        let failing = wait_for(&httpd, "slow", GroupState::Failing);
        let why = failing.why.unwrap_or_default();
        assert!(why.contains("startup-timeout (2 s)"), "{why}");
        let failed = wait_for(&httpd, "slow", GroupState::Failed);
        let kills = failed.pools[0].ends.iter();
        let kills = kills.filter(|one| one.reason == EndReason::StartupTimeout);
        assert!(kills.map(|one| one.count).sum::<u64>() >= 2, "{failed:?}");
        assert_eq!(httpd.get("/slow").status, 503);
        httpd.stop();
    });
}

/// What is counted is not forgotten when the supervisor becomes another program.
#[test]
fn ends_are_counted_over_another_program() {
    case(Limit::seconds(90), || {
        let site = Site::new();
        let script = site.write("app.py", APPLICATION);
        let httpd = builder()
            .daemon("site", "threads=1")
            .mount("/site", &script, "site")
            .start();
        wait_for_answer(&httpd, "/site/");
        assert_eq!(httpd.get("/site/die").status, 502);
        wait_for_answer(&httpd, "/site/");
        let before = group(&httpd, "site").expect("a status");
        let said = control::command(&httpd, &["reexec"]).expect("a control socket");
        assert_eq!(said.code, 0, "{}", said.text);
        let after = eventually("a status", SOON, || group(&httpd, "site"));
        assert_eq!(after.pools[0].ends, before.pools[0].ends);
        assert_eq!(after.pools[0].causes, before.pools[0].causes);
        assert_eq!((after.state, after.since), (before.state, before.since));
        httpd.stop();
    });
}
