//! One site's mistake never stops the others: what mod_wsgi starts with, we start with, and
//! more. Each mistake, whether mod_wsgi starts with it, and what a request of that site gets
//! from either.

use wsgid_tests::{Builder, Httpd, Limit, Python, Response, Site, case, users};

/// A mistake, alone in its site. In the lines `@` is the site's URL, `$` its script, `#` its
/// process group, and `…` stands for options that every group needs.
struct Mistake {
    lines: &'static str,
    /// The status that mod_wsgi answers with; `None`: it does not start.
    theirs: Option<u16>,
    ours: u16,
    /// What configtest says of it, behind its place.
    says: &'static str,
    /// What the log of the request says.
    cause: &'static str,
}

const fn mistake(
    lines: &'static str,
    theirs: Option<u16>,
    ours: u16,
    says: &'static str,
    cause: &'static str,
) -> Mistake {
    Mistake {
        lines,
        theirs,
        ours,
        says,
        cause,
    }
}

/// mod_wsgi starts, and what would have to answer crashes.
const NOT_ASKED: u16 = 0;

const NOT_DEFINED: &str = "the process group `nosuch` is not defined";
const HOST: &str =
    "<VirtualHost 192.0.2.1:81>\nServerName other.example\nWSGIDaemonProcess # …\n</VirtualHost>\n";

/// What does not depend on who starts httpd.
#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    mistake("WSGIProcessGroup nosuch\nWSGIScriptAlias @ $",
        Some(500), 500, NOT_DEFINED, "named by WSGIProcessGroup ("),
    mistake("WSGIScriptAlias @ $\n<Location @>\nWSGIProcessGroup nosuch\n</Location>",
        Some(500), 500, NOT_DEFINED, "WSGIProcessGroup ("),
    mistake("WSGIScriptAlias @ $ process-group=nosuch",
        Some(500), 500, NOT_DEFINED, "WSGIScriptAlias ("),
    mistake("WSGIScriptAlias @ $ process-group=nosuch application-group=%{GLOBAL}",
        None, 500, NOT_DEFINED, "define it with WSGIDaemonProcess, or name one that is defined"),
    mistake("WSGIScriptAliasMatch ^@ $ process-group=nosuch2",
        Some(500), 500, "`nosuch2` is not defined", "named by WSGIScriptAliasMatch ("),
    mistake("WSGIHandlerScript handler# $ process-group=nosuch3\n<Location @>\nSetHandler handler#\n</Location>",
        Some(500), 500, "`nosuch3` is not defined", "named by WSGIHandlerScript ("),
    mistake("<Location @>\nWSGIAccessScript $ process-group=nosuch4\n</Location>",
        None, 500, "`nosuch4` is not defined", "named by WSGIAccessScript ("),
    mistake("WSGIImportScript $ process-group=nosuch application-group=a\nWSGIScriptAlias @ $ process-group=good",
        None, 200, NOT_DEFINED, ""),
    mistake("WSGIImportScript $ process-group=good application-group=%{ENV:X}\nWSGIScriptAlias @ $ process-group=good",
        Some(200), 200, "`%{ENV:X}` is not known before a request comes", ""),
    mistake("<HOST>WSGIScriptAlias @ $ process-group=#",
        Some(500), 500, "of another virtual host", "named by WSGIScriptAlias ("),
    mistake("<HOST>WSGIScriptAlias @ $ process-group=# application-group=%{GLOBAL}",
        None, 500, "of another virtual host", "define it at server level"),
    mistake("<HOST>WSGIScriptAlias @ $\n<Location @>\nWSGIProcessGroup #\n</Location>",
        Some(500), 500, "", "named by WSGIProcessGroup ("),
    mistake("WSGIScriptAlias x@ $ process-group=good",
        Some(404), 404, "does not begin with `/`", ""),
    mistake("WSGIDaemonProcess %{GLOBAL} …\nWSGIScriptAlias @ $ process-group=good",
        Some(200), 200, "`%{GLOBAL}` is not a name for a process group", ""),
    mistake("WSGIDaemonProcess # … lang=\"\" locale=\"\" display-name='' python-home=\"\" python-eggs=\nWSGIScriptAlias @ $ process-group=#",
        Some(200), 200, "", ""),
    mistake("WSGIDaemonProcess # … display-name= x\nWSGIScriptAlias @ $ process-group= #",
        Some(200), 200, "", ""),
    mistake("WSGIScriptAlias @ $ process-group=good\n<Location @>\nWSGITrustedProxyHeaders\nWSGITrustedProxies\n</Location>",
        Some(200), 200, "", ""),
    mistake("WSGIScriptAlias @ $ process-group=good\n<Location @>\nWSGITrustedProxyHeaders X:Y\nWSGITrustedProxies 10.0.0.1\n</Location>",
        Some(NOT_ASKED), 200, "", ""),
    mistake("<WSGIInterpreterOptions process-group=nosuch>\nWSGIPythonPath /nowhere\n</WSGIInterpreterOptions>\nWSGIScriptAlias @ $ process-group=good",
        Some(200), 200, "", ""),
    mistake("WSGIDaemonProcess # threads=2 python-home=/nowhere\nWSGIScriptAlias @ $ process-group=#",
        Some(NOT_ASKED), 503, "", "`/nowhere"),
    mistake("WSGIDaemonProcess # … home=/nowhere\nWSGIScriptAlias @ $ process-group=#",
        Some(NOT_ASKED), 503, "", "`/nowhere"),
];

