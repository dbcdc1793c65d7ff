//! What `pip` builds from the sources, installed where no compiler is, serves
//! Flask and Django and the virtual environments of other Pythons; and what it has to do
//! with the files of mod_wsgi.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use wsgid_tests::httpd::free_port;
use wsgid_tests::{Express, Limit, Python, Site, artifacts, case, note};

fn done(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(
        status.success(),
        "{command:?}: {status}\n{text}{}",
        String::from_utf8_lossy(&stderr)
    );
    text
}

fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("it is below the sources")
}

/// The wheel, built as `pip` does it from what cargo has built.
fn wheel(site: &Site) -> PathBuf {
    let found = build(site, sources(), "wheels");
    let name = file_name(&found);
    assert!(
        name.starts_with("mod_wsgid-") && name.contains("-py3-none-linux_"),
        "{name}"
    );
    found
}

/// The wheel with the names of mod_wsgi-express.
fn express_wheel(site: &Site) -> PathBuf {
    let found = build(site, &sources().join("packaging/express"), "express");
    let name = file_name(&found);
    assert!(
        name.starts_with("mod_wsgid_express-") && name.ends_with("-py3-none-any.whl"),
        "{name}"
    );
    found
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn build(site: &Site, sources: &Path, out: &str) -> PathBuf {
    let venv = Python::any().venv(&[]);
    let out = site.file(out);
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-index",
    ]);
    done(
        pip.arg("--wheel-dir")
            .arg(&out)
            .arg(sources)
            .env("WSGID_ARTIFACTS", artifacts::directory()),
    );
    fs::read_dir(&out)
        .expect("pip made it")
        .flatten()
        .next()
        .expect("a wheel")
        .path()
}

/// A fresh virtual environment with these wheels and packages.
fn installed(python: &Python, place: &Path, wheels: &[&Path], packages: &[&str]) {
    done(
        Command::new(&python.program)
            .args(["-m", "venv"])
            .arg(place),
    );
    let pip = || {
        let mut pip = Command::new(place.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]);
        pip
    };
    if !packages.is_empty() {
        done(pip().args(packages));
    }
    if !wheels.is_empty() {
        done(
            pip()
                .args(["--no-index", "--no-deps"])
                .args(wheels)
                .env("PATH", bare_path(place)),
        );
    }
}

/// PATH of a machine on which nothing can be compiled.
fn bare_path(place: &Path) -> String {
    let bare = place.join("bare");
    if !bare.exists() {
        fs::create_dir(&bare).expect("it is a directory of ours");
        for tool in ["sh", "cat", "dirname", "readlink"] {
            symlink(Path::new("/usr/bin").join(tool), bare.join(tool)).expect("a link can be made");
        }
    }
    format!("{}:{}", place.join("bin").display(), bare.display())
}

fn server(place: &Path, program: &str, first: &[&str], port: u16) -> Express {
    let path = bare_path(place);
    for tool in ["cc", "gcc", "cargo", "rustc", "apxs"] {
        assert!(
            !std::env::split_paths(&path).any(|directory| directory.join(tool).exists()),
            "{tool}"
        );
    }
    let mut command = Command::new(place.join("bin").join(program));
    command.args(first).env_clear().env("PATH", path);
    Express::of(command, port)
}

const DJANGO_SETTINGS: &str = "from pathlib import Path\n\
    BASE_DIR = Path(__file__).resolve().parent.parent\n\
    SECRET_KEY = 'of a test'\n\
    ALLOWED_HOSTS = ['*']\n\
    ROOT_URLCONF = 'shop.urls'\n\
    WSGI_APPLICATION = 'shop.wsgi.application'\n\
    INSTALLED_APPS = ['django.contrib.staticfiles', 'mod_wsgi.express']\n\
    STATIC_URL = '/static/'\n\
    STATIC_ROOT = BASE_DIR / 'collected'\n";

fn django_project(site: &Site, application: &str) -> PathBuf {
    site.write("shop/__init__.py", "");
    let settings = DJANGO_SETTINGS.replace("mod_wsgi.express", application);
    site.write("shop/settings.py", &settings);
    site.write(
        "shop/urls.py",
        "from django.http import HttpResponse\nfrom django.urls import path\n\
         urlpatterns = [path('hello/', lambda request: HttpResponse('from Django'))]\n",
    );
    site.write(
        "shop/wsgi.py",
        "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n\
         from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
    );
    site.write("collected/style.css", "p {}");
    site.write(
        "manage.py",
        "import os, sys\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n\
         from django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n",
    )
}

