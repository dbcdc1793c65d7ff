//! Every form in which the configuration can name a script.

use std::os::unix::fs::symlink;

use wsgid_tests::{Httpd, Limit, Site, case, users};

use crate::script::SCRIPT;

/// Where the script is.
const SCRIPTS: &[&str] = &[
    "aliased.py",
    "directory/a.py",
    "matched/a.py",
    "handler.py",
    "questions.py",
    "docs/a.wsgi",
    "docs/index.wsgi",
    "docs/multi.wsgi.en",
    "wild/one/scripts/a.wsgi",
    "located/a.py",
    "located/deep/a.py",
    "files/only.py",
    "hta/a.py",
    "rewritten/a.py",
    "releases/42/a.py",
    "host/a.wsgi",
    "inside/a.py",
    "vhosts/localhost/a.wsgi",
];

/// One for each form.
const PATHS: &[&str] = &[
    "/aliased/x",
    "/directory/a.py/x",
    "/bare/a.py",
    "/matched/a",
    "/current/x",
    "/docs/a.wsgi/x",
    "/docs/",
    "/docs/multi",
    "/docs/thing.data",
    "/wild/one/scripts/a.wsgi",
    "/located/a.py",
    "/located/deep/a.py",
    "/files/only.py",
    "/hta/a.py",
    "/rewritten/x",
    "/included",
    "/macro",
    "/inside",
    "/if/a.py",
];

/// Each way in which a configuration can lead to a script, one URL each.
#[test]
fn whatever_the_configuration_names_runs() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        for name in SCRIPTS {
            site.write(name, SCRIPT);
        }
        symlink("releases/42", site.file("current")).expect("a link can be made");
        site.write(
            "hta/.htaccess",
            "Options +ExecCGI\nAddHandler wsgi-script .py\n",
        );
        site.write("docs/thing.data", "data");
        site.write(
            "included.conf",
            &format!(
                "WSGIScriptAlias /included {}\n",
                site.file("aliased.py").display()
            ),
        );
        let mut builder = Httpd::builder();
        let port = builder.another_port();
        let modules = [
            "rewrite",
            "dir",
            "negotiation",
            "mime",
            "actions",
            "vhost_alias",
            "macro",
            "authz_host",
        ];
        let builder = modules
            .iter()
            .fold(builder, |builder, module| builder.load(module));
        let lines = FORMS
            .replace('$', &site.path().display().to_string())
            .replace('@', &port.to_string())
            .replace('#', "$");
        let httpd = builder
            .daemon("site", "processes=1 threads=3")
            .line(lines)
            .start();
        for path in PATHS {
            let answer = httpd.get(path);
            assert_eq!(
                answer.status,
                200,
                "{path}: {}\n{}",
                answer.text(),
                httpd.error_log()
            );
            assert!(
                answer
                    .text()
                    .contains(&format!(" {}", nix::unistd::geteuid()))
                    || users::is_root(),
                "{path}"
            );
        }
        for host in ["host.example", "localhost"] {
            let request = wsgid_tests::Request::new("GET", "/a.wsgi").header("Host", host);
            let mut client = wsgid_tests::Client::new(([127, 0, 0, 1], port).into());
            assert_eq!(
                client.send(&request).expect("an answer").status,
                200,
                "{host}\n{}",
                httpd.error_log()
            );
        }
        assert!(
            !httpd.error_log().contains("may not run"),
            "{}",
            httpd.error_log()
        );
        httpd.stop();
    });
}

/// `$` is the site's directory, `#` a dollar, `@` a further port.
const FORMS: &str = "\
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /aliased $/aliased.py
<IfModule alias_module>
  <IfDefine !NOBODY_DEFINES_THIS>
    WSGIScriptAlias /directory/ $/directory/
  </IfDefine>
</IfModule>
Include $/included.conf
WSGIScriptAlias /bare $/directory
WSGIScriptAliasMatch ^/matched/([a-z]+) $/matched/#1.py
WSGIScriptAlias /current $/current/a.py
<Macro Mounted #path #script>
  WSGIScriptAlias #path #script
</Macro>
Use Mounted /macro $/aliased.py
<Directory $>
  Require all granted
</Directory>
Alias /docs $/docs
Alias /wild $/wild
Alias /located $/located
Alias /files $/files
Alias /hta $/hta
Alias /if $/located
<Location /inside>
  Alias $/inside/a.py
  SetHandler wsgi-script
  Options +ExecCGI
</Location>
<Directory $/docs>
  Options +ExecCGI +MultiViews
  MultiviewsMatch Handlers
  AddHandler wsgi-script .wsgi
  AddLanguage en .en
  DirectoryIndex index.wsgi
</Directory>
WSGIHandlerScript data-handler $/handler.py
AddHandler data-handler .data
<Directory $/wild/*/scripts>
  Options +ExecCGI
  SetHandler wsgi-script
</Directory>
<Location /located>
  Options +ExecCGI
  SetHandler wsgi-script
</Location>
<Files only.py>
  Options +ExecCGI
  SetHandler wsgi-script
</Files>
<If \"%{REQUEST_URI} =~ m#^/if/#\">
  Options +ExecCGI
  SetHandler wsgi-script
</If>
<Directory $/hta>
  AllowOverride FileInfo Options
</Directory>
RewriteEngine On
RewriteRule ^/rewritten/(.*) $/rewritten/a.py [H=wsgi-script]
<Directory $/rewritten>
  Options +ExecCGI
</Directory>
<VirtualHost *:@>
  ServerName host.example
  DocumentRoot $/host
  AddHandler wsgi-script .wsgi
  <Directory $/host>
    Options +ExecCGI
  </Directory>
</VirtualHost>
<VirtualHost *:@>
  ServerName localhost
  UseCanonicalName Off
  VirtualDocumentRoot $/vhosts/%0
  AddHandler wsgi-script .wsgi
  <Directory $/vhosts>
    Options +ExecCGI
  </Directory>
</VirtualHost>
";
