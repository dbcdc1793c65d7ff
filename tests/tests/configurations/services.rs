//! What organisations run: archives, catalogues, identities, translations.

use crate::EMBEDDED;
use crate::ask::{Ask, get};
use crate::harness::configuration;

#[test]
fn supysonic() {
    const ASKS: &[Ask] = &[get("/supysonic/rest/ping.view").as_alice().sees(&[
        "SCRIPT_NAME=/supysonic",
        "PATH_INFO=/rest/ping.view",
        "HTTP_AUTHORIZATION=Basic YWxpY2U6c2VjcmV0",
        "mod_wsgi.application_group=",
    ])];
    configuration("supysonic")
        .app("srv/supysonic/supysonic.wsgi", "")
        .different(EMBEDDED)
        .answers(ASKS);
}

#[test]
fn mailman_web() {
    const ASKS: &[Ask] = &[
        get("/mailman3/hyperkitty/").sees(&[
            "SCRIPT_NAME=/mailman3",
            "PATH_INFO=/hyperkitty/",
            "umask=0002",
            "user=@USER@",
            "cwd=@ROOT@/srv/mailman/web",
            "settings=lists",
        ]),
        get("/mailman3/static/a.css").sees(&["a style"]),
        get("/")
            .is(302)
            .fields(&[("Location", "http://localhost:@PORT@/mailman3/")]),
    ];
    configuration("mailman-web")
        .app(
            "srv/mailman/web/wsgi.py",
            "import settings\nMORE['settings'] = settings.NAME",
        )
        .file("srv/mailman/web/settings.py", "NAME = 'lists'\n")
        .file("srv/mailman/static/a.css", "a style\n")
        .answers(ASKS);
}

#[test]
fn privacyidea() {
    const ASKS: &[Ask] = &[
        get("/token/")
            .at("localhost")
            .is(301)
            .fields(&[("Location", "https://localhost/token/")]),
        get("/validate/check")
            .at("localhost")
            .tls()
            .sends("user=a&pass=123456")
            .sees(&[
                "SCRIPT_NAME=",
                "PATH_INFO=/validate/check",
                "wsgi.url_scheme=https",
                "body=18",
                "prefix=@PYTHON@",
                "user=@USER@",
            ]),
        get("/token/")
            .at("localhost")
            .tls()
            .as_alice()
            .sees(&["HTTP_AUTHORIZATION=Basic YWxpY2U6c2VjcmV0"]),
    ];
    configuration("privacyidea")
        .app("etc/privacyidea/privacyideaapp.wsgi", "")
        // docs/moving-from-mod_wsgi.md: ours has the group of the user, mod_wsgi's that of httpd.
        .different(&["group", "groups"])
        .answers(ASKS);
}

#[test]
fn ckan() {
    const ASKS: &[Ask] = &[
        get("/dataset/one").at("default.ckanhosted.com").sees(&[
            "PATH_INFO=/dataset/one",
            "setting=[app:main]",
            "title=ckan_default…",
        ]),
        get("/api/3/action/package_list")
            .at("www.default.ckanhosted.com")
            .with(&[("Authorization", "a-key")])
            .sees(&["HTTP_AUTHORIZATION=a-key"]),
    ];
    configuration("ckan")
        .app(
            "etc/ckan/default/apache.wsgi",
            include_str!("apps/directory.py"),
        )
        .file("etc/ckan/default/settings.ini", "[app:main]\n")
        .answers(ASKS);
}

#[test]
fn mediagoblin() {
    const ASKS: &[Ask] = &[
        get("/u/alice/").at("mediagoblin.example.org").sees(&[
            "PATH_INFO=/u/alice/",
            "umask=0007",
            "cwd=@ROOT@/srv/mediagoblin",
        ]),
        get("/mgoblin_static/a.css")
            .at("mediagoblin.example.org")
            .sees(&["a style"]),
        get("/mgoblin_media/photo.txt")
            .at("mediagoblin.example.org")
            .sees(&["a photo"]),
    ];
    configuration("mediagoblin")
        .app("srv/mediagoblin/wsgi.py", "")
        .file("srv/mediagoblin/mediagoblin/static/a.css", "a style\n")
        .file(
            "srv/mediagoblin/user_dev/media/public/photo.txt",
            "a photo\n",
        )
        .answers(ASKS);
}

