//! What of the system a site finds without naming it: names, certificates, time zones, fonts,
//! its Python wherever that is, the sockets of services, mail. The case has mounts of its own,
//! so that all of it can stand where a system has it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use wsgid_tests::{Builder, Httpd, Limit, Python, case, until, users};

use crate::server::{self, Peers, own_mounts};
use crate::{PRIVATE, STRICT};

const ALL: [&str; 9] = [
    "names",
    "accounts",
    "certificates",
    "times",
    "locales",
    "fonts",
    "interpreter",
    "services",
    "logging",
];

/// An address of this machine where no other program listens, nor another case.
fn name_server() -> String {
    static CASES: AtomicU32 = AtomicU32::new(1);
    let case = CASES.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id() % 200 + 1;
    format!("127.83.{process}.{case}")
}

/// Where services of the system listen, and those that answer who a user is.
const STREAMS: [&str; 7] = [
    "/run/nscd/socket",
    "/run/nslcd/socket",
    "/run/samba/winbindd/pipe",
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/mysql/mysql.sock",
    "/run/valkey/valkey.sock",
    "/run/clamav/clamd.ctl",
];
const SYSTEM_LOG: &str = "/run/systemd/journal/dev-log";
const SPOOL: &str = "/var/spool/wsgid-test";

/// The machine as a distribution has it; `PYTHON` is an interpreter that is no part of `/usr`.
const MACHINE: &str = "over /run /etc /home /opt /srv /usr/local/sbin /var/spool /var/lib\n\
    umask 022; cd /run; for socket in redis/x postgresql/x mysqld/x systemd/journal/x STREAMS; do\n\
    mkdir -p $(dirname $socket); chmod 755 $(dirname $socket); done\n\
    echo nameserver NAMES >systemd/resolve/stub-resolv.conf\n\
    ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf\n\
    mkdir -p $base/dev/shm $base/dev/pts; for name in null zero full random urandom tty ptmx; do\n\
    touch $base/dev/$name; mount --bind /dev/$name $base/dev/$name; done\n\
    mount --bind /dev/pts $base/dev/pts; mount -t tmpfs -o mode=1777 none $base/dev/shm\n\
    for name in fd stdin stdout stderr; do cp -P /dev/$name $base/dev; done\n\
    ln -s /run/systemd/journal/dev-log $base/dev/log; mount --rbind $base/dev /dev\n\
    mkdir -p /home/alice/.pyenv/versions/own /home/bob /opt/python /srv/shop\n\
    echo secret >/home/bob/secret; mkdir -p /var/lib/sss/mc; echo users >/var/lib/sss/mc/passwd\n\
    uv=/home/carol/.local/share/uv/python; mkdir -p $uv/cpython-3.own; ln -s cpython-3.own $uv/cpython-3\n\
    for place in /home/alice/.pyenv/versions/own /opt/python $uv/cpython-3.own; do\n\
    mount --bind PYTHON $place; done\n\
    cp /usr/bin/tee /usr/local/sbin/sendmail; mkdir SPOOL\n\
    chgrp GROUP /usr/local/sbin/sendmail SPOOL; chmod 2755 /usr/local/sbin/sendmail; chmod 770 SPOOL\n";

/// A site: where it is, and where its Python is.
struct Place {
    name: &'static str,
    home: &'static str,
    venv: &'static str,
    base: &'static str,
}

const PLACES: [Place; 4] = [
    Place {
        name: "alice",
        home: "/home/alice/site",
        venv: "/home/alice/venv",
        base: "/home/alice/.pyenv/versions/own",
    },
    Place {
        name: "shop",
        home: "/srv/shop",
        venv: "/srv/shop/venv",
        base: "/opt/python",
    },
    // An installation by a name that is a link.
    Place {
        name: "carol",
        home: "/home/carol/project",
        venv: "/home/carol/project/.venv",
        base: "/home/carol/.local/share/uv/python/cpython-3",
    },
    // Without an environment.
    Place {
        name: "plain",
        home: "/srv/plain",
        venv: "/opt/python",
        base: "/opt/python",
    },
];

/// Why something is not there for a site.
fn failure(httpd: &Httpd, group: &str, what: &str) -> Option<String> {
    let answer = httpd.get(&format!("/{group}/{what}")).json();
    let text = answer.as_str()?;
    Some(format!("{group}: {what}: {text}"))
}

/// An installation that the system's package manager did not make, or the system's.
fn own_python() -> &'static Python {
    let own = |python: &&Python| !python.home.starts_with("/usr");
    Python::all().iter().find(own).unwrap_or_else(Python::any)
}

/// The machine, for this thread; the servers on it, and the system's log.
fn machine() -> Option<(Peers, UnixDatagram)> {
    let users = users::three()?;
    let names = name_server();
    let machine = MACHINE
        .replace("NAMES", &names)
        .replace("STREAMS", &STREAMS.join(" "))
        .replace("PYTHON", &own_python().home.display().to_string())
        .replace("SPOOL", SPOOL)
        .replace("GROUP", &users[1].group);
    if !own_mounts(&machine) {
        return None;
    }
    let log = UnixDatagram::bind(SYSTEM_LOG).expect("the socket is free");
    fs::set_permissions(SYSTEM_LOG, fs::Permissions::from_mode(0o666)).expect("it was just made");
    let peers = Peers::start("/run/%", &[&[names.as_str()], &STREAMS[..]].concat());
    Some((peers, log))
}

