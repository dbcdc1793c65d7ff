//! Every message of the control sockets.

use std::path::PathBuf;

use serde::Serialize;
use wsgid_protocol::config::{LogFormat, LogTarget};
use wsgid_protocol::control::{
    Command, Configuration, FromParent, FromWorker, Identity, RecycleReason, RunningRequest,
    ServerFacts, ToParent, ToWorker, WorkerReport, WorkerSpec,
};
use wsgid_protocol::in_flight::{Activity, RequestInFlight, WorkerRequests};
use wsgid_protocol::isolation::{IsolationPlaces, IsolationReport};
use wsgid_protocol::payload::encode;

use wsgid_protocol::runs::Runs;
use wsgid_protocol::stamp::{FileStamp, StampedFile};

use super::{Sample, config};

pub(crate) fn samples() -> Vec<Sample> {
    let mut all = named("from-parent", from_parent());
    all.extend(named("to-parent", to_parent()));
    all.extend(named("to-worker", to_worker()));
    all.extend(named("from-worker", from_worker()));
    all.extend(named("recycle-reason", reasons()));
    all.extend(named("command", commands()));
    all
}

fn named<T: Serialize>(prefix: &str, values: Vec<(&str, T)>) -> Vec<Sample> {
    let sample = |(name, value)| Sample::new(format!("{prefix}-{name}"), encode(&value).unwrap());
    values.into_iter().map(sample).collect()
}

pub(crate) fn server() -> ServerFacts {
    ServerFacts {
        version: (2, 4, 62),
        description: "Apache/2.4.62 (Debian)".to_owned(),
        mpm: "event".to_owned(),
        maximum_processes: 16,
        threads_per_process: 25,
    }
}

pub(crate) fn identity() -> Identity {
    Identity {
        uid: 1001,
        gid: 1002,
        groups: vec![1003, 100_000],
        user: "shop".to_owned(),
        home: PathBuf::from("/home/shop"),
        shell: PathBuf::from("/bin/sh"),
        change: true,
    }
}

pub(crate) fn spec() -> WorkerSpec {
    WorkerSpec {
        versions: (2, 2),
        group: config::plain(),
        application_group: "www.example.com|/shop".to_owned(),
        identity: identity(),
        slot: 2,
        generation: 9,
        server: server(),
        log_level: "info".to_owned(),
        callables: vec![(PathBuf::from("/srv/shop/wsgi.py"), "application".to_owned())],
        places: IsolationPlaces {
            temporary: Some(PathBuf::from("/var/tmp/wsgid-1-2-3.4/shop")),
            shared_memory: Some(PathBuf::from("/dev/shm/wsgid-1-2-3.4/shop/shm")),
            others: vec![PathBuf::from("/opt/other")],
        },
    }
}

pub(crate) fn configuration() -> Configuration {
    Configuration {
        versions: (2, 3),
        generation: 3,
        secret: [0xA5; 32],
        httpd_uid: 33,
        httpd_gid: 34,
        server: server(),
        groups: vec![config::plain(), config::some()],
        log: LogTarget::Syslog {
            facility: 23,
            tag: "httpd".to_owned(),
        },
        log_level: None,
        log_format: LogFormat::Json,
        unreadable: None,
    }
}

pub(crate) fn from_parent() -> Vec<(&'static str, FromParent)> {
    vec![
        ("configure", FromParent::Configure(configuration())),
        ("generation-ended", FromParent::GenerationEnded(2)),
        ("shutdown", FromParent::Shutdown),
        ("logs", FromParent::Logs),
        ("reads", FromParent::Reads),
        (
            "log-left-out",
            FromParent::LogLeftOut(vec![("site".to_owned(), 3, 400)]),
        ),
        ("totals", FromParent::Totals),
    ]
}

pub(crate) fn to_parent() -> Vec<(&'static str, ToParent)> {
    vec![
        (
            "applied",
            ToParent::Applied {
                generation: 3,
                problems: vec!["group `shop`: no such user".to_owned()],
            },
        ),
        (
            "refused",
            ToParent::Refused {
                generation: 3,
                reason: "two groups have the name `shop`".to_owned(),
            },
        ),
    ]
}

pub(crate) fn assign() -> ToWorker {
    ToWorker::Assign {
        connection: 300,
        nonce: 0xC0FF_EE11,
    }
}

fn runs() -> Runs {
    let mut runs = Runs::default();
    runs.add_file("/srv/shop/wsgi.py");
    runs.add_directory("/srv/shop/scripts");
    runs
}

fn stamps() -> Vec<StampedFile> {
    let stamp = FileStamp {
        device: 64_769,
        inode: 1_234_567,
        size: 300,
        modified: (1_700_000_000, 123_456_789),
    };
    vec![
        (PathBuf::from("/srv/shop/wsgi.py"), Some(stamp)),
        (PathBuf::from("/srv/shop/env"), None),
    ]
}

