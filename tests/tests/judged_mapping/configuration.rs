//! The configuration that both servers get, and its scripts.

use std::path::Path;

use wsgid_tests::{Builder, Site};

/// Says where it runs, and as what.
pub(crate) const WHERE: &str = "\
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
pub(crate) const QUESTIONS: &str = "\
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

/// Where the script is that says where it runs.
const SCRIPTS: &[&str] = &[
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
];

/// The other files.
const FILES: &[(&str, &str)] = &[
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
];

pub(crate) fn configured(mut builder: Builder, site: &Site, venv: &Path) -> (Builder, u16) {
    let port = builder.another_port();
    for name in SCRIPTS {
        site.write(name, WHERE);
    }
    for (name, text) in FILES {
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

/// Nothing but questions may be answered where nobody names a group.
pub(crate) const RESTRICTED: &str = "\
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