/// Adds a site with a group for each of these names and options.
fn with_site(
    mut builder: Builder,
    place: &Place,
    peers: &Peers,
    groups: &[[String; 2]],
) -> Builder {
    if place.venv != place.base {
        let made = Command::new(Path::new(place.base).join("bin/python3"))
            .args(["-m", "venv", "--without-pip", place.venv])
            .status();
        assert!(made.is_ok_and(|status| status.success()), "{}", place.name);
    }
    let mut settings = peers.places.clone();
    let databases = ["redis", "mysqld", "postgresql"]
        .map(|name| json!(["SOCK_STREAM", peers.places[&format!("{name}_socket")]]));
    let streams = STREAMS.map(|name| json!(["SOCK_STREAM", name]));
    let log = json!(["SOCK_DGRAM", "/dev/log"]);
    let services = [&databases[..], &streams[..], &[log]].concat();
    let more = [
        ("prefix", json!(place.venv)),
        ("base_prefix", json!(place.base)),
        ("services", json!(services)),
        ("system_log", json!(true)),
        ("spool", json!(SPOOL)),
        ("token", json!(place.name)),
    ];
    settings.extend(more.map(|(name, value)| (name.to_owned(), value)));
    let home = Path::new(place.home);
    let script = server::write_applications(home, settings);
    let usual = server::options(home, Path::new(place.venv), server::user());
    for [group, options] in groups {
        builder = builder.daemon(group, &format!("{usual} {options}")).mount(
            &format!("/{group}"),
            &script,
            group,
        );
    }
    builder
}

#[test]
fn root_what_a_site_needs_of_the_system_is_there() {
    case(Limit::seconds(240), || {
        let Some((peers, _log)) = machine() else {
            return;
        };
        let group = |place: &Place, preset| format!("{}-{preset}", place.name);
        let builder = PLACES.iter().fold(Httpd::builder(), |builder, place| {
            let groups = [PRIVATE, STRICT].map(|preset| {
                [
                    group(place, preset),
                    format!("isolation={preset} processes=2"),
                ]
            });
            with_site(builder, place, &peers, &groups)
        });
        let httpd = builder.start();
        let wrong: Vec<String> = thread::scope(|scope| {
            let each = |place| [PRIVATE, STRICT].map(|preset| group(place, preset));
            let httpd = &httpd;
            let of_group = |group: String| scope.spawn(move || of_group(httpd, &group));
            let all: Vec<_> = PLACES.iter().flat_map(each).map(of_group).collect();
            all.into_iter()
                .flat_map(|one| one.join().expect("answers"))
                .collect()
        });
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        httpd.stop();
    });
}

/// What is wrong for a group.
fn of_group(httpd: &Httpd, group: &str) -> Vec<String> {
    let mut wrong: Vec<String> = ALL
        .iter()
        .filter_map(|what| failure(httpd, group, what))
        .collect();
    // Two at a time, so that at last both workers serve one.
    let mut last = None;
    let met = until(Duration::from_secs(60), || {
        last = thread::scope(|scope| {
            let both = [(); 2].map(|()| scope.spawn(|| failure(httpd, group, "workers")));
            let both = both.map(|one| one.join().expect("an answer"));
            both.into_iter().flatten().next()
        });
        last.is_none().then_some(())
    });
    wrong.extend(last.filter(|_| met.is_none()));
    let neighbour = failure(httpd, group, "neighbour").unwrap_or_default();
    if !neighbour.contains("FileNotFoundError") {
        wrong.push(format!("{group}: the neighbour is there: {neighbour}"));
    }
    wrong
}

#[test]
fn root_a_program_with_the_group_of_the_spool_sends_mail() {
    case(Limit::default(), || {
        let Some((peers, _log)) = machine() else {
            return;
        };
        let spool = format!("read-write-paths={SPOOL}");
        let groups = [PRIVATE, STRICT].map(|preset| {
            let isolation = format!("isolation={preset}");
            [
                [
                    format!("{preset}-read-only"),
                    format!("{isolation} no-new-privileges=Off"),
                ],
                [format!("{preset}-plain"), format!("{isolation} {spool}")],
                [
                    format!("{preset}-mail"),
                    format!("{isolation} {spool} no-new-privileges=Off"),
                ],
            ]
        });
        let httpd = with_site(Httpd::builder(), &PLACES[0], &peers, &groups.concat()).start();
        for preset in [PRIVATE, STRICT] {
            assert_eq!(failure(&httpd, &format!("{preset}-mail"), "mail"), None);
            for (group, sign) in [
                ("plain", "Permission denied"),
                ("read-only", "Read-only file system"),
            ] {
                let refused = failure(&httpd, &format!("{preset}-{group}"), "mail");
                let refused = refused.expect("it does not work without its options");
                assert!(refused.contains(sign), "{refused}");
            }
        }
        httpd.stop();
    });
}
