//! The cases of WSGI over HTTP, and which tests show each of them where. The page
//! `tests/CASES.md` is made from it by the suite `claims`; `claims` (`mod.rs`) holds
//! every test to where it is said to run.

/// Where a case has to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// On every MPM by every transport.
    All,
    /// On every MPM, by one transport: why.
    Mpms(&'static str),
    /// Once: why.
    Once(&'static str),
    /// Not by a test of this repository: why.
    Elsewhere(&'static str),
}
use On::{All, Elsewhere, Mpms, Once};

/// One case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its number, as the names of steps in the tests begin.
    pub number: u32,
    /// What is expected.
    pub expected: &'static str,
    /// Where.
    pub on: On,
    /// The tests that each show it there, as `suite::test`.
    pub tests: &'static [&'static str],
    /// Tests that show more of it, elsewhere.
    pub also: &'static [&'static str],
}

const BYTES: On = Mpms("the bytes of HTTP/1.1");
const EXPECT: On = Mpms("HTTP/2 has no 100 to wait for");
const STALL: On = Mpms("mod_reqtimeout does not look into HTTP/2 streams");
const CONNECTIONS: On = Mpms("connections do not know the protocol");
const CONTROL: On = Mpms("control, not data");
const CONFIGURATION: On = Once("configuration, before any MPM or protocol");
const MAPPING: On = Once("hooks before the handler, the same for all");

const BODIES: &str = "request_body::bodies_arrive_by_every_transport_on_every_mpm";
const FRAMING: &str = "request_body::framing_is_strict";
const CONTINUE: &str = "request_body::continue_is_said_once_and_only_when_the_body_is_wanted";
const BROKEN_BODIES: &str = "broken_bodies::broken_bodies_by_every_transport_on_every_mpm";
const ENDS: &str = "broken_bodies::ends_that_only_bytes_can_say";
const STALLED: &str = "broken_bodies::clients_that_stall_are_given_up_and_late_readers_are_not";
const HEADS: &str =
    "response_head::heads_are_what_the_application_says_by_every_transport_on_every_mpm";
const HEADS_OF_HTTP_1: &str = "response_head::what_only_http_1_shows";
const SMALL_RESPONSES: &str = "streaming::small_responses_are_one_piece";
const BREAKS: &str = "failures::what_breaks_in_the_middle_is_seen_by_every_client_on_every_mpm";
const NESTED: &str = "failures::requests_inside_requests_are_whole_or_broken_on_every_mpm";
const HOSTILE_WORKER: &str = "hostile_worker::against_the_module";
const FILES: &str = "files::files_are_exact_by_every_transport_on_every_mpm";
const CHANGES: &str = "restarts::changes_reach_only_whom_they_concern_and_requests_end";

macro_rules! cases {
    ($($number:literal $expected:literal, $on:expr, [$($test:expr),*] $(also [$($also:expr),*])?;)*) => {
        /// All of them.
        pub const CASES: &[Case] = &[$(Case {
            number: $number,
            expected: $expected,
            on: $on,
            tests: &[$($test),*],
            also: &[$($($also),*)?],
        }),*];
    };
}

