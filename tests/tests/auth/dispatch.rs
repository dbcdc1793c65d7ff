//! A dispatch script chooses process group, application group and callable.

use wsgid_tests::{Httpd, Limit, Site, case};

use crate::server::{group, location};

#[test]
fn a_dispatch_script_chooses_groups_and_callable() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let app = site.write(
            "app.py",
            "def answer(name):\n    def application(environ, start_response):\n        \
             start_response('200 OK', [])\n        \
             return [('%s %s %s' % (name, environ['mod_wsgi.process_group'], \
             environ['mod_wsgi.application_group'])).encode()]\n    return application\n\
             application = answer('application')\nother = answer('other')\n",
        );
        let dispatch = site.write(
            "dispatch.py",
            "import json\ndef chosen(environ, name):\n    query = environ['QUERY_STRING']\n    \
             if query == 'raise':\n        raise RuntimeError('no')\n    \
             return dict(part.split('=') for part in query.split('&') if part).get(name)\n\
             def process_group(environ):\n    return chosen(environ, 'group')\n\
             def application_group(environ):\n    return chosen(environ, 'app')\n\
             def callable_object(environ):\n    return chosen(environ, 'callable')\n",
        );
        let broken = site.write("broken.py", "raise RuntimeError('at import')\n");
        let httpd = Httpd::builder()
            .daemon("one", &group(&site))
            .daemon("two", &group(&site))
            .daemon("three", &group(&site))
            .mount("/", &app, "one")
            .line(location(
                "/",
                &format!(
                    "WSGIRestrictProcess one two\nWSGIDispatchScript {} process-group=one",
                    dispatch.display()
                ),
            ))
            .line(location(
                "/broken",
                &format!("WSGIDispatchScript {} process-group=one", broken.display()),
            ))
            .start();
        for (query, expected) in [
            ("", Some("application one ")),
            ("group=two", Some("application two ")),
            ("callable=other", Some("other one ")),
            ("app=extra", Some("application one extra")),
            (
                "group=two&app=%{SERVER}",
                Some("application two localhost:"),
            ),
            // WSGIRestrictProcess holds for what a script chooses.
            ("group=three", None),
            ("group=unknown", None),
            ("raise", None),
        ] {
            let response = httpd.get(&format!("/?{query}"));
            match expected {
                Some(expected) => {
                    assert_eq!(response.status, 200, "{query}");
                    assert!(
                        response.text().starts_with(expected),
                        "{query}: {}",
                        response.text()
                    );
                }
                None => assert_eq!(response.status, 500, "{query}"),
            }
        }
        assert_eq!(
            httpd.get("/broken").status,
            500,
            "a broken dispatch script stops the request"
        );
        httpd.stop();
    });
}