/// Only root gives processes a user.
#[rustfmt::skip]
const OF_ROOT: &[Mistake] = &[
    mistake("WSGIDaemonProcess # … user=no-such-user\nWSGIScriptAlias @ $ process-group=#",
        None, 503, "there is no user `no-such-user`", "user `no-such-user` does not exist"),
    mistake("WSGIDaemonProcess # … group=no-such-group\nWSGIScriptAlias @ $ process-group=#",
        None, 503, "there is no group `no-such-group`", "group `no-such-group` does not exist"),
    mistake("WSGIDaemonProcess # … user=root\nWSGIScriptAlias @ $ process-group=#",
        None, 503, "applications never run as root", "workers never run as root"),
    mistake("WSGIDaemonProcess # … group=root\nWSGIScriptAlias @ $ process-group=#",
        Some(200), 503, "applications never run with it", "workers never run as root"),
    mistake("WSGIDaemonProcess # … supplementary-groups=no-such-group\nWSGIScriptAlias @ $ process-group=#",
        None, 503, "there is no group `no-such-group`", "group `no-such-group` does not exist"),
    mistake("WSGIDaemonProcess # … script-user=no-such-user\nWSGIScriptAlias @ $ process-group=#",
        None, 403, "there is no user `no-such-user`", "script-user= demands `no-such-user`"),
    mistake("WSGIDaemonProcess # … script-group=no-such-group\nWSGIScriptAlias @ $ process-group=#",
        None, 403, "there is no group `no-such-group`", "script-group= demands `no-such-group`"),
    mistake("WSGIDaemonProcess # … socket-user=no-such-user\nWSGIScriptAlias @ $ process-group=#",
        None, 200, "there is no user `no-such-user`", ""),
    mistake("WSGIDaemonProcess # … chroot=/nowhere\nWSGIScriptAlias @ $ process-group=#",
        Some(NOT_ASKED), 503, "", "`/nowhere"),
];

fn mistakes() -> Vec<&'static Mistake> {
    let of_root = OF_ROOT.iter().filter(|_| users::is_root());
    MISTAKES.iter().chain(of_root).collect()
}

fn url(number: usize) -> String {
    format!("/m{number:02}")
}

/// A server with a site that is right.
fn with_good_site(builder: Builder, site: &Site, options: &str) -> Builder {
    builder
        .daemon("good", options)
        .mount("/good", &site.file("hello.py"), "good")
}