cases! {
    1 "no body: `read()` gives nothing", All, [BODIES];
    2 "bodies with Content-Length arrive byte for byte", All, [BODIES];
    3 "bodies of unknown length; 411 without WSGIChunkedRequest", All, [BODIES];
    4 "trailers do no harm", BYTES, [FRAMING];
    5 "codings other than chunked: 501", BYTES, [FRAMING];
    6 "Content-Length and chunked together: chunked counts, then the connection ends", BYTES,
        [FRAMING];
    7 "more than LimitRequestBody: 413 without the application", All, [BROKEN_BODIES];
    8 "a body that grows over LimitRequestBody: 413, the read raises", All, [BROKEN_BODIES];
    9 "the same after the response has begun: the response breaks", All, [BROKEN_BODIES];
    10 "a chunk header that is none: 400, the read raises", BYTES, [FRAMING];
    11 "a client that stalls in its body: 408 by RequestReadTimeout", STALL, [STALLED];
    12 "a client that leaves in its body: the read raises", All, [BROKEN_BODIES] also [ENDS];
    13 "half closed after a whole request: an ordinary answer", BYTES, [ENDS];
    14 "Expect: exactly one 100 when the application reads", EXPECT, [CONTINUE];
    15 "an early refusal: no 100, the body stays with the client", All, [BODIES] also [CONTINUE];
    16 "Expect, head before the first read: no 100 inside the body", EXPECT, [CONTINUE];
    17 "Expect on HTTP/1.0: ignored", EXPECT, [CONTINUE];
    18 "a flood against an upload that nobody reads: all of it arrives", All, [BODIES];
    19 "50 MB back while they come", All, ["broken_bodies::a_body_comes_back_while_it_is_sent"];
    20 "one byte read of 5 MB: an ordinary answer", All, [BROKEN_BODIES] also [ENDS];
    21 "a slow small POST holds no Python thread", All, [BROKEN_BODIES];
    22 "an application that reads late, after body= has passed", STALL, [STALLED];
    23 "a body that grows when it is inflated", All, [BROKEN_BODIES];
    24 "doubtful framing: never two requests", BYTES,
        ["hostile_client::no_framing_makes_two_requests_of_one", FRAMING];
    25 "repeated fields stay separate and in order", All, [HEADS];
    26 "unusual statuses pass", All, [HEADS];
    27 "statuses that are none: an error", All, [HEADS];
    28 "CR, LF, NUL in fields: an error, nothing injected", All, [HEADS];
    29 "fields of the connection are removed", All, [HEADS];
    30 "Date and Server are the server's", All, [HEADS];
    31 "no Content-Type: none from the script's name", All, [HEADS];
    32 "AddDefaultCharset and output filters work", All, [HEADS] also [HEADS_OF_HTTP_1];
    33 "HEAD: the fields of GET, no body; WSGIMapHEADToGET", All, [HEADS];
    34 "204 and 304 have no body; the connection is kept", All, [HEADS] also [HEADS_OF_HTTP_1];
    35 "Content-Length is policed", All, [HEADS] also [HEADS_OF_HTTP_1];
    36 "large heads, and too large ones", All, [HEADS];
    37 "103 Early Hints", All, [HEADS] also [HEADS_OF_HTTP_1];
    38 "Location with 200 and with 302", All, [HEADS];
    39 "WSGIErrorOverride", All, [HEADS];
    40 "an application as ErrorDocument, also a failing one", All, [HEADS];
    41 "a conditional GET that the application answers", All, [HEADS];
    42 "small responses in one piece with their length", All, [SMALL_RESPONSES];
    43 "each yielded piece arrives at once", All, ["streaming::pieces_are_not_held_back"];
    44 "large streams in constant memory", All,
        ["streaming::a_pipe_of_64_mib_stays_out_of_memory"]
        also ["streaming::a_pipe_of_1_gib_stays_out_of_memory"];
    45 "a slow client holds no Python thread", BYTES,
        ["streaming::a_slow_client_holds_no_python_thread"];
    46 "a worker killed before the head: 502", All, [BREAKS];
    47 "a worker killed later: a broken transfer", All, [BREAKS];
    48 "the same with Content-Length, deflate, ratelimit and behind mod_proxy", All, [BREAKS];
    49 "an exception before and after the first piece", All, [BREAKS];
    50 "an application that hangs: 504, or a broken transfer", All, [BREAKS];
    51 "the supervisor killed during many requests", All,
        ["failures::a_killed_supervisor_costs_nothing_by_every_transport_on_every_mpm"];
    52 "a queue that is too long or too slow: 503, 504", All,
        ["failures::a_full_queue_answers_in_time"];
    53 "a client that leaves: not served, or `close()` called once", All,
        ["failures::clients_that_leave_are_noticed"];
    54 "pipelined requests, the first one slow", BYTES,
        ["http::pipelined_requests_are_answered_in_order", SMALL_RESPONSES];
    55 "frames that no worker of ours would send", All,
        [HOSTILE_WORKER, "hostile_worker::against_the_supervisor"];
    56 "a panic in the module: 500, the child lives", All,
        ["panics::a_panic_in_the_module_ends_one_request_and_nothing_else"];
    57 "a file by sendfile, and without", All,
        [FILES] also ["files::a_real_file_is_sent_by_the_kernel"];
    58 "ranges of a file", All, [FILES];
    59 "files over TLS, HTTP/2 and DEFLATE", All, [FILES];
    60 "10,000 files: no descriptor is left", Mpms("descriptors do not know the protocol"),
        ["files::many_files_leave_no_descriptor_behind"];
    61 "parts of files, files that shrink", All,
        [FILES, "files::a_file_that_shrinks_breaks_one_response_and_nothing_else"];
    62 "descriptors that are no files, or too many", All, [HOSTILE_WORKER];
    63 "a test of the configuration starts and touches nothing", CONFIGURATION,
        [
            "bad_input::an_unknown_group_is_named",
            "directives::a_test_of_the_configuration_starts_and_touches_nothing"
        ];
    64 "each directive in each context", CONFIGURATION,
        [
            "directives::each_is_taken_where_it_belongs_and_refused_elsewhere",
            "directives::wrong_values_are_named_with_their_place",
            "directives::htaccess_takes_what_allowoverride_admits"
        ];
    65 "groups of one virtual host are not another's", CONFIGURATION,
        [
            "scoping::a_group_of_a_virtual_host_is_for_its_name_on_every_port",
            "scoping::an_alias_to_a_foreign_group_is_named_at_configuration"
        ];
    66 "names of groups made from the request", MAPPING,
        [
            "scoping::names_are_made_from_the_request",
            "scoping::a_variable_chooses_only_what_is_listed"
        ];
    67 "from URL to script", MAPPING,
        ["http::odd_urls_find_their_scripts_or_nothing", "http::urls_find_their_scripts"];
    68 "authentication scripts", MAPPING,
        [
            "auth::an_access_script_decides_and_errors_keep_out",
            "auth::basic_passwords_are_checked_by_a_script",
            "auth::digest_hashes_come_from_a_script",
            "auth::groups_come_from_a_script",
            "auth::a_script_that_never_answers_keeps_out_after_a_short_time"
        ];
    69 "Authorization and Proxy fields", MAPPING,
        ["http::authorization_is_passed_on_only_if_asked_for"];
    70 "the environ, compared with mod_wsgi", Once("mod_wsgi in the place of ours, by all protocols"),
        ["differential::mod_wsgi_and_we_differ_only_where_it_is_meant"];
    71 "twenty graceful restarts under load", CONNECTIONS,
        ["restarts::twenty_graceful_restarts_under_load_on_every_mpm"];
    72 "a changed option: only that group's workers, requests end", CONTROL, [CHANGES];
    73 "a group that is taken away while it serves", CONTROL, [CHANGES];
    74 "a restart with a long request does not wait for it", CONTROL,
        ["restarts::a_restart_does_not_wait_for_a_long_request"];
    75 "stop leaves nothing behind, in bounded time", CONTROL,
        ["restarts::a_stop_waits_for_requests_only_if_it_is_graceful"]
        also ["lifecycle::a_parent_that_is_killed_leaves_nothing_behind"];
    76 "a broken configuration at a reload", CONTROL,
        ["restarts::a_broken_configuration_changes_nothing_else"];
    77 "other users, foreground, one process", CONTROL,
        ["restarts::other_users_and_one_process_alone"]
        also ["setup_server::apachectl_starts_restarts_and_stops"];
    78 "children that come and go under load", CONNECTIONS,
        ["restarts::children_of_httpd_that_come_and_go_lose_nothing"];
    79 "log rotation, piped logs", Once("who writes to the log does not know the MPM"),
        [
            "logs::a_rotated_log_is_followed_by_supervisor_and_workers",
            "logs::a_piped_log_gets_the_lines_of_workers"
        ];
    80 "module and supervisor of different versions", Once("control, not data"),
        ["restarts::artifacts_that_are_replaced_while_they_run"];
    81 "the same file in other distributions' httpd",
        Elsewhere(
            "it needs their machines; the ABI is checked against the installed headers (`module/tests`), \
             the package and the wheel by the suite `wheel`",
        ), [];
    82 "requests inside requests (SSI, error pages): whole, or the whole breaks", All, [NESTED];
}
