//! Frameworks, each as its documentation mounts it.

use crate::ask::{Ask, get};
use crate::harness::{Configuration, configuration};
use crate::{ALICE, EMBEDDED};

const DJANGO: &str = include_str!("apps/django.py");

/// A project of that name below a directory.
fn project(project: Configuration, wsgi: &'static str, settings: &'static str) -> Configuration {
    project.app(wsgi, DJANGO).file(settings, "NAME = 'mine'\n")
}

#[test]
fn django_with_static_and_media() {
    const ASKS: &[Ask] = &[
        get("/admin/?q=%E2%82%AC").sees(&[
            "SCRIPT_NAME=",
            "PATH_INFO=/admin/",
            "QUERY_STRING=q=%E2%82%AC",
            "settings=mine",
            "mod_wsgi.process_group=example.com",
            "path=@ROOT@/srv/mysite/project",
            "prefix=@PYTHON@",
            "os.LANG=en_US.UTF-8",
            "user=@HTTPD_USER@",
            "wsgi.multiprocess=False",
        ]),
        get("/static/css/base.css").sees(&["a style"]),
        get("/media/photo.txt").sees(&["an upload"]),
        get("/robots.txt").sees(&["User-agent: *"]),
        get("/static/none").is(404),
        get("/upload")
            .sends("a=1")
            .sees(&["body=3", "CONTENT_LENGTH=3"]),
    ];
    project(
        configuration("django-static-media"),
        "srv/mysite/project/mysite/wsgi.py",
        "srv/mysite/project/mysite/settings.py",
    )
    .file("srv/mysite/static/css/base.css", "a style\n")
    .file("srv/mysite/static/robots.txt", "User-agent: *\n")
    .file("srv/mysite/media/photo.txt", "an upload\n")
    .answers(ASKS);
}

#[test]
fn django_without_a_process_group() {
    const ASKS: &[Ask] = &[
        get("/mysite/polls/1/").sees(&[
            "SCRIPT_NAME=/mysite",
            "PATH_INFO=/polls/1/",
            "settings=mine",
            "path=@ROOT@/srv/mysite",
            "prefix=@PYTHON@",
            "user=@HTTPD_USER@",
        ]),
        get("/nowhere").is(404),
    ];
    project(
        configuration("django-embedded"),
        "srv/mysite/mysite/wsgi.py",
        "srv/mysite/mysite/settings.py",
    )
    // docs/moving-from-mod_wsgi.md: nothing runs inside httpd.
    .different(EMBEDDED)
    .answers(ASKS);
}

#[test]
fn django_as_the_source_of_users() {
    const BOB: &[(&str, &str)] = &[("Authorization", "Basic Ym9iOnNlY3JldA==")];
    const ASKS: &[Ask] = &[
        get("/open").sees(&["settings=mine", "PATH_INFO=/open"]),
        get("/secret/page").as_alice().sees(&[
            "REMOTE_USER=alice",
            "AUTH_TYPE=Basic",
            "PATH_INFO=/secret/page",
        ]),
        get("/secret/page").with(BOB).sees(&["REMOTE_USER=bob"]),
        get("/staff/page").as_alice().sees(&["REMOTE_USER=alice"]),
        get("/staff/page").with(BOB).is(401),
        get("/secret/page")
            .is(401)
            .fields(&[("WWW-Authenticate", "Basic realm=\"Top Secret\"")]),
    ];
    project(
        configuration("django-users"),
        "srv/mysite/mysite/wsgi.py",
        "srv/mysite/mysite/settings.py",
    )
    .answers(ASKS);
}

#[test]
fn two_django_sites() {
    const ASKS: &[Ask] = &[
        get("/a").at("one.example.com").sees(&[
            "settings=mine",
            "SITE_NAME=one",
            "path=@ROOT@/srv/shared:@ROOT@/srv/one",
            "mod_wsgi.process_group=one.example.com",
        ]),
        get("/a")
            .at("www.one.example.com")
            .sees(&["SITE_NAME=one", "SERVER_NAME=www.one.example.com"]),
        get("/a").at("two.example.com").sees(&[
            "SITE_NAME=two",
            "path=@ROOT@/srv/shared:@ROOT@/srv/two",
            "mod_wsgi.process_group=two.example.com",
        ]),
    ];
    configuration("django-sites")
        .app("srv/one/one/wsgi.py", DJANGO)
        .app("srv/two/two/wsgi.py", DJANGO)
        .file("srv/shared/mysite/settings.py", "NAME = 'mine'\n")
        .answers(ASKS);
}

