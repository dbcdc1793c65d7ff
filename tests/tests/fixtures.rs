//! Configurations as projects and distributions document them, written anew in
//! `fixtures/`: with our module in the place of mod_wsgi they start and serve.

use std::process::Command;

use wsgid_tests::{Fixture, Limit, Python, case, users};

/// Says where it runs, under which name, and with what.
const APP: &str = "\
import sys
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    facts = ['group=' + environ['mod_wsgi.process_group'], 'application=' + environ['mod_wsgi.application_group'],
             'script=' + environ['SCRIPT_NAME'], 'path=' + environ['PATH_INFO'],
             'authorization=' + environ.get('HTTP_AUTHORIZATION', '-'), 'user=' + environ.get('REMOTE_USER', '-'),
             'optimize=%d' % sys.flags.optimize, 'trac=' + environ.get('trac.env_parent_dir', '-'),
             'imports=' + ','.join(name for name in ('mysite', 'library') if name in sys.modules)]
    return [' '.join(facts).encode()]
";

/// What is said of process groups whose Python nobody names.
const UNNAMED: &str = "neither python-home= nor WSGIPythonHome";

#[test]
fn django_without_a_daemon_process() {
    case(Limit::default(), || {
        Fixture::new("django-embedded")
            .file("project/mysite/__init__.py", "")
            .file("project/mysite/wsgi.py", &format!("import mysite\n{APP}"))
            .means(&["names no process group", "WSGIPythonPath is for"])
            .serves(&[
                (
                    "localhost",
                    "/polls/1",
                    "imports=mysite path=/polls/1 group=wsgid:default",
                ),
                ("localhost", "/static/robots.txt", "a file"),
                ("localhost", "/robots.txt", "a file"),
            ]);
    });
}

#[test]
fn django_with_a_daemon_process() {
    case(Limit::default(), || {
        Fixture::new("django-daemon")
            .file("project/mysite/__init__.py", "")
            .file("project/mysite/wsgi.py", &format!("import mysite\n{APP}"))
            .means(&[])
            .serves(&[
                (
                    "www.example.com",
                    "/polls/1",
                    "imports=mysite path=/polls/1 group=example.com authorization=-",
                ),
                ("example.com", "/static/robots.txt", "a file"),
            ]);
    });
}

#[test]
fn flask() {
    case(Limit::default(), || {
        Fixture::new("flask")
            .file("yourapplication.wsgi", APP)
            .means(&[UNNAMED])
            .serves(&[(
                "example.com",
                "/hello",
                "group=yourapplication path=/hello script= ",
            )]);
    });
}

#[test]
fn pyramid() {
    case(Limit::default(), || {
        Fixture::new("pyramid")
            .file("modwsgi/pyramid.wsgi", APP)
            .means(&[UNNAMED])
            .serves(&[
                (
                    "localhost",
                    "/myapp/view",
                    "group=pyramid script=/myapp path=/view authorization=Basic",
                ),
                ("localhost", "/other", "404"),
            ]);
    });
}

#[test]
fn trac() {
    case(Limit::default(), || {
        // The password is `secret`.
        let fixture = Fixture::new("trac")
            .file("apache/trac.wsgi", APP)
            .file("trac.htpasswd", "alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n");
        fixture
            .means(&[UNNAMED, "names no process group"])
            .serves(&[
                (
                    "localhost",
                    "/trac/one/wiki",
                    "script=/trac path=/one/wiki user=- trac=/",
                ),
                ("localhost", "/trac/one/login", "user=alice authorization=-"),
            ]);
    });
}

#[test]
fn graphite() {
    case(Limit::default(), || {
        Fixture::new("graphite")
            .file("conf/graphite.wsgi", APP)
            .means(&[UNNAMED])
            .serves(&[
                (
                    "graphite",
                    "/render/?target=x",
                    "group=graphite path=/render/",
                ),
                ("graphite", "/content/robots.txt", "a file"),
            ]);
    });
}

#[test]
fn freeipa() {
    case(Limit::default(), || {
        Fixture::new("freeipa")
            .file("ipa/wsgi.py", APP)
            .file("ipa/kdcproxy.wsgi", APP)
            .means(&[UNNAMED])
            .serves(&[
                (
                    "localhost",
                    "/ipa/session",
                    "group=ipa application=ipa script=/ipa path=/session",
                ),
                (
                    "localhost",
                    "/KdcProxy",
                    "group=kdcproxy application=kdcproxy script=/KdcProxy",
                ),
            ]);
    });
}

#[test]
fn keystone() {
    case(Limit::default(), || {
        Fixture::new("keystone")
            .file("bin/keystone-wsgi-public", APP)
            .means(&[UNNAMED])
            .serves(&[
                (
                    "localhost:port",
                    "/v3",
                    "group=keystone-public script= path=/v3 authorization=Basic",
                ),
                (
                    "localhost",
                    "/identity/v3",
                    "group=identity script=/identity path=/v3 authorization=Basic",
                ),
            ]);
    });
}

#[test]
fn certbot() {
    case(Limit::default(), || {
        Fixture::new("certbot")
            .file("app/wsgi.py", APP)
            .means(&[UNNAMED, "has 2 application groups"])
            .serves(&[
                ("www.example.org", "/x", "301"),
                ("www.example.org:port", "/x", "group=example.org path=/x"),
            ]);
    });
}

