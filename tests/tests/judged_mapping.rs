//! From a URL to a script, its groups and its status: every rule of mapping and
//! of scope through both. Where no process group is named, mod_wsgi runs the
//! script inside httpd and we in the implicit group; all else has to be equal.

use std::path::Path;

use wsgid_tests::judge::{Allowed, Pair, judge};
use wsgid_tests::{Builder, Site};

/// What may differ.
const ALLOWED: &[Allowed] = &[
    ("-field expires", "", "an error of ours is not to be cached"),
    (
        "",
        "embedded /empty",
        "404 there; in daemon mode 500, as here",
    ),
    ("", "X-Choice: missing", "likewise"),
    (
        "",
        "?boom",
        "an access script that fails is an error, not a refusal",
    ),
    ("", "?odd", "likewise"),
    (
        "-field content-length",
        "too large",
        "the error page is one piece",
    ),
    (
        "body",
        "/docs/include",
        "SCRIPT_NAME of an included page ends before PATH_INFO, as PEP 3333 has it",
    ),
];

/// Says where it runs, and as what.
const WHERE: &str = "\
import json
KEYS = ('SCRIPT_NAME', 'PATH_INFO', 'SCRIPT_FILENAME', 'REQUEST_URI', 'QUERY_STRING', 'REQUEST_METHOD', 'SERVER_NAME',
        'mod_wsgi.process_group', 'mod_wsgi.application_group', 'mod_wsgi.callable_object', 'mod_wsgi.script_name',
        'mod_wsgi.path_info', 'mod_wsgi.request_handler', 'mod_wsgi.handler_script', 'REMOTE_USER', 'AUTH_TYPE',
        'HTTP_AUTHORIZATION', 'REDIRECT_URL', 'REDIRECT_STATUS', 'REDIRECT_QUERY_STRING', 'DOCUMENT_ROOT',
        'CONTEXT_PREFIX', 'CONTEXT_DOCUMENT_ROOT', 'CHOSEN', 'FROM_HTACCESS', 'DOCUMENT_URI')
def say(name, environ, start_response):
    facts = {key: environ[key] for key in KEYS if key in environ}
    body = json.dumps(dict(facts, served_by=name), sort_keys=True).encode()
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [body]
def application(environ, start_response):
    return say('application', environ, start_response)
def other(environ, start_response):
    return say('other', environ, start_response)
def handle_request(environ, start_response):
    return say('handler', environ, start_response)
";

/// Scripts that answer questions.
const QUESTIONS: &str = "\
import hashlib
def allow_access(environ, host):
    what = environ.get('QUERY_STRING', '')
    if what == 'boom':
        raise RuntimeError('no')
    return {'allow': True, 'deny': False, 'neutral': None, 'odd': 'text'}.get(what, True)
def check_password(environ, user, password):
    if user == 'boom':
        raise RuntimeError('no')
    return {'known': password == 'right', 'stranger': None, 'renamed': 'somebody', 'odd': 7, 'empty': ''}.get(user)
def groups_for_user(environ, user):
    return {'known': ['staff', 'users'], 'renamed': [], 'somebody': [b'staff']}.get(user, [])
def process_group(environ):
    what = environ.get('QUERY_STRING', '')
    if what == 'boom':
        raise RuntimeError('no')
    return {'second': 'second', 'global': '%{GLOBAL}', 'missing': 'nobody', 'odd': 7}.get(what)
def application_group(environ):
    return {'named': 'named', 'server': '%{SERVER}'}.get(environ.get('QUERY_STRING', ''))
def callable_object(environ):
    return 'other' if environ.get('QUERY_STRING') == 'other' else None
";