#[test]
fn flask() {
    const ASKS: &[Ask] = &[
        get("/hello/you").at("example.com").sees(&[
            "SCRIPT_NAME=",
            "PATH_INFO=/hello/you",
            "beside=flask",
            "user=@USER@",
            "prefix=@PYTHON@",
            "mod_wsgi.process_group=yourapplication",
        ]),
        get("/other/x").at("example.com").sees(&[
            "SCRIPT_NAME=/other",
            "PATH_INFO=/x",
            "user=@OTHER_USER@",
            "group=@OTHER_GROUP@",
            "cwd=@ROOT@/srv/other",
        ]),
        get("/otherwise")
            .at("example.com")
            .sees(&["SCRIPT_NAME=", "PATH_INFO=/otherwise"]),
        get("/hello//you")
            .at("example.com")
            .sees(&["PATH_INFO=/hello/you"]),
    ];
    configuration("flask")
        .app(
            "srv/yourapplication/yourapplication.wsgi",
            include_str!("apps/package.py"),
        )
        .file("srv/yourapplication/beside.py", "NAME = 'flask'\n")
        .app("srv/other/other.wsgi", "")
        .answers(ASKS);
}

#[test]
fn pyramid() {
    const ASKS: &[Ask] = &[
        get("/myapp/view").as_alice().sees(&[
            "SCRIPT_NAME=/myapp",
            "PATH_INFO=/view",
            "HTTP_AUTHORIZATION=Basic YWxpY2U6c2VjcmV0",
            "setting=[app:main]",
            "path=@ROOT@/srv/modwsgi/env/lib",
            "mod_wsgi.process_group=pyramid",
        ]),
        get("/myapp").sees(&["SCRIPT_NAME=/myapp", "PATH_INFO="]),
    ];
    configuration("pyramid")
        .app(
            "srv/modwsgi/env/pyramid.wsgi",
            include_str!("apps/directory.py"),
        )
        .file("srv/modwsgi/env/settings.ini", "[app:main]\n")
        .file("srv/modwsgi/env/lib/.made", "")
        .answers(ASKS);
}

#[test]
fn cherrypy() {
    const ASKS: &[Ask] = &[
        get("/app/page")
            .at("cherry.example.org")
            .sees(&["SCRIPT_NAME=/app", "PATH_INFO=/page"]),
        get("/other/page?x=1").at("cherry.example.org").sees(&[
            "SCRIPT_NAME=/app",
            "PATH_INFO=/other/page",
            "QUERY_STRING=x=1",
            "REQUEST_URI=/other/page?x=1",
            "mod_wsgi.process_group=cherrypy",
        ]),
    ];
    configuration("cherrypy")
        .app("srv/cherry/root.wsgi", include_str!("apps/cherry.py"))
        .answers(ASKS);
}

#[test]
fn bottle() {
    const ASKS: &[Ask] = &[
        get("/hello/world").at("example.com").sees(&[
            "PATH_INFO=/hello/world",
            "cwd=@ROOT@/srv/yourapp",
            "setting=a view",
        ]),
        get("/form")
            .at("example.com")
            .sends("name=bottle")
            .sees(&["body=11"]),
        get("/hello")
            .at("example.com")
            .by("PUT")
            .sees(&["REQUEST_METHOD=PUT"]),
    ];
    configuration("bottle")
        .app("srv/yourapp/app.wsgi", include_str!("apps/directory.py"))
        .file("srv/yourapp/settings.ini", "a view\n")
        .answers(ASKS);
}

