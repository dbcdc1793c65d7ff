//! A supervisor that is not there: its program is missing, or ends right after each start. Nothing
//! waits for it, and once the program works again so does the site.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use wsgid_tests::{Builder, Httpd, Limit, Site, case, eventually, on_every_mpm};

/// Far below `Timeout`, which is a minute.
const AT_ONCE: Duration = Duration::from_secs(5);
/// A start is tried again after half a minute at most, when httpd looks (every ten seconds).
const COMES_BACK: Duration = Duration::from_secs(60);

/// A server whose supervisor can be replaced, and where.
fn site(builder: Builder, site: &Site) -> (Builder, std::path::PathBuf) {
    let mut builder = builder
        .daemon("site", &format!("threads=2 {}", site.python_path()))
        .mount("/app", &site.file("hello.py"), "site");
    let program = builder.copied_artifacts().join("wsgid");
    fs::rename(&program, program.with_extension("works")).expect("it can be renamed");
    fs::write(builder.root().join("htdocs/static.txt"), "static\n").expect("it can be written");
    (builder, program)
}

/// Asks often, and at the same time for a file.
fn refused_at_once(httpd: &Httpd) {
    let begun = Instant::now();
    let asked: Vec<_> = (0..60)
        .map(|_| {
            let mut client = httpd.client();
            thread::spawn(move || client.get("/app").expect("an answer").status)
        })
        .collect();
    let file = httpd.get("/static.txt");
    assert_eq!((file.status, file.text().as_str()), (200, "static\n"));
    for thread in asked {
        assert_eq!(thread.join().expect("it does not panic"), 503);
    }
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    eventually("a line for each", AT_ONCE, || {
        let log = httpd.access_log();
        let named = "failure=supervisor-unreachable GET /app";
        (log.matches(named).count() >= 60).then_some(())
    });
    assert!(httpd.error_log().contains("WSGID0132"), "no line");
}

fn comes_back(httpd: &Httpd, program: &Path) {
    // Not in place: nobody may start half a program.
    fs::copy(
        program.with_extension("works"),
        program.with_extension("new"),
    )
    .and_then(|_| fs::rename(program.with_extension("new"), program))
    .expect("the program can be put back");
    eventually("an answer of the application", COMES_BACK, || {
        (httpd.get("/app").status == 200).then_some(())
    });
}

#[test]
fn a_supervisor_that_ends_at_once_is_503_at_once_until_it_works() {
    on_every_mpm(Limit::seconds(120), |mpm| {
        let of_site = Site::new();
        let (builder, program) = site(Httpd::builder().mpm(mpm), &of_site);
        fs::copy("/bin/false", &program).expect("it can be copied");
        let httpd = builder.start();
        refused_at_once(&httpd);
        httpd.wait_for_log("WSGID0023", Duration::from_secs(30));
        let log = httpd.error_log();
        assert!(
            log.contains("ended: exit code 1;") && !log.contains("ended: signal"),
            "no line"
        );
        refused_at_once(&httpd);
        comes_back(&httpd, &program);
        httpd.stop();
    });
}

#[test]
fn a_supervisor_that_is_missing_is_503_at_once_until_it_is_there() {
    case(Limit::seconds(120), || {
        let of_site = Site::new();
        let (builder, program) = site(Httpd::builder(), &of_site);
        let httpd = builder.start();
        refused_at_once(&httpd);
        let log = httpd.error_log();
        assert!(
            log.contains("WSGID0020") && log.contains("is not an executable file"),
            "{log}"
        );
        comes_back(&httpd, &program);
        httpd.stop();
    });
}

#[test]
fn a_program_that_cannot_be_executed_is_said_to_be_one() {
    case(Limit::seconds(60), || {
        let of_site = Site::new();
        let (builder, program) = site(Httpd::builder(), &of_site);
        // Executable by its mode, and by no kernel.
        fs::copy("/bin/false", &program)
            .and_then(|_| fs::write(&program, "no program\n"))
            .expect("it can be written");
        let httpd = builder.start();
        refused_at_once(&httpd);
        httpd.wait_for_log("it could not be executed", Duration::from_secs(20));
        httpd.stop();
    });
}
