//! A server with a site whose workers are hostile, and what may come from it at most.

use std::path::PathBuf;
use std::time::Duration;

use wsgid_tests::hostile::{self, Case};
use wsgid_tests::{Builder, Client, ClientError, Httpd, Request, Response, Site};

/// What a hostile group gets as `socket-timeout`.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);

/// By then every misbehaviour has been answered, whatever it is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A site with the hostile worker as its Python.
pub(crate) fn hostile_home(site: &Site) -> PathBuf {
    hostile::home(site, env!("CARGO_BIN_EXE_hostile_worker"))
}

pub(crate) fn server(site: &Site) -> Httpd {
    sites(Httpd::builder(), site).start()
}

/// A good and a hostile group.
pub(crate) fn sites(builder: Builder, site: &Site) -> Builder {
    let home = hostile_home(site).display().to_string();
    let options = format!(
        "processes=2 threads=4 log-rate=512K restart-burst=100000 socket-timeout={} python-home={home}",
        SILENCE.as_secs()
    );
    builder
        .daemon(
            "good",
            &format!("processes=1 threads=4 {}", site.python_path()),
        )
        .daemon("hostile", &options)
        .mount("/good", &site.file("hello.py"), "good")
        .mount("/hostile", &site.write("hostile.wsgi", ""), "hostile")
}

/// Asks for a misbehaviour.
pub(crate) fn ask(client: &mut Client, case: &Case) -> Result<Response, ClientError> {
    let path = format!("/hostile/{}", case.name);
    match case.upload {
        0 => client.get(&path),
        len => client.send(&Request::post_pattern(&path, len)),
    }
}

/// What holds for every answer, whatever the worker did.
pub(crate) fn assert_sound(response: &Response) {
    let count = |name: &str| {
        response
            .headers
            .iter()
            .filter(|(have, _)| have.eq_ignore_ascii_case(name))
            .count()
    };
    assert_eq!(
        count("Injected"),
        0,
        "a worker made a header of a value: {response:?}"
    );
    assert!(
        count("Content-Length") + count("Transfer-Encoding") <= 1,
        "two ways to find the end: {response:?}"
    );
    assert!(
        response
            .interim
            .iter()
            .all(|status| *status == 103 || *status == 100),
        "{response:?}"
    );
    assert!((200..600).contains(&response.status), "{response:?}");
    let controls = response
        .headers
        .iter()
        .any(|(_, value)| value.chars().any(|c| c == '\0' || c == '\n'));
    assert!(!controls, "{response:?}");
}