fn lines(mistake: &Mistake, number: usize, site: &Site, options: &str) -> String {
    let script = site.file("hello.py").display().to_string();
    let lines = mistake.lines.replace("<HOST>", HOST);
    lines
        .replace('@', &url(number))
        .replace('$', &script)
        .replace('#', &format!("site{number:02}"))
        .replace('…', options)
}

/// All of them in one server: it starts, says what is wrong and where, and each site gets
/// what it deserves.
#[test]
fn one_sites_mistake_stops_no_other() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let options = format!("threads=2 python-home={}", Python::any().home.display());
        let mut builder = with_good_site(Httpd::builder(), &site, &options);
        for (number, mistake) in mistakes().into_iter().enumerate() {
            builder = builder.line(lines(mistake, number, &site, &options));
        }
        let check = builder.check();
        assert!(
            check.ok && check.text.contains("Syntax OK"),
            "{}",
            check.text
        );
        let httpd = builder.start();
        assert_eq!(httpd.get("/good").status, 200);
        for (number, mistake) in mistakes().into_iter().enumerate() {
            let said = said_of(&check.text, &httpd, number);
            assert!(
                said.iter().any(|line| line.contains(mistake.says)),
                "{}: {said:#?} in {}",
                mistake.lines,
                check.text
            );
            let before = httpd.error_log().len();
            let response: Response = httpd.get(&url(number));
            assert_eq!(response.status, mistake.ours, "{}", mistake.lines);
            let log = httpd.error_log();
            assert!(
                log.get(before..)
                    .is_some_and(|log| log.contains(mistake.cause)),
                "{}: `{}` in {log}",
                mistake.lines,
                mistake.cause
            );
        }
        assert_eq!(httpd.get("/good").status, 200);
        httpd.stop();
    });
}

/// The lines of a configtest about the site with this number; one that is empty, for those
/// of which nothing is said.
fn said_of<'t>(text: &'t str, httpd: &Httpd, number: usize) -> Vec<&'t str> {
    let conf = httpd.root().join("httpd.conf");
    let conf = std::fs::read_to_string(&conf).expect("the configuration is there");
    let marks = [url(number), format!("site{number:02}")];
    let ours = |line: &&str| marks.iter().any(|mark| line.contains(mark));
    let mut places: Vec<String> = Vec::new();
    let all: Vec<&str> = conf.lines().collect();
    for (at, line) in all.iter().enumerate() {
        let behind = all.get(at + 1).filter(|_| line.starts_with("WSGI"));
        let before = at.checked_sub(1).and_then(|at| all.get(at));
        if [Some(line), behind, before].into_iter().flatten().any(ours) {
            places.push(format!("httpd.conf:{}: ", at + 1));
        }
    }
    let is_there = |line: &&str| places.iter().any(|place| line.contains(place));
    text.lines().filter(is_there).chain([""]).collect()
}

/// What the table says of mod_wsgi, asked of mod_wsgi.
#[test]
fn mod_wsgi_starts_with_no_more() {
    let Some((venv, module)) = wsgid_tests::peer::peer() else {
        return;
    };
    case(Limit::seconds(120), move || {
        let site = Site::new();
        let options = format!("threads=2 python-home={}", venv.display());
        let server = || {
            let builder = Builder::new().peer(module.clone());
            with_good_site(builder, &site, &options)
        };
        let mut wrong = Vec::new();
        let mut all = server();
        for (number, mistake) in mistakes().into_iter().enumerate() {
            let lines = lines(mistake, number, &site, &options);
            let check = server().line(&lines).check();
            if check.ok != mistake.theirs.is_some() {
                wrong.push(format!("{}: {}", mistake.lines, check.text));
            } else if check.ok {
                all = all.line(lines);
            }
        }
        let httpd = all.start();
        assert_eq!(httpd.get("/good").status, 200);
        for (number, mistake) in mistakes().into_iter().enumerate() {
            let Some(expected) = mistake.theirs.filter(|status| *status != NOT_ASKED) else {
                continue;
            };
            let status = httpd.get(&url(number)).status;
            if status != expected {
                wrong.push(format!("{}: {status}", mistake.lines));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        httpd.stop();
    });
}
