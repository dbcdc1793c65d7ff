//! How distributions and hosters lay configurations out: files that are included, sites of
//! many users, `.htaccess`, macros.

use crate::ask::{Ask, get};
use crate::harness::configuration;

#[test]
fn debian() {
    const ASKS: &[Ask] = &[
        get("/app/x").at("www.example.com").sees(&[
            "SCRIPT_NAME=/app",
            "mod_wsgi.process_group=example",
            "user=@USER@",
        ]),
        get("/").at("www.example.com").sees(&["the start page"]),
    ];
    configuration("debian")
        .file("etc/apache2/mods-enabled/wsgi.load", "LoadModule wsgi_module modules/mod_wsgi.so\n")
        .file(
            "etc/apache2/mods-enabled/wsgi.conf",
            "<IfModule mod_wsgi.c>\n    #WSGIPythonPath directory:directory-2\n    #WSGIPythonOptimize 2\n</IfModule>\n",
        )
        .file("etc/apache2/conf-enabled/security.conf", "ServerTokens OS\nServerSignature On\nTraceEnable Off\n")
        .file("etc/apache2/sites-enabled/000-default.conf", DEBIAN_SITE)
        .app("srv/www/app.wsgi", "")
        .answers(ASKS);
}

const DEBIAN_SITE: &str = "\
<VirtualHost *:@PORT@>
    ServerName www.example.com
    ServerAdmin webmaster@localhost
    DocumentRoot @ROOT@/var/www/html
    ErrorLog ${APACHE_LOG_DIR}/error.log
    CustomLog ${APACHE_LOG_DIR}/access.log combined
    <IfModule mod_wsgi.c>
        WSGIDaemonProcess example user=@USER@ group=@GROUP@ threads=5
        WSGIScriptAlias /app @ROOT@/srv/www/app.wsgi process-group=example
        <Directory @ROOT@/srv/www>
            Require all granted
        </Directory>
    </IfModule>
</VirtualHost>
";

#[test]
fn fedora() {
    const ASKS: &[Ask] = &[
        get("/site/shop/cart").sees(&[
            "SCRIPT_NAME=/site/shop",
            "PATH_INFO=/cart",
            "mod_wsgi.process_group=site",
        ]),
        get("/site/none").is(404).logs("WSGID0061"),
    ];
    let load = "# Only where no other one is there.\n<IfModule !wsgi_module>\n    LoadModule wsgi_module modules/mod_wsgi_python3.so\n</IfModule>\n";
    configuration("fedora")
        .file("etc/httpd/conf.modules.d/10-wsgi-python3.conf", load)
        .file(
            "etc/httpd/conf.d/site.conf",
            "WSGISocketPrefix run/wsgi\n<VirtualHost *:@PORT@>\nErrorLog logs/site_error_log\n\
             WSGIDaemonProcess site user=@USER@ group=@GROUP@ processes=2 threads=5\n\
             WSGIProcessGroup site\nWSGIScriptAlias /site/ \"@ROOT@/srv/site/\"\n\
             <Directory \"@ROOT@/srv/site\">\n    Require all granted\n</Directory>\n</VirtualHost>\n",
        )
        .app("srv/site/shop", "")
        .answers(ASKS);
}

#[test]
fn shared_hosting() {
    const ASKS: &[Ask] = &[
        get("/site.wsgi/direct").at("shop.example.net").sees(&[
            "SCRIPT_NAME=/site.wsgi",
            "PATH_INFO=/direct",
            "user=@USER@",
        ]),
        get("/pretty/path?a=b").at("shop.example.net").sees(&[
            "SCRIPT_NAME=/site.wsgi",
            "PATH_INFO=/pretty/path",
            "QUERY_STRING=a=b",
            "REQUEST_URI=/pretty/path?a=b",
            "mod_wsgi.process_group=customers",
        ]),
        get("/picture.txt")
            .at("shop.example.net")
            .sees(&["a picture"]),
        get("/sub/")
            .at("shop.example.net")
            .sees(&["SCRIPT_NAME=/sub/index.wsgi"]),
        get("/.htaccess").at("shop.example.net").is(403),
    ];
    configuration("shared-hosting")
        .app("srv/customers/shop/site.wsgi", "")
        .app("srv/customers/shop/sub/index.wsgi", "")
        .file("srv/customers/shop/picture.txt", "a picture\n")
        .file("srv/customers/shop/sub/.htaccess", "RewriteEngine Off\n")
        .file(
            "srv/customers/shop/.htaccess",
            "RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule ^(.*)$ site.wsgi/$1 [QSA,PT,L]\n\
             WSGIPassAuthorization On\nWSGIScriptReloading On\n",
        )
        .answers(ASKS);
}