/// `$` is the site's directory, `@` a further port.
const CONFIGURATION: &str = "\
WSGIScriptAlias /opts/deeper $/where.wsgi process-group=second callable-object=other
WSGIScriptAlias /opts $/where.wsgi process-group=main application-group=named pass-authorization=On
WSGIScriptAlias /dir/ $/scripts/
WSGIScriptAlias /bare $/scripts
WSGIScriptAlias /mixed/ $/scripts
WSGIScriptAlias /slashed/ $/where.wsgi
WSGIScriptAlias //double//slashed $/where.wsgi
WSGIScriptAliasMatch ^/match/([a-z]+) $/scripts/$1.wsgi
WSGIScriptAliasMatch ^/whole(/.*)?$ $/where.wsgi process-group=main
WSGIScriptAliasMatch \\.special$ $/where.wsgi
WSGIScriptAlias /gone $/no-such.wsgi
WSGIScriptAlias /closed $/closed/where.wsgi
WSGIScriptAlias /syntax $/syntax.wsgi
WSGIScriptAlias /raises $/raises.wsgi
WSGIScriptAlias /exits $/exits.wsgi
WSGIScriptAlias /uncallable $/uncallable.wsgi
WSGIScriptAlias /empty $/empty.wsgi
WSGIScriptAlias /daemon/empty $/empty.wsgi process-group=main
WSGIScriptAlias /daemon/raises $/raises.wsgi process-group=main
WSGIScriptAlias /daemon/syntax $/syntax.wsgi process-group=main
WSGIScriptAlias /daemon/gone $/no-such.wsgi process-group=main
WSGIScriptAlias /cgivar $/where.wsgi
WSGIScriptAlias /limited $/where.wsgi
WSGIScriptAlias /plain $/where.wsgi
WSGIScriptAlias /groups $/where.wsgi
WSGIScriptAlias /nopathinfo $/where.wsgi
WSGIScriptAlias /access $/where.wsgi
WSGIScriptAlias /user $/where.wsgi
WSGIScriptAlias /member $/where.wsgi
WSGIScriptAlias /dispatch $/where.wsgi
WSGIScriptAlias /undispatched $/where.wsgi
WSGIScriptAlias /merged $/where.wsgi
WSGIScriptAlias \"/in a word\" $/where.wsgi
Alias /opts/static $/static
Alias /plain/static/ $/static/
Alias /docs $/docs
Alias /noexec $/noexec
Alias /htaccess $/htaccess
Alias /forbidden $/forbidden
Alias /legacy $/legacy
<Directory $>
  Require all granted
</Directory>
<Directory $/closed>
  Require all denied
</Directory>
<Directory $/docs>
  Options +ExecCGI +Includes
  AddHandler wsgi-script .wsgi
  AddType text/html .shtml
  AddOutputFilter INCLUDES .shtml
  DirectoryIndex index.wsgi index.html
  WSGIProcessGroup main
  <Files second.wsgi>
    WSGIProcessGroup second
    WSGICallableObject other
  </Files>
</Directory>
<Directory $/docs/sub>
  WSGIProcessGroup second
  WSGIApplicationGroup %{SERVER}
</Directory>
<Directory $/noexec>
  AddHandler wsgi-script .wsgi
</Directory>
<Directory $/legacy>
  Options +ExecCGI
  AddType application/x-httpd-wsgi .wsgi
</Directory>
<Directory $/htaccess>
  Options +ExecCGI
  AllowOverride FileInfo AuthConfig
  AddHandler wsgi-script .wsgi
</Directory>
<Directory $/forbidden>
  Options +ExecCGI
  AllowOverride FileInfo
  SetHandler wsgi-script
</Directory>
WSGIHandlerScript data-handler $/handler.wsgi process-group=main application-group=%{GLOBAL}
WSGIHandlerScript plain-handler $/handler.wsgi
<FilesMatch \\.data$>
  SetHandler data-handler
</FilesMatch>
AddHandler plain-handler .plain
<Location /groups/server>
  WSGIProcessGroup main
  WSGIApplicationGroup %{SERVER}
</Location>
<Location /groups/host>
  WSGIProcessGroup main
  WSGIApplicationGroup %{HOST}
</Location>
<Location /groups/resource>
  WSGIProcessGroup main
  WSGIApplicationGroup %{RESOURCE}
