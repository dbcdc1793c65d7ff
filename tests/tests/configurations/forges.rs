//! Trackers, wikis, and hosts for repositories.

use crate::ALICE;
use crate::ask::{Ask, get};
use crate::harness::configuration;

#[test]
fn trac() {
    const ASKS: &[Ask] = &[
        get("/trac/one/wiki/Start").sees(&[
            "SCRIPT_NAME=/trac",
            "PATH_INFO=/one/wiki/Start",
            "trac.env_parent_dir=@ROOT@/srv/trac/projects",
            "mod_wsgi.process_group=trac",
            "mod_wsgi.application_group=",
            "cwd=@ROOT@/srv/trac",
            "os.PYTHON_EGG_CACHE=@ROOT@/srv/trac/eggs",
            "user=@USER@",
        ]),
        get("/trac/one/login")
            .is(401)
            .fields(&[("WWW-Authenticate", "Basic realm=\"Trac\"")]),
        get("/trac/one/login")
            .as_alice()
            .sees(&["REMOTE_USER=alice", "AUTH_TYPE=Basic"]),
        get("/trac/chrome/common/trac.css").sees(&["a style"]),
        get("/trac/chrome/site/none.css").is(404),
    ];
    configuration("trac")
        .app("srv/trac/apache/trac.wsgi", "")
        .file("srv/trac/htdocs/common/trac.css", "a style\n")
        .file("srv/trac/.htpasswd", ALICE)
        .answers(ASKS);
}

#[test]
fn trac_with_digests() {
    const SECRET: &[&str] = &["--digest", "--user", "alice:secret"];
    const ASKS: &[Ask] = &[
        get("/projects/red/timeline").at("trac.example.org").sees(&[
            "SCRIPT_NAME=/projects/red",
            "PATH_INFO=/timeline",
            "project=red",
            "mod_wsgi.process_group=projects",
        ]),
        get("/projects/blue").at("trac.example.org").sees(&[
            "SCRIPT_NAME=/projects/blue",
            "PATH_INFO=",
            "project=blue",
        ]),
        get("/projects/red/login")
            .at("trac.example.org")
            .by_curl(SECRET)
            .sees(&["REMOTE_USER=alice", "AUTH_TYPE=Digest"]),
        get("/").at("trac.example.org").sees(&["the start page"]),
    ];
    configuration("trac-digest")
        .app(
            "srv/projects/red/apache/red.wsgi",
            "MORE['project'] = 'red'",
        )
        .app(
            "srv/projects/blue/apache/blue.wsgi",
            "MORE['project'] = 'blue'",
        )
        .file(
            "srv/projects/digest",
            "alice:trac:b77225ccb2a6814791bff46dbf4ced38\n",
        )
        .answers(ASKS);
}

#[test]
fn moinmoin() {
    const ASKS: &[Ask] = &[
        get("/mywiki/FrontPage?action=edit").sees(&[
            "SCRIPT_NAME=/mywiki",
            "PATH_INFO=/FrontPage",
            "cwd=@ROOT@/srv/moin",
            "umask=0007",
            "user=@USER@",
            "beside=moin",
        ]),
        get("/mywiki/%C3%9Cber_uns").sees(&["REQUEST_URI=/mywiki/%C3%9Cber_uns"]),
        get("/moin_static199/common.css").sees(&["a style"]),
        get("/robots.txt").sees(&["User-agent: *"]),
    ];
    configuration("moinmoin")
        .app("srv/moin/server/moin.wsgi", include_str!("apps/package.py"))
        .file("srv/moin/server/beside.py", "NAME = 'moin'\n")
        .file("usr/share/moin/htdocs/common.css", "a style\n")
        .file("usr/share/moin/htdocs/robots.txt", "User-agent: *\n")
        .answers(ASKS);
}

