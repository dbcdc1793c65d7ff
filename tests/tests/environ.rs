//! The environ of one request has nothing of another's, whatever the worker
//! remembers to make it quickly: the same variables again, others, in another
//! order, twice; long, empty and strange values; applications that spoil theirs.

use std::collections::BTreeMap;

use wsgid_tests::{Httpd, Json, Limit, Python, Request, Site, case};

/// Shows what it got, then spoils it, and keeps it beyond the request.
const APP: &str = "\
import json
KEPT = []
def application(environ, start_response):
    shown = {name: value for name, value in environ.items() if isinstance(value, str)}
    shown['names'] = ' '.join(sorted(name for name in environ if not isinstance(environ[name], str)))
    shown['thread'] = str(environ['mod_wsgi.thread_id'])
    shown['input'] = environ['wsgi.input'].read().decode('latin-1')
    body = json.dumps(shown).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    for name in environ:
        if name.startswith('HTTP_'):
            environ[name] = 'spoiled'
    environ['HTTP_X_SPOILED'] = environ['wsgi.url_scheme'] = environ['QUERY_STRING'] = 'spoiled'
    del environ['wsgi.version'], environ['REQUEST_METHOD']
    KEPT.append(environ)
    if len(KEPT) > 20:
        KEPT.pop(0).clear()
    return [body]
";

fn serve(threads: u32) -> (Site, Httpd) {
    let site = Site::new();
    let app = site.write("environ.py", APP);
    let options = format!(
        "processes=1 threads={threads} python-home={}",
        Python::any().home.display()
    );
    let httpd = Httpd::builder()
        .daemon("site", &options)
        .mount("/", &app, "site")
        .line("SetEnvIf X-Secure yes HTTPS=on")
        .line("SetEnvIf X-Twice (.+) SERVER_NAME=$1")
        .line("SetEnvIf X-Own (.+) mod_wsgi.thread_id=$1")
        .start();
    (site, httpd)
}

/// A sequence that looks random and is the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

const NAMES: [&str; 8] = [
    "Accept",
    "Cookie",
    "Authorization",
    "X-One",
    "X-Two",
    "X-Three",
    "User-Agent",
    "Referer",
];

fn value(dice: &mut Dice) -> String {
    match dice.below(8) {
        0 => String::new(),
        1 => "x".repeat(200 + usize::try_from(dice.below(120)).unwrap_or(0)),
        2 => format!("caf\u{e9} {}", dice.below(3)),
        3 => format!("{}", dice.below(100_000)),
        _ => format!("usual {}", dice.below(2)),
    }
}

/// Some of the headers, in some order; a few of many combinations come often.
fn headers(dice: &mut Dice) -> Vec<(&'static str, String)> {
    let mut choice = if dice.below(4) == 0 {
        Dice(dice.below(1 << 20))
    } else {
        Dice(dice.below(3))
    };
    let first = usize::try_from(choice.below(NAMES.len() as u64)).unwrap_or(0);
    let names = NAMES.iter().cycle().skip(first).take(NAMES.len());
    names
        .filter(|_| choice.below(2) == 0)
        .map(|name| (*name, value(dice)))
        .collect()
}

/// What of the environ is the client's doing.
fn asked(environ: &Json) -> BTreeMap<String, String> {
    let all = environ.as_object().expect("an object");
    let is_asked =
        |name: &str| name.starts_with("HTTP_") && name != "HTTP_HOST" && name != "HTTP_CONNECTION";
    all.iter()
        .filter(|(name, _)| is_asked(name))
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

fn text(value: &Json) -> String {
    value.as_str().expect("a string").to_owned()
}

fn latin1(value: &str) -> String {
    value.bytes().map(char::from).collect()
}

#[test]
fn no_request_sees_anything_of_another() {
    case(Limit::default(), || {
        let (_site, httpd) = serve(1);
        let mut client = httpd.client();
        let mut dice = Dice(7);
        for round in 0..600 {
            let query = dice.below(5).to_string();
            let headers = headers(&mut dice);
            let mut request = Request::new(
                if round % 5 == 0 { "POST" } else { "GET" },
                &format!("/p{round}?{query}"),
            );
            for (name, value) in &headers {
                request = request.header(name, value);
            }
            let environ = client.send(&request).expect("an answer").json();
            let expected: BTreeMap<String, String> = headers
                .iter()
                // Only WSGIPassAuthorization lets it through.
                .filter(|(name, _)| *name != "Authorization")
                .map(|(name, value)| {
                    (
                        format!("HTTP_{}", name.to_uppercase().replace('-', "_")),
                        latin1(value),
                    )
                })
                .collect();
            assert_eq!(asked(&environ), expected, "request {round}");
            assert_eq!(text(&environ["QUERY_STRING"]), query);
            assert_eq!(text(&environ["PATH_INFO"]), format!("/p{round}"));
            assert_eq!(
                text(&environ["REQUEST_METHOD"]),
                if round % 5 == 0 { "POST" } else { "GET" }
            );
            assert_eq!(text(&environ["wsgi.url_scheme"]), "http");
            assert!(
                text(&environ["names"]).contains("wsgi.version"),
                "{environ}"
            );
        }
        httpd.stop();
    });
}

#[test]
fn variables_that_come_twice_keep_their_order() {
    case(Limit::default(), || {
        let (_site, httpd) = serve(3);
        let mut client = httpd.client();
        for round in 0..30 {
            let mut ask = |headers: &[(&str, &str)]| {
                let request = headers
                    .iter()
                    .fold(Request::new("GET", "/"), |all, (name, value)| {
                        all.header(name, value)
                    });
                client.send(&request).expect("an answer").json()
            };
            let number = round.to_string();
            // What httpd says of itself comes later than SetEnv, and wins.
            let twice = ask(&[("X-Twice", &number)]);
            assert_ne!(text(&twice["SERVER_NAME"]), number);
            assert_eq!(
                text(&ask(&[("X-Secure", "yes")])["wsgi.url_scheme"]),
                "https"
            );
            assert_eq!(text(&ask(&[("X-Secure", "no")])["wsgi.url_scheme"]), "http");
            let own = ask(&[("X-Own", &format!("own {number}"))]);
            assert!(
                ["1", "2", "3"].contains(&text(&own["thread"]).as_str()),
                "{own}"
            );
        }
        httpd.stop();
    });
}

/// HTTP/1.0 and 1.1 with the same variables.
#[test]
fn early_hints_are_offered_to_whom_they_can_be_sent() {
    case(Limit::default(), || {
        let (_site, httpd) = serve(1);
        for round in 0..6 {
            for (version, offered) in [("1.0", false), ("1.1", true)] {
                let request = format!(
                    "GET /?{round} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                );
                let answer = wsgid_tests::client::raw(httpd.address(), request.as_bytes());
                assert_eq!(answer.contains("wsgi.early_hints"), offered, "{answer}");
            }
        }
        httpd.stop();
    });
}