</Location>
<Location /groups/global>
  WSGIProcessGroup %{GLOBAL}
  WSGIApplicationGroup %{GLOBAL}
</Location>
<Location /groups/env>
  SetEnvIf X-Choice (.+) CHOSEN=$1
  WSGIProcessGroup %{ENV:CHOSEN}
  WSGIApplicationGroup %{ENV:CHOSEN}
  WSGIRestrictProcess main second
</Location>
<Location /groups/callable>
  SetEnvIf X-Choice (.+) CHOSEN=$1
  WSGICallableObject %{ENV:CHOSEN}
</Location>
<Location /groups/restricted>
  WSGIProcessGroup main
  WSGIRestrictProcess second
</Location>
<Location /groups/unrestricted>
  WSGIRestrictProcess %{GLOBAL}
</Location>
<Location /groups/undefined>
  WSGIProcessGroup nobody-defined-this
</Location>
<Location /groups/hosts>
  WSGIProcessGroup hosted
</Location>
<LocationMatch ^/groups/[m]atched>
  WSGIProcessGroup second
</LocationMatch>
<If \"%{QUERY_STRING} == 'if'\">
  WSGIProcessGroup second
</If>
<Location /cgivar>
  CGIVar REQUEST_URI current-uri
</Location>
<Location /cgivar/original>
  CGIVar REQUEST_URI original-uri
</Location>
<Location /limited>
  LimitRequestBody 10
</Location>
<Location /nopathinfo>
  AcceptPathInfo Off
</Location>
<Location /access>
  WSGIAccessScript $/questions.py
</Location>
<Location /docs/page.html>
  WSGIAccessScript $/questions.py
</Location>
<Location /user>
  AuthType Basic
  AuthName x
  AuthBasicProvider wsgi
  WSGIAuthUserScript $/questions.py
  Require valid-user
</Location>
<Location /member>
  AuthType Basic
  AuthName x
  AuthBasicProvider wsgi
  WSGIAuthUserScript $/questions.py
  WSGIAuthGroupScript $/questions.py
  Require wsgi-group staff
</Location>
<Location /dispatch>
  WSGIDispatchScript $/questions.py
  WSGIProcessGroup main
</Location>
RewriteEngine On
RewriteRule ^/pt/(.*) /opts/$1 [PT,QSA]
RewriteRule ^/cgi/(.*) /cgivar/$1 [PT,QSA]
RewriteRule ^/filed/(.*) $/docs/app.wsgi/$1
RewriteRule ^/handled/(.*) $/scripts/one.wsgi [H=wsgi-script]
RewriteRule ^/moved/(.*) /opts/$1 [R=302,L]
RewriteRule ^/refused - [F]
RewriteRule ^/asked /plain/x?from=rewrite [PT]
ErrorDocument 404 /plain/error
<VirtualHost *:@>
  ServerName hosted.example
  WSGIDaemonProcess hosted processes=1 threads=3 python-home=VENV
  WSGIScriptAlias /own $/where.wsgi
  WSGIScriptAlias /plain $/scripts/one.wsgi
  WSGIProcessGroup hosted
</VirtualHost>
<VirtualHost *:@>
  ServerName foreign.example
  WSGIScriptAlias /own $/where.wsgi
  WSGIProcessGroup hosted
</VirtualHost>
<VirtualHost *:@>
  ServerName unslashed.example
  MergeSlashes Off
  WSGIScriptAlias /own $/where.wsgi
  WSGIScriptAlias /a/b $/where.wsgi
</VirtualHost>
";

