//! Requests inside requests: parts of a page that mod_include asks for while the response around them
//! is on its way, and pages for errors. Whatever breaks in them breaks the whole, at every depth.

use std::fs;
use std::path::Path;

use wsgid_tests::wire::{Addresses, transports};
use wsgid_tests::{Answer, Checked, Limit, Log, Mpm, Transport, Wire, eventually, on_every_mpm};

use crate::server::SOON;

fn wire(mpm: Mpm) -> Wire {
    Wire::start(mpm, |builder, site| {
        let nested = site.file("nested_cases.py");
        let htdocs = builder.root().join("htdocs");
        fs::write(htdocs.join("part.txt"), "PART").expect("it can be written");
        for name in ["hello", "breaks"] {
            let text = format!("S<!--#include virtual=\"/plain/{name}\" -->tail");
            fs::write(htdocs.join(format!("{name}.shtml")), text).expect("it can be written");
        }
        let builder = ["include", "filter", "deflate"]
            .into_iter()
            .fold(builder, wsgid_tests::Builder::load);
        ["plain", "squeezed", "replaced", "guarded", "closed"]
            .into_iter()
            .fold(builder, |builder, mount| {
                builder.mount(&format!("/{mount}"), &nested, "other")
            })
            .line("Options +Includes\nAddType text/html .shtml\nAddOutputFilter INCLUDES .shtml")
            .line("<Location /plain>\n  Options +Includes\n  SetOutputFilter INCLUDES\n</Location>")
            .line(guard("guarded", &site.write("guarded.py", "def allow_access(environ, host):\n    return True\n")))
            .line(guard("closed", &site.write("closed.py", "def allow_access(environ, host):\n    return False\n")))
            .line("<Location /squeezed>\n  Options +Includes\n  SetOutputFilter INCLUDES;DEFLATE\n</Location>")
            .line("<Location /replaced>\n  Options +Includes\n  SetOutputFilter INCLUDES\n  ErrorDocument 500 /plain/one\n  ErrorDocument 502 /plain/one\n</Location>")
    })
}

/// A script of the site is asked who may see this.
fn guard(mount: &str, script: &Path) -> String {
    let script = script.display();
    format!("<Location /{mount}>\n  WSGIAccessScript {script} process-group=site\n</Location>")
}

#[test]
fn requests_inside_requests_are_whole_or_broken_on_every_mpm() {
    on_every_mpm(Limit::seconds(240), |mpm| {
        let (_site, wire, mut checked) = wire(mpm).checked();
        for transport in transports(mpm) {
            whole(&mut checked, &wire, *transport);
            broken(&mut checked, &wire, *transport);
        }
        checked.finish();
    });
}

fn ask(wire: &Addresses, transport: Transport, path: &str) -> Answer {
    wire.curl(transport, path).args(&["--compressed"]).run()
}

fn whole(checked: &mut Checked, wire: &Addresses, transport: Transport) {
    let many = "HELLO".repeat(30);
    let deep = "6,5,4,3,2,1,0,HELLO";
    let error = "A[an error occurred while processing this directive]B";
    let guarded = "AHELLOB[an error occurred while processing this directive]C";
    for (path, text, log) in [
        ("/plain/one", "AHELLOB", Log::Quiet),
        ("/squeezed/one", "AHELLOB", Log::Quiet),
        ("/plain/static", "APARTB", Log::Quiet),
        ("/plain/guarded", guarded, Log::Any),
        ("/plain/many", &many, Log::Quiet),
        ("/plain/deep/6", deep, Log::Quiet),
        ("/hello.shtml", "SHELLOtail", Log::Quiet),
        ("/plain/failed", error, Log::Has(&["raised early"])),
    ] {
        checked.case(&format!("82 {transport:?}: {path}"), log, |_| {
            let answer = ask(wire, transport, path);
            assert!(answer.complete() && answer.status() == 200, "{answer:?}");
            assert_eq!(answer.text(), text);
        });
    }
    checked.case(
        &format!("82 {transport:?}: an application as error page, with parts"),
        Log::Has(&["raised early"]),
        |_| {
            let answer = ask(wire, transport, "/replaced/early");
            assert!(answer.complete() && answer.status() == 200, "{answer:?}");
            assert_eq!(answer.text(), "AHELLOB");
        },
    );
}

fn broken(checked: &mut Checked, wire: &Addresses, transport: Transport) {
    for path in [
        "/plain/around",
        "/plain/broken",
        "/plain/deepbroken/4",
        "/breaks.shtml",
        // What came before is still in the filter, and no head has left.
        "/squeezed/broken",
        "/squeezed/around",
        "/replaced/broken",
    ] {
        checked.case(
            &format!("82 {transport:?}: broken: {path}"),
            Log::Has(&["raised in the middle", "application-error"]),
            |httpd| {
                let before = httpd.access_log().len();
                let answer = ask(wire, transport, path);
                // A part of it, or a page for the status; never both, never what follows.
                let text = answer.text();
                let (is_part, is_page) = (text.contains("first|"), text.contains("<html>"));
                assert!(!text.contains("tail"), "{answer:?}");
                assert!(!is_part || !is_page, "{answer:?}");
                let is_error = answer.status() >= 500 && !is_part;
                assert!(!answer.complete() || is_error, "it looks whole: {answer:?}");
                // mod_http2 has a line of its own for the page that it makes of it.
                eventually("a line that names the failure", SOON, || {
                    let log = httpd.access_log();
                    let mut lines = log.get(before..)?.lines();
                    let named = |line: &str| {
                        line.contains(path) && line.contains("failure=application-error")
                    };
                    lines.any(named).then_some(())
                });
            },
        );
    }
}
