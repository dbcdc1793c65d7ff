//! Services for maps and geographic data, and what draws and counts.

use crate::EMBEDDED;
use crate::ask::{Ask, get};
use crate::harness::configuration;

#[test]
fn pywps() {
    const ASKS: &[Ask] = &[
        get("/pywps?service=WPS&request=GetCapabilities").sees(&[
            "SCRIPT_NAME=/pywps",
            "PATH_INFO=",
            "cwd=@ROOT@/srv/pywps-flask",
            "path=@ROOT@/srv/pywps-flask",
            "user=@HTTPD_USER@",
            "mod_wsgi.process_group=pywps",
        ]),
        get("/pywps/jobs")
            .sends("<wps:Execute/>")
            .sees(&["body=14"]),
    ];
    configuration("pywps")
        .app("srv/pywps-flask/wsgi/pywps.wsgi", "")
        .answers(ASKS);
}

#[test]
fn mapproxy() {
    const ASKS: &[Ask] = &[
        get("/mapproxy/service?REQUEST=GetMap").sees(&[
            "SCRIPT_NAME=/mapproxy",
            "PATH_INFO=/service",
            "prefix=@PYTHON@",
            "user=@USER@",
        ]),
        get("/mapproxy/tiles/osm/1/0/0.png")
            .sees(&["a tile"])
            .fields(&[
                ("Content-Type", "image/png"),
                ("Access-Control-Allow-Origin", "*"),
                ("Cache-Control", "max-age=60"),
            ]),
        get("/mapproxy/tiles/file").sees(&["a tile"]),
        get("/mapproxy/tiles/osm/1/0/0.png")
            .with(&[("If-None-Match", "\"one\"")])
            .is(304),
        get("/mapproxy/tiles/osm/1/0/0.png")
            .by("HEAD")
            .fields(&[("Content-Type", "image/png")]),
    ];
    configuration("mapproxy")
        .app("srv/mapproxy/wsgi.py", include_str!("apps/tiles.py"))
        .answers(ASKS);
}

#[test]
fn pycsw() {
    const ASKS: &[Ask] = &[get("/pycsw-wsgi?service=CSW").sees(&[
        "SCRIPT_NAME=/pycsw-wsgi",
        "PYCSW_CONFIG=@ROOT@/var/www/pycsw/default.cfg",
        "cwd=@ROOT@/var/www/pycsw",
        "mod_wsgi.process_group=host1",
        "wsgi.multiprocess=True",
    ])];
    configuration("pycsw")
        .app("var/www/pycsw/csw.wsgi", "")
        .answers(ASKS);
}

#[test]
fn pygeoapi() {
    const ASKS: &[Ask] = &[
        get("/pygeoapi/collections?f=json")
            .sees(&[
                "SCRIPT_NAME=/pygeoapi",
                "PATH_INFO=/collections",
                "wsgi.multithread=False",
            ])
            .fields(&[
                ("Access-Control-Allow-Origin", "*"),
                ("X-Frame-Options", "DENY"),
            ]),
        get("/pygeoapi/processes")
            .by("OPTIONS")
            .sees(&["REQUEST_METHOD=OPTIONS"]),
    ];
    configuration("pygeoapi")
        .app("opt/pygeoapi/pygeoapi.wsgi", "")
        .answers(ASKS);
}

#[test]
fn graphite_web() {
    const ASKS: &[Ask] = &[
        get("/render/?target=a.b&from=-1h").sees(&[
            "SCRIPT_NAME=",
            "PATH_INFO=/render/",
            "mod_wsgi.process_group=_graphite",
            "mod_wsgi.application_group=localhost:@PORT@|",
            "user=@USER@",
            "title=(wsgi:_graphite…",
        ]),
        get("/content/js/a.js").sees(&["a program"]),
    ];
    configuration("graphite-web")
        .app("usr/share/graphite-web/graphite.wsgi", "")
        .file("usr/share/graphite-web/static/js/a.js", "a program\n")
        .answers(ASKS);
}

#[test]
fn adagios() {
    const ASKS: &[Ask] = &[
        get("/adagios/status/").as_alice().sees(&[
            "SCRIPT_NAME=/adagios",
            "REMOTE_USER=alice",
            "user=@USER@",
        ]),
        get("/media/logo.svg").sees(&["a picture"]),
        get("/adagios/").is(401),
    ];
    configuration("adagios")
        .app("usr/lib/python/adagios/wsgi.py", "")
        .file("usr/lib/python/adagios/media/logo.svg", "a picture\n")
        .file("etc/nagios/passwd", crate::ALICE)
        .answers(ASKS);
}

#[test]
fn nav() {
    const ASKS: &[Ask] = &[
        get("/ipdevinfo/").sees(&[
            "PATH_INFO=/ipdevinfo/",
            "path=@ROOT@/usr/lib/nav",
            "mod_wsgi.process_group=NAV",
        ]),
        get("/static/a.js").sees(&["a program"]),
    ];
    configuration("nav")
        .app("usr/share/nav/wsgi.py", "")
        .file("usr/share/nav/www/static/a.js", "a program\n")
        .file("usr/lib/nav/.made", "")
        .answers(ASKS);
}

#[test]
fn puppetboard() {
    const ASKS: &[Ask] = &[
        get("/puppetboard/nodes").sees(&["SCRIPT_NAME=/puppetboard", "PATH_INFO=/nodes"]),
        get("/static/a.css").sees(&["a style"]),
    ];
    configuration("puppetboard")
        .app("var/www/puppetboard/wsgi.py", "")
        .file("usr/share/puppetboard/static/a.css", "a style\n")
        // The group is that of another directory, so the script names none.
        .different(EMBEDDED)
        .answers(ASKS);
}
