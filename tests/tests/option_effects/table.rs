//! Which test sees the effect of which option. One that is added to the
//! parser's table without a line here fails; so does a line whose test is gone
//! or does not name the option.

use std::fs;
use std::path::Path;

use wsgid_protocol::option::TABLE;

/// The option, the suite below `tests/tests`, and a test in it.
const SEEN: &[(&str, &str, &str)] = &[
    ("user", "sites.rs", "root_a_worker_has_given_up_everything"),
    ("group", "sites.rs", "root_a_worker_has_given_up_everything"),
    (
        "supplementary-groups",
        "options.rs",
        "root_groups_are_those_that_were_named",
    ),
    (
        "umask",
        "options.rs",
        "limits_priority_and_umask_are_the_kernels",
    ),
    ("home", "sites.rs", "root_a_worker_has_given_up_everything"),
    (
        "chroot",
        "options.rs",
        "chroot_confines_and_says_what_is_missing",
    ),
    (
        "script-user",
        "options.rs",
        "script_user_and_group_refuse_what_others_own_or_may_write",
    ),
    (
        "script-group",
        "options.rs",
        "script_user_and_group_refuse_what_others_own_or_may_write",
    ),
    (
        "lang",
        "options.rs",
        "the_environment_is_what_the_options_say",
    ),
    (
        "locale",
        "options.rs",
        "the_environment_is_what_the_options_say",
    ),
    (
        "env",
        "options.rs",
        "the_environment_is_what_the_options_say",
    ),
    (
        "env-file",
        "options.rs",
        "the_environment_is_what_the_options_say",
    ),
    (
        "log-file",
        "logs.rs",
        "root_a_site_has_a_log_of_its_own_with_its_own_rights",
    ),
    (
        "python-eggs",
        "options.rs",
        "the_environment_is_what_the_options_say",
    ),
    (
        "python-path",
        "options.rs",
        "the_environment_is_what_the_options_say",
    ),
    ("display-name", "sites.rs", "the_supervisor_is_seen_in_ps"),
    (
        "python-home",
        "sites.rs",
        "root_a_worker_has_given_up_everything",
    ),
    (
        "switch-interval",
        "option_effects/passing.rs",
        "the_interpreter_is_told",
    ),
    (
        "processes",
        "options.rs",
        "processes_grow_with_the_queue_and_not_beyond_the_maximum",
    ),
    (
        "threads",
        "options.rs",
        "threads_zero_is_a_service_without_requests",
    ),
    (
        "stack-size",
        "options.rs",
        "limits_priority_and_umask_are_the_kernels",
    ),
    (
        "listen-backlog",
        "options.rs",
        "listen_backlog_bounds_what_waits_and_the_rest_is_refused",
    ),
    (
        "cpu-priority",
        "options.rs",
        "limits_priority_and_umask_are_the_kernels",
    ),
    (
        "startup-timeout",
        "options.rs",
        "startup_timeout_refuses_what_does_not_load",
    ),
    (
        "queue-timeout",
        "options.rs",
        "queue_timeout_refuses_what_would_wait",
    ),
    (
        "connect-timeout",
        "options.rs",
        "listen_backlog_bounds_what_waits_and_the_rest_is_refused",
    ),
    (
        "socket-timeout",
        "slow_readers.rs",
        "a_client_that_reads_nothing_is_given_up",
    ),
    (
        "response-socket-timeout",
        "slow_readers.rs",
        "a_client_that_reads_nothing_is_given_up",
    ),
    (
        "request-timeout",
        "options.rs",
        "request_timeout_ends_what_takes_too_long_and_shows_where_it_was",
    ),
    (
        "interrupt-timeout",
        "options.rs",
        "interrupt_timeout_ends_the_request_and_not_the_process",
    ),
    (
        "deadlock-timeout",
        "options.rs",
        "deadlock_timeout_writes_stacks_and_replaces_the_process",
    ),
    (
        "inactivity-timeout",
        "options.rs",
        "age_idleness_and_cpu_time_replace_the_process",
    ),
    (
        "idle-stop",
        "options.rs",
        "idle_stop_goes_to_zero_and_the_next_request_comes_back",
    ),
    (
        "graceful-timeout",
        "options.rs",
        "graceful_eviction_and_shutdown_timeouts_bound_a_running_request",
    ),
    (
        "eviction-timeout",
        "options.rs",
        "graceful_eviction_and_shutdown_timeouts_bound_a_running_request",
    ),
    (
        "shutdown-timeout",
        "options.rs",
        "graceful_eviction_and_shutdown_timeouts_bound_a_running_request",
    ),
    (
        "restart-interval",
        "options.rs",
        "age_idleness_and_cpu_time_replace_the_process",
    ),
    (
        "cpu-time-limit",
        "options.rs",
        "age_idleness_and_cpu_time_replace_the_process",
    ),
    (
        "response-flush-delay",
        "option_effects/passing.rs",
        "bytes_are_held_back_for_the_delay_and_up_to_the_size",
    ),
    (
        "maximum-requests",
        "options.rs",
        "maximum_requests_replaces_the_process_and_loses_nothing",
    ),
    (
        "maximum-requests-jitter",
        "option_effects/restarts.rs",
        "jitter_keeps_processes_from_going_together",
    ),
    (
        "memory-recycle",
        "options.rs",
        "memory_recycle_replaces_a_process_that_has_grown",
    ),
    (
        "memory-limit",
        "options.rs",
        "limits_priority_and_umask_are_the_kernels",
    ),
    (
        "virtual-memory-limit",
        "options.rs",
        "limits_priority_and_umask_are_the_kernels",
    ),
    (
        "process-limit",
        "option_effects/restarts.rs",
        "no_more_processes_than_the_limit",
    ),
    (
        "cpu-weight",
        "option_effects/control_groups.rs",
        "root_processors_are_shared_by_weight",
    ),
    (
        "memory-max",
        "option_effects/control_groups.rs",
        "root_memory_of_a_group_is_bounded_and_the_cause_is_told",
    ),
    (
        "tasks-max",
        "option_effects/control_groups.rs",
        "root_a_group_has_no_more_tasks_than_allowed",
    ),
    (
        "no-new-privileges",
        "option_effects/control_groups.rs",
        "programs_gain_no_privileges_unless_it_is_allowed",
    ),
    (
        "restart-burst",
        "option_effects/restarts.rs",
        "a_failed_group_tries_again_after_its_window",
    ),
    (
        "restart-window",
        "option_effects/restarts.rs",
        "a_failed_group_tries_again_after_its_window",
    ),
    (
        "script-directories",
        "named_scripts.rs",
        "script_directories_name_what_nothing_else_does",
    ),
    (
        "send-buffer-size",
        "option_effects/passing.rs",
        "root_sockets_have_the_buffers_asked_for",
    ),
    (
        "receive-buffer-size",
        "option_effects/passing.rs",
        "root_sockets_have_the_buffers_asked_for",
    ),
    (
        "header-buffer-size",
        "option_effects/passing.rs",
        "a_header_longer_than_its_buffer_is_refused",
    ),
    (
        "response-buffer-size",
        "option_effects/passing.rs",
        "bytes_are_held_back_for_the_delay_and_up_to_the_size",
    ),
];