#[test]
fn flask_is_served_without_a_compiler() {
    case(Limit::seconds(400), || {
        let site = Site::new();
        let wheel = wheel(&site);
        let place = site.file("venv");
        let begun = Instant::now();
        installed(Python::any(), &place, &[&wheel], &["flask"]);
        let ready = Instant::now();
        let flask = site.write(
            "flask_app.py",
            "from flask import Flask\n\
             application = Flask(__name__)\n\
             @application.route('/')\n\
             def home():\n    return 'from Flask'\n",
        );
        let mut running = server(&place, "wsgid", &["start-server"], free_port())
            .path(&flask)
            .start();
        assert_eq!(running.get("/").text(), "from Flask");
        note(&format!(
            "the virtual environment was installed in {:.1} s, start-server answered after {:.1} s",
            ready.duration_since(begun).as_secs_f64(),
            ready.elapsed().as_secs_f64()
        ));
        running.stop();
        for name in [
            "bin/mod_wsgi-express",
            "lib/python3*/site-packages/mod_wsgi",
        ] {
            assert!(
                found(&place, name).is_empty(),
                "{name} is another project's"
            );
        }
    });
}

/// What a shell finds for a pattern below a directory.
fn found(place: &Path, pattern: &str) -> String {
    let line = format!("ls -d {}/{pattern} 2>/dev/null || true", place.display());
    done(Command::new("sh").args(["-c", &line]))
}

/// Programs and settings of Django that were written for mod_wsgi-express.
#[test]
fn the_names_of_mod_wsgi_express_lead_to_wsgid() {
    case(Limit::seconds(400), || {
        let site = Site::new();
        let (wheel, express) = (wheel(&site), express_wheel(&site));
        let place = site.file("venv");
        installed(Python::any(), &place, &[&wheel, &express], &["django"]);
        let mut check = Command::new(place.join("bin/python"));
        done(check.args(["-m", "pip", "check", "--disable-pip-version-check"]));
        let hello = site.file("hello.py").display().to_string();
        let program = "import sys, mod_wsgi.NAME as it; it.start(*sys.argv[1:])";
        let rows: [(&str, &[&str]); 6] = [
            ("mod_wsgi-express", &["start-server", &hello]),
            (
                "python",
                &["-m", "mod_wsgi.express", "start-server", &hello],
            ),
            ("python", &["-m", "mod_wsgi.server", "start-server", &hello]),
            (
                "python",
                &[
                    "-c",
                    &program.replace("NAME", "server"),
                    "--log-to-terminal",
                    &hello,
                ],
            ),
            (
                "python",
                &["-c", &program.replace("NAME", "express"), &hello],
            ),
            (
                "python",
                &["-c", &program.replace("NAME", "express.cli"), &hello],
            ),
        ];
        for (program, first) in rows {
            let mut running = server(&place, program, first, free_port()).start();
            assert_eq!(running.get("/").text(), "Hello World!", "{first:?}");
            running.stop();
        }
        for application in ["mod_wsgi.express", "mod_wsgi.server"] {
            let manage = django_project(&site, application);
            let first = [manage.to_str().expect("its name is UTF-8"), "runmodwsgi"];
            let mut running = server(&place, "python", &first, free_port()).start();
            assert_eq!(running.get("/hello/").text(), "from Django");
            assert_eq!(
                running.get("/static/style.css").header("Content-Type"),
                Some("text/css")
            );
            running.stop();
        }
        let mut alias = Command::new(place.join("bin/mod_wsgi-express"));
        let config = done(
            alias
                .arg("module-config")
                .env_clear()
                .env("PATH", bare_path(&place)),
        );
        assert!(
            config.contains(&format!("LoadModule wsgi_module \"{}", place.display())),
            "{config}"
        );
    });
}

