//! Definitions of process groups: the defaults, one with every field another
//! value, and one per switch.

use std::path::PathBuf;
use std::time::Duration;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::{ApplicationOptions, LogTarget, Preload};
use wsgid_protocol::payload::encode;

use super::Sample;

pub(crate) fn samples() -> Vec<Sample> {
    let mut all = vec![
        Sample::new("group-config-plain", encode(&plain()).unwrap()),
        Sample::new("group-config-full", encode(&full()).unwrap()),
    ];
    for (name, group) in switches() {
        all.push(Sample::new(format!("group-config-{name}"), encode(&group).unwrap()));
    }
    for (name, target) in targets() {
        all.push(Sample::new(format!("log-target-{name}"), encode(&target).unwrap()));
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
        ("syslog", LogTarget::Syslog { facility: 16, tag: "shop".to_owned() }),
    ]
}

/// One switch at a time turned round: two that change places must show.
pub(crate) fn switches() -> Vec<(&'static str, GroupConfig)> {
    let one = |turn: fn(&mut GroupConfig)| {
        let mut group = GroupConfig::new("", "");
        turn(&mut group);
        group
    };
    vec![
        ("dont-write-bytecode", one(|group| group.dont_write_bytecode = true)),
        ("restrict-stdin", one(|group| group.restrict_stdin = true)),
        ("restrict-stdout", one(|group| group.restrict_stdout = true)),
        ("restrict-signal", one(|group| group.restrict_signal = false)),
        ("multiprocess", one(|group| group.multiprocess = true)),
        ("preload", one(|group| group.preload = true)),
        ("server-metrics", one(|group| group.server_metrics = true)),
        ("no-new-privileges", one(|group| group.no_new_privileges = false)),
    ]
}

/// Every field has a value of its own, so that two that change places show.
pub(crate) fn full() -> GroupConfig {
    let text = |value: &str| Some(value.to_owned());
    let path = |value: &str| Some(PathBuf::from(value));
    let seconds = Duration::from_secs;
    GroupConfig {
        name: "full".to_owned(),
        origin: "/etc/wsgid/full.toml".to_owned(),
        user: text("user"),
        group: text("#1002"),
        supplementary_groups: Some(vec!["video".to_owned(), "#44".to_owned()]),
        umask: Some(0o027),
        home: path("/home"),
        chroot: path("/chroot"),
        script_user: text("script-user"),
        script_group: text("script-group"),
        socket_user: text("socket-user"),
        lang: text("de_DE.UTF-8"),
        locale: text("C.UTF-8"),
        env: vec![("NAME".to_owned(), "VALUE=1".to_owned())],
        env_file: path("/env"),
        display_name: text("%{GROUP}"),
        python_home: path("/venv"),
        python_path: vec![PathBuf::from("/path/1"), PathBuf::from("/path/2")],
        python_eggs: path("/eggs"),
        python_optimize: 2,
        python_warnings: vec!["error".to_owned()],
        python_hash_seed: text("random"),
        dont_write_bytecode: true,
        switch_interval_us: Some(5000),
        restrict_stdin: true,
        restrict_stdout: false,
        restrict_signal: true,
        processes: 3,
        processes_max: Some(8),
        multiprocess: true,
        threads: 25,
        stack_size: Some(262_144),
        listen_backlog: 99,
        cpu_priority: Some(-5),
        startup_timeout: seconds(101),
        queue_timeout: seconds(102),
        connect_timeout: seconds(103),
        socket_timeout: seconds(104),
        response_socket_timeout: seconds(105),
        request_timeout: seconds(106),
        interrupt_timeout: seconds(107),
        deadlock_timeout: seconds(108),
        inactivity_timeout: seconds(109),
        idle_stop: seconds(110),
        graceful_timeout: seconds(111),
        eviction_timeout: seconds(112),
        shutdown_timeout: seconds(113),
        restart_interval: seconds(114),
        cpu_time_limit: seconds(115),
        response_flush_delay: Duration::from_millis(116),
        maximum_requests: 1001,
        maximum_requests_jitter: 1002,
        memory_recycle: 1003,
        memory_limit: 1004,
        virtual_memory_limit: 1005,
        restart_burst: 11,
        restart_window: seconds(117),
        preload: true,
        send_buffer_size: 1006,
        receive_buffer_size: 1007,
        header_buffer_size: 1008,
        response_buffer_size: 1009,
        server_metrics: false,
        preload_scripts: vec![Preload {
            script: PathBuf::from("/srv/full/wsgi.py"),
            application_group: "main".to_owned(),
            callable: text("application"),
        }],
        log: LogTarget::Descriptor(1),
        process_limit: 1010,
        applications: vec![application()],
        cpu_weight: 1011,
        memory_max: 1012,
        tasks_max: 1013,
        no_new_privileges: true,
    }
}

fn application() -> ApplicationOptions {
    ApplicationOptions {
        application_group: "shop".to_owned(),
        python_path: vec![PathBuf::from("/srv/shop")],
        switch_interval_us: Some(2000),
        restrict_stdin: Some(true),
        restrict_stdout: None,
        restrict_signal: Some(false),
    }
}