/// Those whose effect another suite may or may not see, and why that is right.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "socket-user",
        "the supervisor's own suite: it takes the place of a child of httpd with another user",
    ),
    ("preload", "its own suite"),
    (
        "server-metrics",
        "with the other functions of the module `mod_wsgi`",
    ),
];

#[test]
fn every_option_has_a_test_that_names_it() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut missing = Vec::new();
    for row in TABLE {
        let seen: Vec<_> = SEEN
            .iter()
            .filter(|(option, ..)| *option == row.name)
            .collect();
        if seen.is_empty() && !ELSEWHERE.iter().any(|(option, _)| *option == row.name) {
            missing.push(format!("`{}` has no test", row.name));
        }
        for (option, file, test) in seen {
            let text = fs::read_to_string(tests.join(file)).unwrap_or_default();
            let body = text
                .split_once(&format!("fn {test}("))
                .and_then(|(_, rest)| rest.split("\n}\n").next());
            match body {
                None => missing.push(format!("`{option}`: there is no test {test} in {file}")),
                Some(body) if !body.contains(&format!("{option}=")) => {
                    missing.push(format!("`{option}`: {test} in {file} does not set it"));
                }
                Some(_) => {}
            }
        }
    }
    for (option, ..) in SEEN {
        if !TABLE.iter().any(|row| row.name == *option) {
            missing.push(format!("`{option}` is no option"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