fn configured(mut builder: Builder, site: &Site, venv: &Path) -> (Builder, u16) {
    let port = builder.another_port();
    for name in [
        "where.wsgi",
        "scripts/one.wsgi",
        "scripts/two.wsgi",
        "closed/where.wsgi",
        "docs/app.wsgi",
        "docs/index.wsgi",
        "docs/second.wsgi",
        "docs/sub/app.wsgi",
        "noexec/app.wsgi",
        "legacy/app.wsgi",
        "htaccess/app.wsgi",
        "htaccess/groups/app.wsgi",
        "handler.wsgi",
    ] {
        site.write(name, WHERE);
    }
    for (name, text) in [
        ("syntax.wsgi", "def application(:\n"),
        ("raises.wsgi", "raise RuntimeError('at import')\n"),
        ("exits.wsgi", "import sys\nsys.exit(3)\n"),
        ("uncallable.wsgi", "application = 7\n"),
        ("empty.wsgi", ""),
        ("questions.py", QUESTIONS),
        ("static/page.html", "a page\n"),
        ("docs/page.html", "a page\n"),
        ("docs/plain.txt", "text\n"),
        (
            "docs/include.shtml",
            "[<!--#include virtual=\"/opts/included?q=1\" -->]\n",
        ),
        (
            "docs/includes.shtml",
            "[<!--#include virtual=\"app.wsgi/deep\" -->]\n",
        ),
        (
            "docs/failing.shtml",
            "[<!--#include virtual=\"/raises\" -->]\n",
        ),
        ("docs/thing.data", "data\n"),
        ("docs/thing.plain", "data\n"),
        (
            "htaccess/.htaccess",
            "SetEnv FROM_HTACCESS yes\nWSGICallableObject other\nWSGIPassAuthorization On\n",
        ),
        ("htaccess/groups/.htaccess", "WSGIProcessGroup main\n"),
        (
            "forbidden/.htaccess",
            "WSGIScriptReloading Off\nWSGIErrorOverride On\nSetHandler None\n",
        ),
        ("forbidden/page.html", "a page\n"),
    ] {
        site.write(name, text);
    }
    let options = format!("processes=1 threads=3 python-home={}", venv.display());
    let lines = CONFIGURATION
        .replace("$/", &format!("{}/", site.path().display()))
        .replace(
            "<Directory $>",
            &format!("<Directory {}>", site.path().display()),
        )
        .replace('@', &port.to_string())
        .replace("VENV", &venv.display().to_string());
    let modules = [
        "rewrite",
        "include",
        "auth_basic",
        "authn_core",
        "authz_user",
        "authz_host",
        "actions",
    ];
    let builder = modules
        .iter()
        .fold(builder, |builder, module| builder.load(module));
    let builder = builder.line(format!("WSGIPythonHome {}", venv.display()));
    let builder = builder
        .daemon("main", &options)
        .daemon("second", &options)
        .line(lines);
    (builder, port)
}