#[test]
fn misp_dashboard() {
    const ASKS: &[Ask] = &[get("/_logs").other_port().sees(&[
        "PATH_INFO=/_logs",
        "mod_wsgi.process_group=misp-dashboard",
        "prefix=@PYTHON@",
        "wsgi.multiprocess=True",
    ])];
    configuration("misp-dashboard")
        .app("var/www/misp-dashboard/misp-dashboard.wsgi", "")
        .answers(ASKS);
}

#[test]
fn cobbler() {
    const ASKS: &[Ask] = &[
        get("/cblr/svc/op/ks/profile/one").sees(&[
            "SCRIPT_NAME=/cblr/svc/op",
            "PATH_INFO=/ks/profile/one",
            "service=yes",
            "mod_wsgi.process_group=cobbler_web",
        ]),
        get("/cobbler_web/system/list").sees(&["SCRIPT_NAME=/cobbler_web", "VIRTUALENV="]),
        get("/cobbler/images/one.img").sees(&["an image"]),
        get("/cblr/images/one.img").sees(&["an image"]),
    ];
    configuration("cobbler")
        .app("var/www/cobbler/svc/services.py", "MORE['service'] = 'yes'")
        .app("usr/share/cobbler/web/cobbler.wsgi", "")
        .file("var/www/cobbler/images/one.img", "an image\n")
        .file("var/run/.made", "")
        .answers(ASKS);
}

#[test]
fn wims_lti() {
    const ASKS: &[Ask] = &[
        get("/wims-lti/").sees(&[
            "SCRIPT_NAME=/wims-lti",
            "PATH_INFO=/",
            "mod_wsgi.process_group=wims-lti",
            "user=@USER@",
        ]),
        get("/nowhere").is(404),
    ];
    configuration("wims-lti")
        .problem("wims-lti-tasks")
        .app("usr/share/wims-lti/wsgi.py", "")
        .answers(ASKS);
}

#[test]
fn odoo() {
    const ASKS: &[Ask] = &[get("/web/login").at("odoo.example.com").sees(&[
        "PATH_INFO=/web/login",
        "path=@ROOT@/opt/odoo",
        "mod_wsgi.process_group=oe",
        "title=apache-odoo…",
    ])];
    configuration("odoo")
        .app("opt/odoo/odoo-wsgi.py", "")
        .answers(ASKS);
}

#[test]
fn pypiserver() {
    const ASKS: &[Ask] = &[
        get("/simple/one/").at("pypi.example.com").sees(&[
            "PATH_INFO=/simple/one/",
            "umask=0007",
            "user=@USER@",
        ]),
        get("/")
            .at("pypi.example.com")
            .as_alice()
            .sends("a package")
            .sees(&["HTTP_AUTHORIZATION=Basic YWxpY2U6c2VjcmV0", "body=9"]),
    ];
    configuration("pypiserver")
        .app("srv/pypi/pypiserver-wsgi.py", "")
        .answers(ASKS);
}

#[test]
fn weblate() {
    const ASKS: &[Ask] = &[
        get("/weblate/projects/one/")
            .at("weblate.example.org")
            .sees(&[
                "SCRIPT_NAME=/weblate",
                "PATH_INFO=/projects/one/",
                "prefix=@PYTHON@",
            ]),
        get("/weblate/api/a%2Fb/")
            .at("weblate.example.org")
            .sees(&["REQUEST_URI=/weblate/api/a%2Fb/", "PATH_INFO=/api/a%2Fb/"]),
        get("/weblate/static/a.css")
            .at("weblate.example.org")
            .sees(&["a style"]),
        get("/weblate/robots.txt")
            .at("weblate.example.org")
            .sees(&["User-agent: *"]),
    ];
    configuration("weblate")
        .app("home/weblate/lib/weblate/wsgi.py", "")
        .file("home/weblate/static/a.css", "a style\n")
        .file("home/weblate/static/robots.txt", "User-agent: *\n")
        .different(&["group", "groups"])
        .answers(ASKS);
}