pub(crate) fn to_worker() -> Vec<(&'static str, ToWorker)> {
    vec![
        ("spec", ToWorker::Spec(Box::new(spec()))),
        ("assign", assign()),
        ("drain", ToWorker::Drain),
        ("stop", ToWorker::Stop { within_ms: 5000 }),
        ("dump", ToWorker::Dump),
        ("query", ToWorker::Query),
        ("interrupt", ToWorker::Interrupt { connection: 301 }),
        ("preload", ToWorker::Preload(Box::new(spec()))),
        ("fork", ToWorker::Fork { slot: 2 }),
        ("runs", ToWorker::Runs(runs())),
        ("watch", ToWorker::Watch { files: stamps() }),
        ("give-back", ToWorker::GiveBack { within_ms: 30_000 }),
        ("requests", ToWorker::Requests { stacks: true }),
    ]
}

pub(crate) fn from_worker() -> Vec<(&'static str, FromWorker)> {
    let failed = vec![(
        PathBuf::from("/srv/shop/wsgi.py"),
        "ImportError: no module named shop".to_owned(),
    )];
    vec![
        (
            "ready",
            FromWorker::Ready {
                python: (3, 12, 7),
                failed,
            },
        ),
        ("release", FromWorker::Release { connection: 300 }),
        ("closed", FromWorker::Closed { connection: 301 }),
        ("recycle", FromWorker::Recycle(RecycleReason::Memory)),
        ("report", FromWorker::Report(report())),
        (
            "dumped",
            FromWorker::Dumped {
                text: "Thread 1: …".to_owned(),
            },
        ),
        ("heartbeat", FromWorker::Heartbeat),
        ("forked", FromWorker::Forked),
        (
            "cannot-fork",
            FromWorker::CannotFork {
                why: "a thread runs".to_owned(),
            },
        ),
        (
            "loaded",
            FromWorker::Loaded {
                script: PathBuf::from("/srv/shop/wsgi.py"),
            },
        ),
        (
            "called",
            FromWorker::Called {
                script: PathBuf::from("/srv/shop/wsgi.py"),
                callable: "application".to_owned(),
            },
        ),
        ("stamps", FromWorker::Stamps { files: stamps() }),
        (
            "changed",
            FromWorker::Changed {
                file: PathBuf::from("/srv/shop/wsgi.py"),
                stamp: None,
            },
        ),
        (
            "reloading",
            FromWorker::Reloading {
                script: PathBuf::from("/srv/shop/wsgi.py"),
                on: false,
            },
        ),
        (
            "looks",
            FromWorker::Looks {
                why: "`/srv/shop` is on a file system that tells nothing".to_owned(),
            },
        ),
        ("requests", FromWorker::Requests(requests())),
        (
            "isolated",
            FromWorker::Isolated(IsolationReport {
                in_force: vec!["private-tmp".to_owned()],
                missing: vec!["signals: this needs Linux 6.12".to_owned()],
            }),
        ),
    ]
}

pub(crate) fn report() -> WorkerReport {
    WorkerReport {
        requests: 100_000,
        in_flight: 3,
        in_flight_max: 15,
        connections: 40,
        busy_us: 7_000_000_000,
        histogram: vec![0, 1, 2, 250, 251, 65_536],
        running: vec![RunningRequest {
            connection: 300,
            what: "GET /slow".to_owned(),
            for_us: 12_000_000,
        }],
        memory: Some(50 << 20),
        cpu_us: Some(3_000_000),
    }
}

pub(crate) fn requests() -> WorkerRequests {
    WorkerRequests {
        stacks: true,
        queued: 2,
        running: vec![RequestInFlight {
            thread: 3,
            id: "Zk2xQ8CoAAEAAB9".to_owned(),
            method: "POST".to_owned(),
            path: "/basket/pay".to_owned(),
            for_us: 40_000_000,
            activity: Activity::ReadingBody,
            stack: Some("  File \"/srv/shop/wsgi.py\", line 7".to_owned()),
        }],
    }
}

pub(crate) fn reasons() -> Vec<(&'static str, RecycleReason)> {
    vec![
        ("script-changed", RecycleReason::ScriptChanged),
        ("maximum-requests", RecycleReason::MaximumRequests),
        ("memory", RecycleReason::Memory),
        ("restart-interval", RecycleReason::RestartInterval),
        ("inactivity", RecycleReason::Inactivity),
        ("cpu-time-limit", RecycleReason::CpuTimeLimit),
        ("signal", RecycleReason::Signal),
        ("request-timeout", RecycleReason::RequestTimeout),
        ("load-failed", RecycleReason::LoadFailed),
        ("no-descriptors", RecycleReason::NoDescriptors),
    ]
}

pub(crate) fn commands() -> Vec<(&'static str, Command)> {
    let group = || "shop".to_owned();
    vec![
        ("status", Command::Status),
        ("restart", Command::Restart { group: group() }),
        ("stop", Command::Stop { group: group() }),
        ("start", Command::Start { group: group() }),
        ("dump", Command::Dump { group: group() }),
        ("reload", Command::Reload),
        ("reexec", Command::Reexec),
        (
            "progress",
            Command::Progress {
                group: Some(group()),
            },
        ),
        (
            "requests",
            Command::Requests {
                group: Some(group()),
                stacks: true,
            },
        ),
        (
            "drain",
            Command::Drain {
                group: Some(group()),
                on: true,
            },
        ),
    ]
}
