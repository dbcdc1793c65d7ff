//! Definitions of process groups: the defaults, and one with some options of each
//! shape.

use std::path::PathBuf;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::{ApplicationOptions, LogTarget, Preload};
use wsgid_protocol::option::Unread;
use wsgid_protocol::payload::encode;

use super::Sample;

pub(crate) fn samples() -> Vec<Sample> {
    let mut all = vec![
        Sample::new("group-config-plain", encode(&plain()).unwrap()),
        Sample::new("group-config-some", encode(&some()).unwrap()),
    ];
    for (name, target) in targets() {
        all.push(Sample::new(
            format!("log-target-{name}"),
            encode(&target).unwrap(),
        ));
    }
    all
}

pub(crate) fn plain() -> GroupConfig {
    GroupConfig::new("shop", "/etc/apache2/sites-enabled/shop.conf:7")
}

pub(crate) fn targets() -> Vec<(&'static str, LogTarget)> {
    vec![
        ("supervisor", LogTarget::Supervisor),
        ("descriptor", LogTarget::Descriptor(3)),
        ("file", LogTarget::File(PathBuf::from("/var/log/shop.log"))),
        (
            "syslog",
            LogTarget::Syslog {
                facility: 16,
                tag: "shop".to_owned(),
            },
        ),
    ]
}

/// A group with some options of each shape, among them what is no option of
/// people, and one that no release has. Another row in the table changes none of
/// its bytes.
pub(crate) fn some() -> GroupConfig {
    let mut group = GroupConfig::new("full", "/etc/wsgid/full.toml");
    for (name, value) in [
        ("user", "#1001"),
        ("env", "NAME=VALUE=1"),
        ("env", "OTHER="),
        ("python-path", "/path/1:/path/2"),
        ("processes", "3..8"),
        ("threads", "25"),
        ("request-timeout", "1500ms"),
        ("no-new-privileges", "Off"),
    ] {
        group.set(name, value).unwrap();
    }
    group.restrict_signal = false;
    group.preload_scripts.push(Preload {
        script: PathBuf::from("/srv/full/wsgi.py"),
        application_group: "main".to_owned(),
        callable: Some("application".to_owned()),
    });
    group.log = LogTarget::Descriptor(1);
    group.applications.push(application());
    group.unread.push(unread());
    group
}

/// What a release after this one may say.
pub(crate) fn unread() -> Unread {
    let (name, value) = ("hover-height".to_owned(), "9 cm".to_owned());
    Unread {
        reason: "unknown option `hover-height`".to_owned(),
        name,
        value,
    }
}

pub(crate) fn application() -> ApplicationOptions {
    ApplicationOptions {
        application_group: "shop".to_owned(),
        python_path: vec![PathBuf::from("/srv/shop")],
        switch_interval_us: Some(2000),
        restrict_stdin: Some(true),
        restrict_stdout: None,
        restrict_signal: Some(false),
    }
}