#[test]
fn a_farm_of_wikis() {
    const ASKS: &[Ask] = &[
        get("/cooks/Soup").as_alice().sees(&[
            "wiki=cooks",
            "REMOTE_USER=alice",
            "mod_wsgi.application_group=wikis",
        ]),
        get("/bakers/Bread")
            .as_alice()
            .sees(&["wiki=bakers", "mod_wsgi.application_group=wikis"]),
        get("/Help").as_alice().sees(&[
            "wiki=start",
            "SCRIPT_NAME=",
            "PATH_INFO=/Help",
            "mod_wsgi.process_group=farm",
        ]),
        get("/cooks/Soup").is(401),
    ];
    configuration("moinmoin-farm")
        .app("srv/farm/cooks/moin.wsgi", "MORE['wiki'] = 'cooks'")
        .app("srv/farm/bakers/moin.wsgi", "MORE['wiki'] = 'bakers'")
        .app("srv/farm/start/moin.wsgi", "MORE['wiki'] = 'start'")
        .file("srv/farm/users", ALICE)
        .answers(ASKS);
}

#[test]
fn roundup() {
    const ASKS: &[Ask] = &[
        get("/trackers/bugs/issue7").as_alice().sees(&[
            "SCRIPT_NAME=/trackers/bugs",
            "PATH_INFO=/issue7",
            "HTTP_AUTHORIZATION=Basic YWxpY2U6c2VjcmV0",
            "tracker=bugs",
        ]),
        get("/trackers/ideas/").sees(&["tracker=ideas", "PATH_INFO=/"]),
        get("/trackers/bugs/@@file/style.css").sees(&["a style"]),
    ];
    configuration("roundup")
        .app("srv/roundup/bugs.wsgi", "MORE['tracker'] = 'bugs'")
        .app("srv/roundup/ideas.wsgi", "MORE['tracker'] = 'ideas'")
        .file("srv/roundup/bugs/html/style.css", "a style\n")
        .answers(ASKS);
}

#[test]
fn pagure() {
    const ASKS: &[Ask] = &[
        get("/forks")
            .at("pagure.example.org")
            .is(301)
            .fields(&[("Location", "https://pagure.example.org/forks")]),
        get("/api/0/version")
            .at("pagure.example.org")
            .tls()
            .as_alice()
            .sees(&[
                "PATH_INFO=/api/0/version",
                "wsgi.url_scheme=https",
                "HTTP_AUTHORIZATION=Basic YWxpY2U6c2VjcmV0",
                "mod_wsgi.process_group=pagure",
                "optimize=1",
                "user=@USER@",
                "title=pagure…",
            ]),
        get("/static/p.css")
            .at("pagure.example.org")
            .tls()
            .sees(&["a style"]),
        get("/releases/one.tar")
            .at("pagure.example.org")
            .tls()
            .sees(&["an archive"]),
        get("/one/")
            .at("docs.pagure.example.org")
            .tls()
            .sees(&["mod_wsgi.process_group=paguredocs"]),
    ];
    configuration("pagure")
        .app("usr/share/pagure/pagure.wsgi", "")
        .app("usr/share/pagure/docs_pagure.wsgi", "")
        .file("usr/share/pagure/static/p.css", "a style\n")
        .file("var/www/releases/one.tar", "an archive\n")
        .answers(ASKS);
}

#[test]
fn hgweb() {
    const ASKS: &[Ask] = &[
        get("/hg/repo?cmd=capabilities").sees(&[
            "SCRIPT_NAME=/hg",
            "PATH_INFO=/repo",
            "QUERY_STRING=cmd=capabilities",
            "umask=0007",
            "cwd=@ROOT@/srv/hg",
            "encoding=UTF-8",
        ]),
        get("/hg/repo?cmd=unbundle").sends("a bundle").is(401),
        get("/hg/repo?cmd=unbundle")
            .as_alice()
            .sends_chunks("a bundle")
            .sees(&["REMOTE_USER=alice", "wsgi.input_terminated=True", "body=8"]),
    ];
    configuration("hgweb")
        .app(
            "srv/hg/cgi-bin/hgweb.wsgi",
            "os.environ['HGENCODING'] = 'UTF-8'\nMORE['encoding'] = os.environ['HGENCODING']",
        )
        .file("srv/hg/hgusers", ALICE)
        .answers(ASKS);
}

