//! Which test sees the effect of which option of a process group. An option that
//! is added to the parser's table without a line here fails the suite `claims`; a
//! test that does not set the option fails itself.

/// A test, as `suite::test`, and the options that it sets and whose effect it sees.
pub const SEEN: &[(&str, &[&str])] = &[
    (
        "sites::root_a_worker_has_given_up_everything",
        &["user", "group", "home", "python-home"],
    ),
    (
        "options::root_groups_are_those_that_were_named",
        &["supplementary-groups"],
    ),
    (
        "options::limits_priority_and_umask_are_the_kernels",
        &[
            "umask",
            "stack-size",
            "cpu-priority",
            "memory-limit",
            "virtual-memory-limit",
        ],
    ),
    (
        "options::chroot_confines_and_says_what_is_missing",
        &["chroot"],
    ),
    (
        "options::script_user_and_group_refuse_what_others_own_or_may_write",
        &["script-user", "script-group"],
    ),
    (
        "options::the_environment_is_what_the_options_say",
        &[
            "lang",
            "locale",
            "env",
            "env-file",
            "python-eggs",
            "python-path",
        ],
    ),
    (
        "logs::root_a_site_has_a_log_of_its_own_with_its_own_rights",
        &["log-file"],
    ),
    (
        "logs::root_an_owner_reads_all_that_its_site_said",
        &["request-log"],
    ),
    (
        "logs::a_flood_is_cut_said_once_a_second_and_counted",
        &["log-rate"],
    ),
    (
        "isolation::root_each_option_does_its_part_and_no_other",
        &[
            "isolation",
            "private-tmp",
            "protect-system",
            "protect-home",
            "private-devices",
            "protect-proc",
            "read-write-paths",
            "read-only-paths",
            "inaccessible-paths",
            "restrict-address-families",
            "connect-ports",
            "allow-system-calls",
        ],
    ),
    (
        "isolation::without_root_strict_starts_only_with_its_fallback",
        &["isolation-fallback"],
    ),
    ("sites::the_supervisor_is_seen_in_ps", &["display-name"]),
    (
        "reloading::files_that_options_name_are_watched",
        &["reload-files"],
    ),
    (
        "reloading::a_request_waits_for_the_new_code",
        &["reload-wait"],
    ),
    (
        "probes::nobody_waits_for_the_first_request_of_a_worker",
        &["warm-up"],
    ),
    (
        "probes::a_reload_has_so_many_workers_more_and_no_others",
        &["reload-surge"],
    ),
    (
        "option_effects::the_interpreter_is_told",
        &["switch-interval"],
    ),
    (
        "options::processes_grow_with_the_queue_and_not_beyond_the_maximum",
        &["processes"],
    ),
    (
        "options::threads_zero_is_a_service_without_requests",
        &["threads"],
    ),
    (
        "options::listen_backlog_bounds_what_waits_and_the_rest_is_refused",
        &["listen-backlog", "connect-timeout"],
    ),
    (
        "options::startup_timeout_refuses_what_does_not_load",
        &["startup-timeout"],
    ),
    (
        "options::queue_timeout_refuses_what_would_wait",
        &["queue-timeout"],
    ),
    (
        "slow_readers::a_client_that_reads_nothing_is_given_up",
        &["socket-timeout", "response-socket-timeout"],
    ),
    (
        "options::request_timeout_ends_what_takes_too_long_and_shows_where_it_was",
        &["request-timeout"],
    ),
    (
        "option_effects::a_slow_request_shows_where_it_is_while_it_runs",
        &["slow-request"],
    ),
    (
        "options::interrupt_timeout_ends_the_request_and_not_the_process",
        &["interrupt-timeout"],
    ),
    (
        "options::deadlock_timeout_writes_stacks_and_replaces_the_process",
        &["deadlock-timeout"],
    ),
    (
        "options::age_idleness_and_cpu_time_replace_the_process",
        &["inactivity-timeout", "restart-interval", "cpu-time-limit"],
    ),
    (
        "options::idle_stop_goes_to_zero_and_the_next_request_comes_back",
        &["idle-stop"],
    ),
    (
        "options::graceful_eviction_and_shutdown_timeouts_bound_a_running_request",
        &["graceful-timeout", "eviction-timeout", "shutdown-timeout"],
    ),
    (
        "option_effects::bytes_are_held_back_for_the_delay_and_up_to_the_size",
        &["response-flush-delay", "response-buffer-size"],
    ),
    (
        "options::maximum_requests_replaces_the_process_and_loses_nothing",
        &["maximum-requests"],
    ),
    (
        "option_effects::jitter_keeps_processes_from_going_together",
        &["maximum-requests-jitter"],
    ),
    (
        "options::memory_recycle_replaces_a_process_that_has_grown",
        &["memory-recycle"],
    ),
    (
        "option_effects::no_more_processes_than_the_limit",
        &["process-limit"],
    ),
    (
        "option_effects::root_processors_are_shared_by_weight",
        &["cpu-weight"],
    ),
    (
        "option_effects::root_memory_of_a_group_is_bounded_and_the_cause_is_told",
        &["memory-max"],
    ),
    (
        "option_effects::root_a_group_has_no_more_tasks_than_allowed",
        &["tasks-max"],
    ),
    (
        "option_effects::programs_gain_no_privileges_unless_it_is_allowed",
        &["no-new-privileges"],
    ),
    (
        "option_effects::a_failed_group_tries_again_after_its_window",
        &["restart-burst", "restart-window"],
    ),
    (
        "named_scripts::script_directories_name_what_nothing_else_does",
        &["script-directories"],
    ),
    (
        "logs::lines_are_objects_where_that_is_asked_for",
        &["log-format"],
    ),
    (
        "traces::each_sampled_request_is_a_span_below_the_one_that_asked",
        &["otlp-endpoint", "trace-ratio"],
    ),
    (
        "option_effects::root_sockets_have_the_buffers_asked_for",
        &["send-buffer-size", "receive-buffer-size"],
    ),
    (
        "option_effects::a_header_longer_than_its_buffer_is_refused",
        &["header-buffer-size"],
    ),
    (
        "isolation_packages::packages_work_under_private_and_strict",
        &["isolation", "read-write-paths", "allow-system-calls"],
    ),
];

/// Those whose effect another suite may or may not see, and why that is right.
pub const ELSEWHERE: &[(&str, &str)] = &[
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