/// A wheel that has the files of PyPI's mod_wsgi which could meet ours.
const THEIRS: &str = "\
import sys, zipfile
place, info = sys.argv[1], 'mod_wsgi-6.1.1.dist-info/'
files = {'mod_wsgi/__init__.py': '', 'mod_wsgi/server/__init__.py': 'start = \"theirs\"\\n',
    'mod_wsgi-6.1.1.data/scripts/mod_wsgi-express': '#!/bin/sh\\necho theirs\\n',
    info + 'METADATA': 'Metadata-Version: 2.1\\nName: mod_wsgi\\nVersion: 6.1.1\\n',
    info + 'WHEEL': 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'}
files[info + 'RECORD'] = ''.join(name + ',,\\n' for name in files)
with zipfile.ZipFile(place, 'w') as wheel:
    for name, text in files.items():
        entry = zipfile.ZipInfo(name)
        entry.external_attr = 0o100755 << 16
        wheel.writestr(entry, text)
";

#[test]
fn the_wheels_and_mod_wsgi_of_others_do_not_take_each_others_files() {
    case(Limit::seconds(200), || {
        let site = Site::new();
        let (wheel, express) = (wheel(&site), express_wheel(&site));
        let place = site.file("venv");
        let theirs = site.file("mod_wsgi-6.1.1-py3-none-any.whl");
        installed(Python::any(), &place, &[], &[]);
        let python = |words: &[&str]| {
            let mut python = Command::new(place.join("bin/python"));
            python.args(words);
            python
        };
        let pip = |words: &[&str]| {
            let mut pip = python(&["-m", "pip", "--quiet", "--disable-pip-version-check"]);
            pip.args(words);
            pip
        };
        let install = |wheel: &Path| done(pip(&["install", "--no-index", "--no-deps"]).arg(wheel));
        let alias = || done(Command::new(place.join("bin/mod_wsgi-express")).arg("--version"));
        let start = || {
            done(&mut python(&[
                "-c",
                "import mod_wsgi.server as it; print(it.start)",
            ]))
        };
        done(python(&["-c", THEIRS]).arg(&theirs));
        install(&theirs);
        install(&wheel);
        assert_eq!((alias().trim(), start().trim()), ("theirs", "theirs"));
        // The sources say what to do first; a wheel that is there already cannot.
        let sources = sources().join("packaging/express");
        let refused = pip(&["install", "--no-index", "--no-deps"])
            .arg(&sources)
            .output()
            .expect("pip can be run");
        let text = [refused.stdout, refused.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(
            !refused.status.success() && text.contains("`pip uninstall mod_wsgi` first"),
            "{text}"
        );
        assert_eq!((alias().trim(), start().trim()), ("theirs", "theirs"));
        done(&mut pip(&["uninstall", "--yes", "mod_wsgi"]));
        let version = done(Command::new(place.join("bin/wsgid")).arg("--version"));
        install(&express);
        assert_eq!(alias(), version);
        assert!(start().contains("function start"));
        // Their package in front of ours, for as long as it is there.
        install(&theirs);
        assert_eq!(start().trim(), "theirs");
        done(&mut pip(&["uninstall", "--yes", "mod_wsgi"]));
        assert!(start().contains("function start"));
    });
}

#[test]
fn one_wheel_is_for_the_oldest_and_the_newest_python() {
    case(Limit::seconds(300), || {
        let site = Site::new();
        let wheel = wheel(&site);
        let all = Python::all();
        for python in all
            .first()
            .into_iter()
            .chain(all.last().filter(|_| all.len() > 1))
        {
            let place = site.file(&format!("venv-{}", python.full_version));
            installed(python, &place, &[&wheel], &[]);
            let mut running = server(&place, "wsgid", &["start-server"], free_port())
                .path(&site.file("probe.py"))
                .args(&["--python-path"])
                .path(site.path())
                .start();
            let info = running.get("/info").json();
            assert_eq!(info["prefix"], place.display().to_string());
            assert_eq!(info["version"].as_array().map(Vec::len), Some(3));
            let version = format!(
                "{}.{}.{}",
                info["version"][0], info["version"][1], info["version"][2]
            );
            assert_eq!(version, python.full_version);
            running.stop();
        }
    });
}

/// The package of Debian, taken apart and used where it lies.
#[test]
fn the_debian_package_holds_all_that_is_needed() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let sources = sources();
        let mut build = Command::new(sources.join("packaging/debian/build"));
        let package = done(build.arg(artifacts::directory()).arg(site.file("packages")));
        let package = package.trim();
        let tree = site.file("tree");
        done(Command::new("dpkg").args(["-x", package]).arg(&tree));
        let fields = done(Command::new("dpkg-deb").args(["--field", package]));
        for line in [
            "Package: wsgid",
            "Depends: libc6 (>= 2.",
            "apache2-bin",
            "python3 (>= 3.9)",
        ] {
            assert!(fields.contains(line), "no `{line}` in:\n{fields}");
        }
        let load = fs::read_to_string(tree.join("etc/apache2/mods-available/wsgid.load"))
            .expect("a2enmod needs it");
        let module = load
            .lines()
            .find_map(|line| line.strip_prefix("LoadModule wsgi_module "))
            .expect("a LoadModule");
        for path in [
            module.trim_start_matches('/'),
            "usr/lib/wsgid/wsgid_worker.so",
            "usr/lib/tmpfiles.d/wsgid.conf",
            "usr/share/doc/wsgid/examples/apache2-delegate.conf",
            "usr/share/man/man8/wsgid-start-server.8.gz",
            "usr/share/bash-completion/completions/wsgid",
        ] {
            assert!(tree.join(path).exists(), "no `{path}` in the package");
        }
        for unit in fs::read_dir(sources.join("conf/systemd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            assert!(
                tree.join("usr/lib/systemd/system")
                    .join(unit.file_name())
                    .exists(),
                "{unit:?}"
            );
        }
        let page = tree.join("usr/share/man/man8/wsgid-start-server.8.gz");
        assert!(
            done(Command::new("zcat").arg(page))
                .replace('\\', "")
                .contains("--processes")
        );
        let program = tree.join("usr/sbin/wsgid");
        let mut found = Command::new(&program);
        assert_eq!(
            done(found.arg("module-location")).trim(),
            tree.join(module.trim_start_matches('/'))
                .display()
                .to_string()
        );
        let mut command = Command::new(&program);
        command.arg("start-server");
        let mut running = Express::of(command, free_port())
            .path(&site.file("hello.py"))
            .start();
        assert_eq!(running.get("/").text(), "Hello World!");
        running.stop();
    });
}
