//! The hostile worker is asked who may come in: whatever it says that is not the
//! answer keeps the client out, costs the next request nothing, and fills no log.

use std::time::{Duration, Instant};

use wsgid_tests::hostile::cases;
use wsgid_tests::hostile::questions::{self, Outcome, Question};
use wsgid_tests::wire::{Addresses, transports, with_tls};
use wsgid_tests::{
    Builder, Checked, Client, Httpd, Limit, Log, Mpm, Request, Response, Site, Transport, at_once,
    case, eventually,
};

use crate::all_cases::{assert_log_not_forged, children};
use crate::server::{PATIENCE, assert_sound, sites};

/// How long a question may take at most, and then some.
const QUESTION: Duration = Duration::from_secs(16);

/// A hostile worker that is asked who may come in, in front of the good site.
fn asking(builder: Builder, site: &Site) -> Builder {
    let script = site.write("hostile.wsgi", "").display().to_string();
    let access = format!(
        "<Location /good/asked>\nWSGIAccessScript {script} process-group=hostile\n</Location>"
    );
    let login = format!(
        "<Location /good/login>\nAuthType Basic\nAuthName here\nAuthBasicProvider wsgi\nWSGIAuthUserScript {script} \
         process-group=hostile\nRequire valid-user\n</Location>"
    );
    let modules = [
        "auth_basic",
        "authn_core",
        "authz_user",
        "access_compat",
        "authz_host",
    ];
    sites(modules.into_iter().fold(builder, Builder::load), site)
        .line(access)
        .line(login)
}

fn question(client: &mut Client, path: &str) -> Response {
    let request = Request::new("GET", path).header("Authorization", "Basic YTpi");
    let begun = Instant::now();
    let response = client
        .send(&request)
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(
        begun.elapsed() < QUESTION,
        "{path}: after {:?}",
        begun.elapsed()
    );
    assert_sound(&response);
    response
}

fn assert_let_in(outcome: Outcome, status: u16, body: &str, what: &str) {
    match outcome {
        Outcome::Granted => assert_eq!((status, body), (200, "Hello World!"), "{what}"),
        Outcome::Refused => assert!(
            status >= 400 && body != "Hello World!",
            "{what}: {status} {body}"
        ),
    }
}

fn answer_badly(httpd: &Httpd, wire: &Addresses, case: &Question) {
    std::thread::scope(|scope| {
        scope.spawn(|| answer_badly_by_others(wire, case));
        answer_badly_by_http1(httpd, case);
    });
}

fn answer_badly_by_http1(httpd: &Httpd, case: &Question) {
    let mut client = httpd.client().timeout(PATIENCE);
    for place in ["asked", "login"] {
        let path = format!("/good/{place}/{}", case.name);
        let response = question(&mut client, &path);
        assert_let_in(case.outcome, response.status, &response.text(), &path);
        // The next one knows of nothing, whether it is a question or a request.
        let next = |client: &mut Client| {
            let answers = [
                question(client, "/good/asked/granted"),
                question(client, "/hostile/good"),
            ];
            answers.map(|answer| (answer.status, answer.text()))
        };
        let good = ["Hello World!", cases::GOOD].map(|text| (200, text.to_owned()));
        if case.is_felt {
            eventually("a good answer of the same group", PATIENCE, || {
                (next(&mut client) == good).then_some(())
            });
        } else {
            assert_eq!(next(&mut client), good, "after {path}");
        }
    }
}

fn answer_badly_by_others(wire: &Addresses, case: &Question) {
    for transport in transports(Mpm::Event)
        .iter()
        .filter(|transport| **transport != Transport::Http1)
    {
        let ask = |name: &str| {
            let time = QUESTION.as_secs().to_string();
            wire.curl(*transport, &format!("/good/asked/{name}"))
                .args(&["--max-time", &time])
                .run()
        };
        let answer = ask(case.name);
        assert_let_in(
            case.outcome,
            answer.status(),
            &answer.text(),
            &format!("{transport:?} {}", case.name),
        );
        if !case.is_felt {
            let next = ask("granted");
            assert_let_in(
                Outcome::Granted,
                next.status(),
                &next.text(),
                &format!("{transport:?} after {}", case.name),
            );
        }
    }
}

#[test]
fn against_who_asks_a_question() {
    // Most of them wait: four servers, each with every fourth, since those that wait for
    // long stand together. Those that write much come last, when others have ended.
    let some = (0..4).map(|first| questions::CASES.iter().rev().skip(first).step_by(4));
    at_once(Limit::seconds(600), some, |some| {
        let only = std::env::var("HOSTILE_CASE").ok();
        let site = Site::new();
        let (builder, tls_port) = with_tls(Httpd::builder().mpm(Mpm::Event), Mpm::Event);
        let httpd = asking(builder, &site).start();
        let wire = Addresses::of(&httpd, tls_port);
        assert_eq!(httpd.get("/good/asked/granted").text(), "Hello World!");
        let processes = children(&httpd);
        let mut checked = Checked::new(httpd);
        for case in some {
            if only.as_deref().is_none_or(|only| only == case.name) {
                checked.case(case.name, Log::Any, |httpd| {
                    answer_badly(httpd, &wire, case)
                });
            }
        }
        checked.case("the log", Log::Any, assert_log_not_forged);
        checked.case("the processes", Log::Any, |_| {
            assert!(processes.iter().all(|child| child.alive()))
        });
        checked.finish();
    });
}

/// What one question or request may write to the log, and what its group may.
#[test]
fn log_frames_are_bounded_for_a_question_and_for_the_group() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let httpd = asking(Httpd::builder(), &site).start();
        let count = |text: &str| httpd.error_log().matches(text).count();
        assert_eq!(httpd.get("/good/asked/q-log-flood").text(), "Hello World!");
        let lines = count("the hostile script has much to say");
        assert_eq!(lines, 20_000, "of one question");
        // Bytes count, of many questions together.
        let begun = Instant::now();
        let before = httpd.error_log().len();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                // On a busy machine the question may take too long; its lines are there.
                scope.spawn(|| httpd.get("/good/asked/q-log-of-long-lines").status);
            }
        });
        let most =
            10 * 1024 * 1024 + usize::try_from(begun.elapsed().as_secs()).unwrap_or(0) * 512 * 1024;
        let grown = httpd.error_log().len() - before;
        assert!(
            grown > 2 << 20 && grown < most,
            "{grown} bytes in {:?}",
            begun.elapsed()
        );
        let line = httpd.wait_for_log(
            " bytes dropped: more than 524288 bytes per second; log-rate= sets it",
            PATIENCE,
        );
        assert!(
            line.contains("WSGID0091: process group `hostile`: ("),
            "{line}"
        );
        // Another group writes what it likes, and this one is served.
        assert_eq!(httpd.get("/hostile/good").text(), cases::GOOD);
        httpd.stop();
    });
}