#[test]
fn reviewboard() {
    const ASKS: &[Ask] = &[
        get("/r/7/diff/")
            .at("reviews.example.com")
            .sees(&["PATH_INFO=/r/7/diff/", "mod_wsgi.process_group=reviewboard"]),
        get("/").at("reviews.example.com").sees(&["PATH_INFO=/"]),
        get("/static/rb/css/a.css")
            .at("reviews.example.com")
            .sees(&["a style"]),
        get("/media/uploaded/x.wsgi")
            .at("reviews.example.com")
            .sees(&["no program"])
            .fields(&[
                ("X-Content-Type-Options", "nosniff"),
                ("Content-Type", "text/plain"),
            ]),
        get("/favicon.ico")
            .at("reviews.example.com")
            .sees(&["an icon"]),
    ];
    configuration("reviewboard")
        .app("srv/reviews/htdocs/reviewboard.wsgi", "")
        .file("srv/reviews/htdocs/static/rb/css/a.css", "a style\n")
        .file("srv/reviews/htdocs/static/favicon.png", "an icon\n")
        .file("srv/reviews/htdocs/media/uploaded/x.wsgi", "no program\n")
        .answers(ASKS);
}

#[test]
fn kallithea() {
    const ASKS: &[Ask] = &[
        get("/_admin/repos").as_alice().sees(&[
            "PATH_INFO=/_admin/repos",
            "HTTP_AUTHORIZATION=Basic YWxpY2U6c2VjcmV0",
            "os.LANG=C.UTF-8",
            "prefix=@PYTHON@",
            "setting=[app:main]",
            "wsgi.multithread=False",
        ]),
        get("/repo.git/git-receive-pack")
            .sends_chunks("0000PACK")
            .sees(&["body=8"]),
    ];
    configuration("kallithea")
        .app(
            "srv/kallithea/dispatch.wsgi",
            include_str!("apps/directory.py"),
        )
        .file("srv/kallithea/settings.ini", "[app:main]\n")
        .answers(ASKS);
}

#[test]
fn koji_hub() {
    const ASKS: &[Ask] = &[
        get("/kojihub").sends("<methodCall/>").sees(&[
            "SCRIPT_NAME=/kojihub",
            "PATH_INFO=",
            "body=13",
            "os.LANG=C.UTF-8",
        ]),
        get("/kojihub/ssllogin").sees(&[
            "SCRIPT_NAME=/kojihub",
            "PATH_INFO=/ssllogin",
            "mod_wsgi.process_group=koji",
        ]),
        get("/kojifiles/packages/one.rpm").sees(&["a package"]),
    ];
    configuration("koji-hub")
        .app("usr/share/koji-hub/kojiapp.py", "")
        .file("mnt/koji/packages/one.rpm", "a package\n")
        .answers(ASKS);
}

#[test]
fn viewvc() {
    const ASKS: &[Ask] = &[
        get("/viewvc/trunk/?view=log").at("svn.example.org").sees(&[
            "SCRIPT_NAME=/viewvc",
            "PATH_INFO=/trunk/",
            "mod_wsgi.process_group=viewvc:main",
            "mod_wsgi.application_group=svn.example.org",
        ]),
        get("/viewvc-docroot/styles.css")
            .at("svn.example.org")
            .sees(&["a style"]),
        get("/").at("svn.example.org").sees(&["the start page"]),
    ];
    configuration("viewvc")
        .app("usr/lib/viewvc/bin/wsgi/viewvc.wsgi", "")
        .file("usr/lib/viewvc/templates/docroot/styles.css", "a style\n")
        .answers(ASKS);
}