#[test]
fn debian() {
    case(Limit::default(), || {
        let app = format!("import library\n{APP}");
        let fixture = Fixture::new("debian")
            .file("lib/library.py", "")
            .file("static/app.wsgi", &app);
        let means = [
            UNNAMED,
            "WSGIPythonPath is for",
            "names no process group",
            "any number of scripts",
        ];
        fixture.means(&means).serves(&[
            (
                "localhost",
                "/app.wsgi/x",
                "script=/app.wsgi path=/x optimize=1 imports=library",
            ),
            ("localhost", "/robots.txt", "a file"),
        ]);
    });
}

#[test]
fn red_hat() {
    case(Limit::default(), || {
        Fixture::new("rhel")
            .file("app/shop.wsgi", APP)
            .means(&[UNNAMED])
            .serves(&[
                (
                    "localhost",
                    "/site/shop/cart",
                    "group=site application=site script=/site/shop path=/cart",
                ),
                ("localhost", "/site/none", "404"),
            ]);
    });
}

/// The frameworks that `frameworks.rs` uses, and no others.
const FRAMEWORKS: &[&str] = &[
    "flask",
    "django",
    "pyramid",
    "setuptools<81",
    "falcon",
    "bottle",
];

fn succeed(command: &mut Command) {
    let output = command.output().expect("the program can be run");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_real_flask() {
    case(Limit::seconds(240), || {
        let venv = Python::any().venv(FRAMEWORKS);
        let app = "import flask\napp = flask.Flask(__name__)\n\
                   @app.route('/hello/<name>')\n\
                   def hello(name):\n    return flask.render_template_string('<p>{{ name }}</p>', name=name) \
                   + flask.url_for('hello', name='x', _external=True)\n";
        Fixture::with_environment("flask", &venv)
            .file("yourapplication/__init__.py", app)
            .file(
                "yourapplication.wsgi",
                "import sys\nsys.path.insert(0, '@SITE@')\nfrom yourapplication import app as application\n",
            )
            .means(&[])
            .serves(&[
                ("example.com", "/hello/you", "<p>you</p>http://example.com/hello/x"),
                ("example.com", "/none", "404"),
            ]);
    });
}

#[test]
fn a_real_django() {
    case(Limit::seconds(240), || {
        let venv = Python::any().venv(FRAMEWORKS);
        for name in ["django-daemon", "django-embedded"] {
            let fixture = Fixture::with_environment(name, &venv);
            let project = fixture.site().join("project");
            std::fs::create_dir(&project).expect("a directory can be made");
            succeed(
                Command::new(venv.join("bin/django-admin"))
                    .args(["startproject", "mysite"])
                    .arg(&project),
            );
            let settings = project.join("mysite/settings.py");
            let text = std::fs::read_to_string(&settings).expect("a project has settings");
            std::fs::write(&settings, format!("{text}\nALLOWED_HOSTS = ['*']\n"))
                .expect("they can be changed");
            fixture.serves(&[
                ("www.example.com", "/", "worked successfully"),
                ("www.example.com", "/admin/login/", "csrfmiddlewaretoken"),
                ("www.example.com", "/admin/", "302"),
                ("www.example.com", "/static/robots.txt", "a file"),
            ]);
        }
    });
}

#[test]
fn a_real_pyramid() {
    case(Limit::seconds(240), || {
        let venv = Python::any().venv(FRAMEWORKS);
        let app = "from pyramid.config import Configurator\nfrom pyramid.response import Response\n\
                   def view(request):\n    return Response(request.application_url + ' ' + request.path_info)\n\
                   def main(global_config, **settings):\n    config = Configurator(settings=settings)\n    \
                   config.add_route('view', '/view')\n    config.add_view(view, route_name='view')\n    \
                   return config.make_wsgi_app()\n";
        Fixture::with_environment("pyramid", &venv)
            .file("modwsgi/env/lib/myapp.py", app)
            .file("modwsgi/production.ini", "[app:main]\nuse = call:myapp:main\n")
            .file(
                "modwsgi/pyramid.wsgi",
                "from pyramid.paster import get_app, setup_logging\nini_path = '@SITE@/modwsgi/production.ini'\n\
                 setup_logging(ini_path)\napplication = get_app(ini_path, 'main')\n",
            )
            .means(&[])
            .serves(&[
                ("localhost", "/myapp/view", "http://localhost/myapp /view"),
                ("localhost", "/myapp/none", "404"),
            ]);
    });
}

#[test]
fn a_real_trac() {
    case(Limit::seconds(240), || {
        let venv = Python::any().venv(&["trac", "setuptools<81"]);
        // The password is `secret`.
        let fixture = Fixture::with_environment("trac", &venv)
            .file("trac.htpasswd", "alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
            .file(
                "apache/trac.wsgi",
                "import trac.web.main\napplication = trac.web.main.dispatch_request\n",
            );
        let projects = fixture.site().join("projects");
        std::fs::create_dir(&projects).expect("a directory can be made");
        let one = projects.join("one");
        succeed(Command::new(venv.join("bin/trac-admin")).arg(&one).args([
            "initenv",
            "one",
            "sqlite:db/trac.db",
        ]));
        if users::is_root() {
            let user = users::of_httpd();
            succeed(
                Command::new("chown")
                    .arg("-R")
                    .arg(format!("{}:{}", user.name, user.group))
                    .arg(&projects),
            );
        }
        fixture.means(&["names no process group"]).serves(&[
            ("localhost", "/trac/one/wiki", "WikiStart"),
            ("localhost", "/trac/one/about", "Trac"),
            ("localhost", "/trac/one/login", "302"),
            ("localhost", "/trac/none", "404"),
        ]);
    });
}