#[test]
fn pootle() {
    const ASKS: &[Ask] = &[
        get("/de/project/").at("my-pootle.example.org").sees(&[
            "PATH_INFO=/de/project/",
            "optimize=2",
            "bytecode=False",
            "path=@ROOT@/srv/pootle/env/lib",
        ]),
        get("/assets/a.css")
            .at("my-pootle.example.org")
            .sees(&["a style"]),
    ];
    configuration("pootle")
        .app("srv/pootle/wsgi.py", "")
        .file("srv/pootle/assets/a.css", "a style\n")
        .file("srv/pootle/env/lib/.made", "")
        .answers(ASKS);
}

#[test]
fn invenio() {
    const ASKS: &[Ask] = &[
        get("/record/1?ln=de")
            .at("invenio.example.org")
            .tls()
            .sees(&[
                "PATH_INFO=/record/1",
                "wsgi.url_scheme=https",
                "mod_wsgi.process_group=invenio",
                "mod_wsgi.application_group=",
                "wsgi.multithread=False",
            ]),
        get("/img/logo.txt")
            .at("invenio.example.org")
            .tls()
            .sees(&["a picture"]),
    ];
    configuration("invenio")
        .app("opt/invenio/wsgi/invenio.wsgi", "")
        .file("opt/invenio/www/img/logo.txt", "a picture\n")
        .answers(ASKS);
}

#[test]
fn syncserver() {
    const HAWK: &[(&str, &str)] = &[(
        "Authorization",
        "Hawk id=\"a\", ts=\"1\", nonce=\"b\", mac=\"c\"",
    )];
    const ASKS: &[Ask] = &[get("/storage/1.5/1/info/collections")
        .at("sync.example.com")
        .with(HAWK)
        .sees(&[
            "PATH_INFO=/storage/1.5/1/info/collections",
            "HTTP_AUTHORIZATION=Hawk id=\"a\", ts=\"1\", nonce=\"b\", mac=\"c\"",
            "user=@USER@",
        ])];
    configuration("syncserver")
        .app("srv/sync/syncserver.wsgi", "")
        .file("srv/sync/local/lib/.made", "")
        .answers(ASKS);
}

#[test]
fn spacewalk() {
    const ASKS: &[Ask] = &[
        get("/rpc/api").sends("<methodCall/>").sees(&[
            "SCRIPT_NAME=/rpc/api",
            "rpc_service=api",
            "library=rhn",
            "body=13",
        ]),
        get("/SAT/x").sees(&["SCRIPT_NAME=/SAT", "PATH_INFO=/x"]),
        get("/APP/y").sees(&["SCRIPT_NAME=/APP", "PATH_INFO=/y"]),
    ];
    configuration("spacewalk")
        .app(
            "usr/share/rhn/wsgi/xmlrpc.py",
            "import rhnlib\nMORE['library'] = rhnlib.NAME",
        )
        .app("usr/share/rhn/wsgi/sat.py", "")
        .app("usr/share/rhn/wsgi/app.py", "")
        .file("usr/share/rhn/rhnlib.py", "NAME = 'rhn'\n")
        .different(EMBEDDED)
        .answers(ASKS);
}

#[test]
fn pulp() {
    const ASKS: &[Ask] = &[get("/pulp/api/v2/repositories/")
        .at("pulp.example.org")
        .tls()
        .as_alice()
        .sees(&[
            "SCRIPT_NAME=/pulp/api",
            "PATH_INFO=/v2/repositories/",
            "HTTP_AUTHORIZATION=Basic YWxpY2U6c2VjcmV0",
            "mod_wsgi.process_group=pulp",
            "mod_wsgi.application_group=pulp",
            "SSL_CLIENT_VERIFY=NONE",
            "SSL_SERVER_S_DN_CN=localhost",
            "user=@USER@",
        ])];
    configuration("pulp")
        .app("usr/share/pulp/wsgi/webservices.wsgi", "")
        .answers(ASKS);
}
