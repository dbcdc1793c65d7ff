//! `wsgiref.validate` around the applications of the suites: every answer is the
//! same as without it, by every transport, and it has nothing to say. (It wants
//! `read()` to be given a size: functions that read otherwise are not here; the
//! frameworks have it in their own suite.)

use wsgid_tests::{Checked, Limit, Log, Mpm, Transport, Wire, case};

/// Application and question; what was sent with it.
const QUESTIONS: &[(&str, &str, Option<usize>)] = &[
    ("hello", "/", None),
    ("hello", "/", Some(100)),
    ("probe", "/hello", None),
    ("probe", "/environ", None),
    ("probe", "/write", None),
    ("probe", "/stream?pieces=3&pause=0.01", None),
    ("probe", "/late", None),
    ("probe", "/download?length=300000", None),
    ("probe", "/download?length=300000&chunked=", None),
    ("probe", "/upload", Some(300_000)),
    ("probe", "/duplex", Some(300_000)),
    ("probe", "/lines?how=iterate", Some(5000)),
    ("probe", "/lines?how=readlines", Some(5000)),
    ("probe", "/lines?how=readline5", Some(500)),
    ("probe", "/lines?how=read3", Some(500)),
    ("probe", "/fail", None),
    ("body", "/sized", Some(0)),
    ("body", "/sized", Some(10)),
    ("body", "/sized", Some(1_000_000)),
    ("body", "/one", Some(10)),
    ("body", "/ignore", Some(10)),
    ("body", "/duplex", Some(500_000)),
    ("body", "/flood?length=300000", None),
    ("head", "/head", None),
    ("head", "/head?length", None),
    ("head", "/etag", None),
    ("head", "/inside/x?y", None),
    ("head", "/second-head", None),
    ("stream", "/block?size=60000", None),
    ("stream", "/single?size=60000", None),
    ("stream", "/download?size=2000000", None),
    ("stream", "/download?size=2000000&length=", None),
    ("stream", "/timed?count=3&pause=0.05", None),
    ("stream", "/writes?count=3&id=x", None),
    ("stream", "/file?kind=memory", None),
    ("stream", "/file?kind=memory&block=7", None),
    ("stream", "/file?size=100000", None),
    ("stream", "/wrapped", None),
    ("stream", "/fail?when=early", None),
    ("stream", "/fail?when=before", None),
    ("stream", "/nothing-of-this-name", None),
];

#[test]
fn the_referee_has_nothing_to_say() {
    case(Limit::seconds(240), || {
        let (_site, wire, mut checked) = Wire::start(Mpm::Event, |builder, site| {
            builder.mount("/hello", &site.file("hello.py"), "site")
        })
        .checked();
        for transport in Transport::ALL {
            for (application, path, body) in QUESTIONS {
                watched(&mut checked, transport, application, path, *body, &wire);
            }
        }
        checked.finish();
    });
}

fn watched(
    checked: &mut Checked,
    transport: Transport,
    application: &str,
    path: &str,
    body: Option<usize>,
    wire: &wsgid_tests::wire::Addresses,
) {
    checked.case(
        &format!("{application}{path} with {body:?} by {transport:?}"),
        Log::Any,
        |httpd| {
            let before = httpd.error_log().len();
            let ask = |mount: &str, head: bool| {
                let curl = wire.curl(transport, &format!("{mount}{path}"));
                match body {
                    Some(len) => curl
                        .post("a line of a body\n".bytes().cycle().take(len).collect())
                        .run(),
                    None if head => curl.head().run(),
                    None => curl.run(),
                }
            };
            for head in [false, true] {
                let plain = ask(&format!("/{application}"), head);
                let told = ask(&format!("/validated/{application}"), head);
                assert_eq!(
                    (told.status(), told.complete()),
                    (plain.status(), plain.complete()),
                    "{told:?}"
                );
                // What differs by itself: the environ names the mount point and the request.
                if path != "/environ" {
                    assert!(told.body == plain.body, "{told:?} and {plain:?}");
                }
                // A file that is watched is a stream like others, without a length.
                let framing = ["content-length", "transfer-encoding", "connection"];
                let names = |answer: &wsgid_tests::Answer| -> Vec<String> {
                    let all = answer
                        .head
                        .fields
                        .iter()
                        .map(|(name, _)| name.to_lowercase());
                    all.filter(|name| {
                        !path.starts_with("/file") || !framing.contains(&name.as_str())
                    })
                    .collect()
                };
                assert_eq!(names(&told), names(&plain));
            }
            let log = httpd.error_log();
            let said = log.get(before..).unwrap_or_default();
            assert!(
                !said.contains("AssertionError") && !said.contains("without being closed"),
                "{said}"
            );
        },
    );
}