#[test]
fn falcon() {
    const ASKS: &[Ask] = &[
        get("/v1/things?limit=2")
            .with(&[("Authorization", "Bearer abc")])
            .sees(&[
                "SCRIPT_NAME=/v1",
                "PATH_INFO=/things",
                "HTTP_AUTHORIZATION=Bearer abc",
                "mod_wsgi.callable_object=app",
            ]),
        get("/v1/things")
            .sends_chunks("{\"one\": 1}")
            .sees(&["body=10", "wsgi.input_terminated=True"]),
        get("/v1/things/1")
            .by("PATCH")
            .sees(&["REQUEST_METHOD=PATCH"]),
    ];
    configuration("falcon")
        .app(
            "srv/things/things/app.py",
            "app = application\ndel application",
        )
        .answers(ASKS);
}

#[test]
fn web2py() {
    const ASKS: &[Ask] = &[
        get("/welcome/default/index")
            .at("web2py.example.org")
            .sees(&[
                "PATH_INFO=/welcome/default/index",
                "cwd=@ROOT@/home/www-data/web2py",
                "setting=models",
                "user=@HTTPD_USER@",
            ]),
        get("/welcome/static/css/a.css")
            .at("web2py.example.org")
            .sees(&["a style"]),
        get("/welcome/static/_1.2.3/css/a.css")
            .at("web2py.example.org")
            .sees(&["a style"]),
        get("/admin/default").at("web2py.example.org").is(403),
        get("/welcome/appadmin").at("web2py.example.org").is(403),
    ];
    configuration("web2py")
        .app(
            "home/www-data/web2py/wsgihandler.py",
            include_str!("apps/directory.py"),
        )
        .file("home/www-data/web2py/settings.ini", "models\n")
        .file(
            "home/www-data/web2py/applications/welcome/static/css/a.css",
            "a style\n",
        )
        .answers(ASKS);
}

#[test]
fn turbogears() {
    const ASKS: &[Ask] = &[
        get("/myproj/about").sees(&[
            "SCRIPT_NAME=/myproj",
            "PATH_INFO=/about",
            "prefix=@PYTHON@",
            "wsgi.multiprocess=True",
        ]),
        get("/myproj/css/site.css").sees(&["a style"]),
    ];
    configuration("turbogears")
        .app("srv/myproj/apache/myproj.wsgi", "")
        .file("srv/myproj/public/css/site.css", "a style\n")
        .answers(ASKS);
}

#[test]
fn webpy() {
    const ASKS: &[Ask] = &[
        get("/appname/hello").sees(&["SCRIPT_NAME=/appname", "PATH_INFO=/hello"]),
        get("/appname/static/a.css").sees(&["a style"]),
    ];
    configuration("webpy")
        .app("var/www/webpy-app/code.py", "")
        .file("var/www/webpy-app/static/a.css", "a style\n")
        .different(EMBEDDED)
        .answers(ASKS);
}

#[test]
fn zope() {
    const ASKS: &[Ask] = &[
        get("/news/item").at("plone.example.org").as_alice().sees(&[
            "SCRIPT_NAME=/zope",
            "PATH_INFO=/VirtualHostBase/http/plone.example.org:80/Plone/VirtualHostRoot/news/item",
            "REQUEST_URI=/news/item",
            "HTTP_AUTHORIZATION=Basic YWxpY2U6c2VjcmV0",
            "user=@USER@",
            "cwd=@ROOT@/srv/zope",
        ]),
        get("/zope/manage")
            .at("plone.example.org")
            .sees(&["SCRIPT_NAME=/zope", "PATH_INFO=/manage"]),
    ];
    configuration("zope")
        .app("srv/zope/bin/zope.wsgi", "")
        .answers(ASKS);
}

#[test]
fn radicale() {
    const ASKS: &[Ask] = &[
        get("/radicale/alice/calendar/")
            .by("PROPFIND")
            .as_alice()
            .sees(&[
                "SCRIPT_NAME=/radicale",
                "PATH_INFO=/alice/calendar/",
                "REQUEST_METHOD=PROPFIND",
                "REMOTE_USER=alice",
                "HTTP_X_REMOTE_USER=alice",
                "HTTP_X_SCRIPT_NAME=/radicale",
                "HTTP_AUTHORIZATION=Basic YWxpY2U6c2VjcmV0",
                "umask=0027",
            ]),
        get("/radicale/").is(401),
    ];
    configuration("radicale")
        .app("srv/radicale/radicale.wsgi", "")
        .file("etc/radicale/users", ALICE)
        .answers(ASKS);
}
