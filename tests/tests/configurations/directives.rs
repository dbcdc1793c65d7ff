//! What few configurations have and the documentation of mod_wsgi describes: scripts that
//! decide, handlers, services, options of interpreters.

use crate::ask::{Ask, get};
use crate::harness::configuration;

#[test]
fn a_script_for_digests() {
    const SECRET: &[&str] = &["--digest", "--user", "alice:secret"];
    const ASKS: &[Ask] = &[
        get("/files/open").sees(&["SCRIPT_NAME=/files", "mod_wsgi.process_group=files"]),
        get("/files/private/x")
            .by_curl(SECRET)
            .sees(&["REMOTE_USER=alice", "AUTH_TYPE=Digest"]),
        get("/files/private/x").is(401),
    ];
    configuration("digest-script")
        .app("srv/files/app.wsgi", "")
        .file(
            "srv/files/users.wsgi",
            "import hashlib\ndef get_realm_hash(environ, user, realm):\n    if user == 'alice':\n        \
             return hashlib.md5(('%s:%s:secret' % (user, realm)).encode()).hexdigest()\n",
        )
        .answers(ASKS);
}

#[test]
fn a_script_for_access() {
    const ASKS: &[Ask] =
        &[get("/intranet/x").sees(&["SCRIPT_NAME=/intranet", "mod_wsgi.process_group=intranet"])];
    configuration("access-script")
        .app("srv/intranet/app.wsgi", "")
        .file("srv/intranet/hosts.wsgi", "def allow_access(environ, host):\n    return host in ('localhost', '127.0.0.1', '::1')\n")
        .answers(ASKS);
}

#[test]
fn a_script_as_handler() {
    const ASKS: &[Ask] = &[
        get("/pages/one.md")
            .sees(&["<h1>one</h1>"])
            .fields(&[("Content-Type", "text/html")]),
        get("/pages/").sees(&["<h1>index</h1>"]),
        get("/pages/plain.txt").sees(&["plain"]),
    ];
    configuration("handler")
        .file("srv/pages/markdown.py", include_str!("apps/markdown.py"))
        .file("srv/pages/htdocs/one.md", "# one\n")
        .file("srv/pages/htdocs/index.md", "# index\n")
        .file("srv/pages/htdocs/plain.txt", "plain\n")
        .answers(ASKS);
}

#[test]
fn a_script_that_dispatches() {
    const ASKS: &[Ask] = &[
        get("/x").at("blue.example.org").sees(&[
            "mod_wsgi.process_group=blue",
            "mod_wsgi.application_group=all",
        ]),
        get("/x").at("green.example.org").sees(&[
            "mod_wsgi.process_group=green",
            "mod_wsgi.application_group=all",
        ]),
    ];
    configuration("dispatch")
        .app("srv/colours/app.wsgi", "")
        .file(
            "srv/colours/dispatch.wsgi",
            "def process_group(environ):\n    return environ['HTTP_HOST'].split('.')[0]\n\
             def application_group(environ):\n    return 'all'\n",
        )
        .answers(ASKS);
}

#[test]
fn options_of_interpreters() {
    const ASKS: &[Ask] = &[
        get("/loud").sees(&[
            "path=@ROOT@/srv/site/loud",
            "mod_wsgi.application_group=",
            "signal=True",
        ]),
        get("/quiet").sees(&[
            "path=@ROOT@/srv/site/quiet",
            "mod_wsgi.application_group=quiet",
        ]),
    ];
    configuration("interpreters")
        .app("srv/site/loud.wsgi", include_str!("apps/signals.py"))
        .app("srv/site/quiet.wsgi", "")
        .file("srv/site/loud/.made", "")
        .file("srv/site/quiet/.made", "")
        .answers(ASKS);
}

#[test]
fn a_service() {
    const ASKS: &[Ask] = &[get("/queue/x").sees(&[
        "SCRIPT_NAME=/queue",
        "mod_wsgi.process_group=web",
        "turns=at work",
    ])];
    configuration("service")
        .app("srv/queue/web.wsgi", include_str!("apps/waiting.py"))
        .file("srv/queue/worker.py", include_str!("apps/worker.py"))
        .shared("srv/queue/run")
        .answers(ASKS);
}

#[test]
fn pages_for_errors() {
    const ASKS: &[Ask] = &[
        get("/shop/cart").sees(&["SCRIPT_NAME=/shop", "mod_wsgi.process_group=shop"]),
        get("/shop/gone").is(404).sees(&[
            "PATH_INFO=/404",
            "mod_wsgi.process_group=pages",
            "REDIRECT_STATUS=404",
            "REDIRECT_URL=/shop/gone",
        ]),
        get("/shop/busy")
            .is(503)
            .sees(&["PATH_INFO=/503", "REDIRECT_STATUS=503"]),
        get("/nowhere")
            .is(404)
            .sees(&["PATH_INFO=/404", "REDIRECT_URL=/nowhere"]),
        get("/shop/cart")
            .by("HEAD")
            .fields(&[("Content-Type", "text/plain; charset=utf-8")]),
    ];
    configuration("error-pages")
        .app("srv/shop/errors.wsgi", include_str!("apps/errors.py"))
        .app("srv/shop/shop.wsgi", include_str!("apps/shop.py"))
        .answers(ASKS);
}