/// Paths, each asked for as it is.
const PATHS: &[&str] = &[
    "/opts",
    "/opts/",
    "/opts/x/y",
    "/opts/x%20y?q=1",
    "/optsx",
    "/OPTS",
    "/opts//x///y",
    "//opts/x",
    "/opts/deeper",
    "/opts/deeper/x",
    "/opts/static/page.html",
    "/opts/static/none.html",
    "/opts/../plain/x",
    "/opts/./x",
    "/opts/%2e%2e/x",
    "/opts/a%2Fb",
    "/dir/one.wsgi",
    "/dir/one.wsgi/",
    "/dir/one.wsgi/x/y",
    "/dir/two.wsgi?x",
    "/dir/none.wsgi",
    "/dir/",
    "/dir",
    "/dir//one.wsgi/x",
    "/bare/one.wsgi/x",
    "/bare",
    "/bare/",
    "/mixed/one.wsgi",
    "/mixed/",
    "/slashed/x",
    "/slashed/",
    "/slashed",
    "/double/slashed/x",
    "//double///slashed/x",
    "/match/one",
    "/match/one/x",
    "/match/none",
    "/match/",
    "/match/onex1/y",
    "/whole",
    "/whole/x/y",
    "/wholesome",
    "/x/y.special",
    "/x.special/y",
    "/gone",
    "/gone/x",
    "/closed",
    "/syntax",
    "/raises",
    "/exits",
    "/uncallable",
    "/daemon/empty",
    "/daemon/raises",
    "/daemon/syntax",
    "/daemon/gone",
    "/plain",
    "/plain/x",
    "/plain/static/page.html",
    "/plain/static",
    "/in%20a%20word/x",
    "/groups",
    "/groups/server",
    "/groups/host",
    "/groups/resource",
    "/groups/global",
    "/groups/env",
    "/groups/callable",
    "/groups/restricted",
    "/groups/unrestricted",
    "/groups/undefined",
    "/groups/hosts",
    "/groups/matched",
    "/groups/x?if",
    "/plain?if",
    "/opts?if",
    "/nopathinfo",
    "/nopathinfo/x",
    "/docs/app.wsgi",
    "/docs/app.wsgi/x",
    "/docs/second.wsgi/x",
    "/docs/sub/app.wsgi",
    "/docs/",
    "/docs",
    "/docs/?q=1",
    "/docs/page.html",
    "/docs/page.html?deny",
    "/docs/page.html?boom",
    "/docs/plain.txt/x",
    "/docs/none.wsgi",
    "/docs/include.shtml",
    "/docs/includes.shtml",
    "/docs/failing.shtml",
    "/docs/thing.data",
    "/docs/thing.data/x?q",
    "/docs/thing.plain",
    "/docs/none.data",
    "/noexec/app.wsgi",
    "/legacy/app.wsgi",
    "/legacy/app.wsgi/x",
    "/htaccess/app.wsgi/x",
    "/htaccess/groups/app.wsgi",
    "/forbidden/page.html",
    "/access/x?allow",
    "/access/x?deny",
    "/access/x?neutral",
    "/access/x?odd",
    "/access/x?boom",
    "/dispatch/x",
    "/dispatch/x?second",
    "/dispatch/x?global",
    "/dispatch/x?missing",
    "/dispatch/x?boom",
    "/dispatch/x?named",
    "/dispatch/x?server",
    "/dispatch/x?other",
    "/pt/x?y=1",
    "/filed/x/y",
    "/handled/x",
    "/moved/x",
    "/refused",
    "/asked",
    "/cgivar/x%20y?z",
    "/cgivar/original/x%20y?z",
    "/cgi/x?z",
    "/nothing/here",
];

/// What a client may say about who it is and what it wants.
const HEADERS: &[(&str, &str)] = &[
    ("/groups/env", "X-Choice: main"),
    ("/groups/env", "X-Choice: second"),
    ("/groups/env", "X-Choice: hosted"),
    ("/groups/env", "X-Choice: %{GLOBAL}"),
    ("/groups/callable", "X-Choice: other"),
    ("/groups/callable", "X-Choice: missing"),
    ("/opts/x", "Authorization: Basic a25vd246cmlnaHQ="),
    ("/plain/x", "Authorization: Basic a25vd246cmlnaHQ="),
    (
        "/htaccess/app.wsgi",
        "Authorization: Basic a25vd246cmlnaHQ=",
    ),
    // known:right, known:wrong, stranger:x, renamed:x, odd:x, empty:x, boom:x
    ("/user/x", "Authorization: Basic a25vd246cmlnaHQ="),
    ("/user/x", "Authorization: Basic a25vd246d3Jvbmc="),
    ("/user/x", "Authorization: Basic c3RyYW5nZXI6eA=="),
    ("/user/x", "Authorization: Basic cmVuYW1lZDp4"),
    ("/user/x", "Authorization: Basic b2RkOng="),
    ("/user/x", "Authorization: Basic ZW1wdHk6eA=="),
    ("/user/x", "Authorization: Basic Ym9vbTp4"),
    ("/user/x", "X-None: x"),
    ("/member/x", "Authorization: Basic a25vd246cmlnaHQ="),
    ("/member/x", "Authorization: Basic cmVuYW1lZDp4"),
    ("/member/x", "Authorization: Basic c3RyYW5nZXI6eA=="),
];

