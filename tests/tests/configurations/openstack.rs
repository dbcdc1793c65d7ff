//! OpenStack's services: ports of their own, scripts that are programs, users.

use crate::ask::{Ask, get};
use crate::harness::configuration;

const GENERATED: &str = include_str!("apps/generated.py");
const TOKEN: &[(&str, &str)] = &[("X-Auth-Token", "token"), ("Authorization", "Bearer token")];

#[test]
fn horizon() {
    const ASKS: &[Ask] = &[
        get("/horizon/auth/login/?next=/horizon/").sees(&[
            "SCRIPT_NAME=/horizon",
            "PATH_INFO=/auth/login/",
            "QUERY_STRING=next=/horizon/",
            "mod_wsgi.process_group=horizon",
            "mod_wsgi.application_group=",
            "user=@USER@",
            "group=@GROUP@",
            "wsgi.multiprocess=True",
            "title=(wsgi:horizon…",
        ]),
        get("/horizon").sees(&["SCRIPT_NAME=/horizon", "PATH_INFO="]),
        get("/horizon/auth/login/")
            .sends("username=a&password=b")
            .sees(&["CONTENT_LENGTH=21", "body=21", "REQUEST_METHOD=POST"]),
        get("/static/app.css").sees(&["a style"]),
        get("/horizon/static/app.css").sees(&["a style"]),
        get("/elsewhere").is(404),
    ];
    configuration("horizon")
        .app(
            "usr/share/openstack-dashboard/openstack_dashboard/wsgi.py",
            "",
        )
        .file("var/lib/openstack-dashboard/static/app.css", "a style\n")
        .answers(ASKS);
}

#[test]
fn keystone() {
    const ASKS: &[Ask] = &[
        get("/v3/auth/tokens")
            .other_port()
            .at("127.0.0.1:@OTHER_PORT@")
            .with(TOKEN)
            .sees(&[
                "SCRIPT_NAME=",
                "PATH_INFO=/v3/auth/tokens",
                "HTTP_AUTHORIZATION=Bearer token",
                "HTTP_X_AUTH_TOKEN=token",
                "SERVER_PORT=@OTHER_PORT@",
                "mod_wsgi.process_group=keystone-public",
                "user=@USER@",
                "wsgi.multithread=False",
            ]),
        get("/identity/v3").with(TOKEN).sees(&[
            "SCRIPT_NAME=/identity",
            "PATH_INFO=/v3",
            "HTTP_AUTHORIZATION=Bearer token",
            "user=@USER@",
        ]),
        get("/identity/v3/auth/tokens")
            .sends("{\"auth\": {}}")
            .sees(&["body=12"]),
        get("/identitymore").is(404),
    ];
    configuration("keystone")
        .app("usr/bin/keystone-wsgi-public", GENERATED)
        .answers(ASKS);
}

#[test]
fn placement() {
    const ASKS: &[Ask] = &[
        get("/resource_providers?name=a%20b")
            .other_port()
            .with(TOKEN)
            .sees(&[
                "PATH_INFO=/resource_providers",
                "QUERY_STRING=name=a%20b",
                "HTTP_AUTHORIZATION=Bearer token",
                "mod_wsgi.process_group=placement-api",
                "mod_wsgi.application_group=",
            ]),
        get("/resource_providers/1")
            .by("DELETE")
            .other_port()
            .sees(&["REQUEST_METHOD=DELETE"]),
        get("/nowhere").is(404),
    ];
    configuration("placement")
        .app("usr/bin/placement-api", GENERATED)
        .answers(ASKS);
}

#[test]
fn aodh() {
    const ASKS: &[Ask] = &[get("/v2/alarms").other_port().with(TOKEN).sees(&[
        "SCRIPT_NAME=",
        "PATH_INFO=/v2/alarms",
        "mod_wsgi.process_group=aodh-api",
        "wsgi.multithread=True",
        "user=@USER@",
    ])];
    configuration("aodh")
        .app("usr/share/aodh/app.wsgi", "")
        .file("var/run/.made", "")
        // docs/moving-from-mod_wsgi.md: ours has the group of the user, mod_wsgi's that of httpd.
        .different(&["group", "groups"])
        .answers(ASKS);
}

#[test]
fn gnocchi() {
    const ASKS: &[Ask] = &[
        get("/v1/metric")
            .at("gnocchi.example.org")
            .with(TOKEN)
            .sees(&[
                "SCRIPT_NAME=",
                "PATH_INFO=/v1/metric",
                "SERVER_NAME=gnocchi.example.org",
                "HTTP_AUTHORIZATION=Bearer token",
                "os.LANG=C.UTF-8",
                "os.LC_ALL=C.UTF-8",
                "locale=C.UTF-8",
                "umask=0022",
                "user=@USER@",
            ]),
        get("/v1/metric")
            .at("gnocchi.example.org")
            .with(&[("X-Forwarded-Proto", "https")])
            .sees(&["wsgi.url_scheme=https"]),
    ];
    configuration("gnocchi")
        .app("var/www/cgi-bin/gnocchi/app", "")
        .answers(ASKS);
}