#[test]
fn home_pages() {
    const ASKS: &[Ask] = &[
        get("/~ann/hello.wsgi/x").sees(&[
            "SCRIPT_NAME=/~ann/hello.wsgi",
            "PATH_INFO=/x",
            "user=@USER@",
            "mod_wsgi.process_group=ann",
        ]),
        get("/~bob/hello.wsgi").sees(&[
            "SCRIPT_NAME=/~bob/hello.wsgi",
            "user=@OTHER_USER@",
            "mod_wsgi.process_group=bob",
        ]),
        get("/~ann/page.txt").sees(&["a page"]),
    ];
    configuration("userdir")
        .app("home/ann/public_html/hello.wsgi", "")
        .app("home/bob/public_html/hello.wsgi", "")
        .file("home/ann/public_html/page.txt", "a page\n")
        .file(
            "home/bob/public_html/.htaccess",
            "WSGIPassAuthorization On\n",
        )
        .answers(ASKS);
}

#[test]
fn macros() {
    const ASKS: &[Ask] = &[
        get("/x").at("red.example.net").sees(&[
            "site=red",
            "user=@USER@",
            "group=@GROUP@",
            "mod_wsgi.process_group=red",
        ]),
        get("/x").at("green.example.net").sees(&[
            "site=green",
            "user=@OTHER_USER@",
            "mod_wsgi.process_group=green",
        ]),
        get("/x").at("blue.example.net").sees(&[
            "site=blue",
            "user=@HTTPD_USER@",
            "cwd=@ROOT@/srv/sites",
        ]),
    ];
    configuration("macros")
        .app("srv/sites/red.wsgi", "MORE['site'] = 'red'")
        .app("srv/sites/green.wsgi", "MORE['site'] = 'green'")
        .app("srv/sites/blue.wsgi", "MORE['site'] = 'blue'")
        .answers(ASKS);
}

#[test]
fn directories_of_scripts() {
    const ASKS: &[Ask] = &[
        get("/wsgi/one/x").sees(&["SCRIPT_NAME=/wsgi/one", "PATH_INFO=/x", "script=one"]),
        get("/wsgi/two").sees(&["SCRIPT_NAME=/wsgi/two", "PATH_INFO=", "script=two"]),
        get("/plain/three.py/y").sees(&[
            "SCRIPT_NAME=/plain/three.py",
            "PATH_INFO=/y",
            "script=three",
        ]),
        get("/wsgi/none").is(404).logs("WSGID0061"),
    ];
    configuration("directory-of-scripts")
        .app("usr/local/wsgi/scripts/one.wsgi", "MORE['script'] = 'one'")
        .app("usr/local/wsgi/scripts/two.wsgi", "MORE['script'] = 'two'")
        .app("usr/local/wsgi/plain/three.py", "MORE['script'] = 'three'")
        .answers(ASKS);
}

#[test]
fn behind_a_proxy() {
    const SAID: &[(&str, &str)] = &[
        ("X-Forwarded-For", "198.51.100.7"),
        ("X-Forwarded-Host", "www.example.com"),
        ("X-Forwarded-Proto", "https"),
        ("X-Script-Name", "/mounted"),
    ];
    const ASKS: &[Ask] = &[
        get("/cart").at("shop.example.com").with(SAID).sees(&[
            "REMOTE_ADDR=198.51.100.7",
            "wsgi.url_scheme=https",
            "HTTP_HOST=www.example.com",
            "SCRIPT_NAME=/mounted",
            "PATH_INFO=/cart",
        ]),
        get("/cart").at("other.example.com").with(SAID).sees(&[
            "REMOTE_ADDR=127.0.0.1",
            "wsgi.url_scheme=http",
            "HTTP_HOST=other.example.com",
            "SCRIPT_NAME=",
        ]),
    ];
    configuration("behind-a-proxy")
        .app("srv/shop/wsgi.py", "")
        .answers(ASKS);
}