/// Requests with bodies that are refused, or of which nothing is read.
const BODIES: &[(&str, &str)] = &[
    (
        "too large",
        "POST /limited HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\nConnection: close\r\n\r\n12345678901",
    ),
    (
        "large enough",
        "POST /limited HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\nConnection: close\r\n\r\n1234567890",
    ),
    (
        "no length",
        "POST /plain HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\nConnection: close\r\n\r\n",
    ),
    (
        "negative",
        "POST /plain HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\nConnection: close\r\n\r\n",
    ),
    (
        "chunked",
        "POST /plain HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
    ),
    (
        "a file",
        "POST /docs/page.html HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ),
    (
        "options",
        "OPTIONS /opts/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ),
    (
        "options for all",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ),
    (
        "trace",
        "TRACE /opts/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ),
];

/// Virtual hosts on the further port.
const HOSTS: &[(&str, &str)] = &[
    ("hosted.example", "/own/x"),
    ("hosted.example", "/plain/x"),
    ("hosted.example", "/opts/x"),
    ("hosted.example", "/groups/hosts"),
    ("foreign.example", "/own/x"),
    ("foreign.example", "/opts/x"),
    ("foreign.example", "/plain/x"),
    ("unslashed.example", "/own//x"),
    ("unslashed.example", "//own/x"),
    ("unslashed.example", "/a//b/x"),
    ("unslashed.example", "/a/b//x///y"),
];

#[test]
fn a_url_finds_the_same_script_in_the_same_groups() {
    judge(ALLOWED, configured, |pair| {
        for path in PATHS {
            ask(pair, path, path, "localhost", "");
        }
        ask(pair, "embedded /empty", "/empty", "localhost", "");
        for (name, request) in BODIES {
            pair.raw(name, request);
        }
        for (path, header) in HEADERS {
            ask(
                pair,
                &format!("{path} {header}"),
                path,
                "localhost",
                &format!("{header}\r\n"),
            );
        }
        ask(pair, "another host", "/groups/host", "other.example", "");
        for (host, path) in HOSTS {
            pair.elsewhere(&format!("{host}{path}"), &request(path, host, ""));
        }
        pair.stale()
    });
}

/// Nothing but questions may be answered where nobody names a group.
const RESTRICTED: &str = "\
WSGIRestrictEmbedded On
WSGIScriptAlias /none $/where.wsgi
WSGIScriptAlias /global $/where.wsgi process-group=%{GLOBAL} application-group=%{GLOBAL}
WSGIScriptAlias /named $/where.wsgi process-group=main
WSGIScriptAlias /asked $/where.wsgi process-group=main
WSGIScriptAlias /digest $/where.wsgi process-group=main
<Directory $>
  Require all granted
</Directory>
<Location /asked>
  WSGIAccessScript $/questions.py
</Location>
";

#[test]
fn restrict_embedded_refuses_the_same() {
    fn configured(builder: Builder, site: &Site, venv: &Path) -> (Builder, u16) {
        site.write("where.wsgi", WHERE);
        site.write("questions.py", QUESTIONS);
        let site = site.path().display().to_string();
        let lines = RESTRICTED
            .replace("$/", &format!("{site}/"))
            .replace("$>", &format!("{site}>"));
        let builder = builder.line(format!("WSGIPythonHome {}", venv.display()));
        let options = format!("processes=1 threads=3 python-home={}", venv.display());
        (builder.daemon("main", &options).line(lines), 0)
    }
    judge(
        &[("-field expires", "", "an error of ours is not to be cached")],
        configured,
        |pair| {
            for path in [
                "/none",
                "/global",
                "/named/x",
                "/asked/x?allow",
                "/asked/x?deny",
            ] {
                ask(pair, path, path, "localhost", "");
            }
            pair.stale()
        },
    );
}

fn request(path: &str, host: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n")
}

fn ask(pair: &mut Pair, name: &str, path: &str, host: &str, headers: &str) {
    pair.raw(name, &request(path, host, headers));
}
