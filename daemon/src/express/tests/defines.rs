//! Every flag and variable of mod_wsgi-express is defined by the options that its row
//! says, and no flag is without a row.

use std::collections::BTreeSet;

use super::table::{AUTH, FILE, TLS};
use super::{generated, plan};
use crate::express::defines;

/// A flag, and what defines it.
type Row = (&'static str, &'static [&'static str]);

const PROXY: &[&str] = &["--proxy-mount-point", "/p", "http://127.0.0.1:9/"];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("MOD_WSGI_ACCESS_LOG", &["--access-log"]),
    ("MOD_WSGI_ALLOW_LOCALHOST", &["--allow-localhost"]),
    ("MOD_WSGI_AUTH_GROUP", &["--auth-user-script", FILE, "--auth-group-script", FILE]),
    ("MOD_WSGI_AUTH_USER", AUTH),
    ("MOD_WSGI_CERTIFICATE_CHAIN", &["--ssl-certificate-chain-file", FILE]),
    ("MOD_WSGI_CGID_SCRIPT", &["--with-cgi"]),
    ("MOD_WSGI_CGI_SCRIPT", &["--with-cgi", "--server-mpm", "prefork"]),
    ("MOD_WSGI_CHUNKED_REQUEST", &["--chunked-request"]),
    ("MOD_WSGI_COMPRESS_RESPONSES", &["--compress-responses"]),
    ("MOD_WSGI_DIRECTORY_INDEX", &["--directory-index", "a.html"]),
    ("MOD_WSGI_DIRECTORY_LISTING", &["--directory-listing"]),
    ("MOD_WSGI_DISABLE_RELOADING", &["--disable-reloading"]),
    ("MOD_WSGI_ENABLE_SENDFILE", &["--enable-sendfile"]),
    ("MOD_WSGI_ERROR_LOG_FORMAT", &["--error-log-format", "%M"]),
    ("MOD_WSGI_ERROR_OVERRIDE", &["--error-override"]),
    ("MOD_WSGI_HOST_ACCESS", &["--host-access-script", FILE]),
    ("MOD_WSGI_HSTS_POLICY", &["--hsts-policy", "max-age=5"]),
    ("MOD_WSGI_HTTPS_ONLY", &["--https-only"]),
    ("MOD_WSGI_MPM_ENABLE_PREFORK_MODULE", &["--server-mpm", "prefork"]),
    ("MOD_WSGI_MPM_ENABLE_WORKER_MODULE", &["--server-mpm", "worker"]),
    ("MOD_WSGI_MULTIPROCESS", &["--processes", "1"]),
    ("MOD_WSGI_REDIRECT_WWW", &["--server-name", "www.example.com"]),
    ("MOD_WSGI_ROTATE_LOGS", &["--rotate-logs", "--rotatelogs-executable", FILE]),
    ("MOD_WSGI_SERVER_ALIAS", &["--server-alias", "a.example"]),
    ("MOD_WSGI_SERVER_METRICS", &["--server-metrics"]),
    ("MOD_WSGI_SERVER_METRICS", &["--server-status"]),
    ("MOD_WSGI_SERVER_STATUS", &["--server-status"]),
    ("MOD_WSGI_SLOW_REQUESTS", &["--slow-requests", "2"]),
    ("MOD_WSGI_SSL_ENVIRONMENT", &["--ssl-environment"]),
    ("MOD_WSGI_STATIC_ONLY", &["--application-type", "static"]),
    ("MOD_WSGI_SWITCH_INTERVAL", &["--switch-interval", "0.01"]),
    ("MOD_WSGI_TELEMETRY_OPTIONS", &["--telemetry-options", "+CaptureUserAgent"]),
    ("MOD_WSGI_TELEMETRY_SERVICE", &["--telemetry-service", "unix:/run/t"]),
    ("MOD_WSGI_VERIFY_CLIENT", &["--ssl-ca-certificate-file", FILE]),
    ("MOD_WSGI_VIRTUAL_HOST", &["--server-name", "example.com"]),
    ("MOD_WSGI_WITH_HTTP2", &["--http2"]),
    ("MOD_WSGI_WITH_HTTPS", TLS),
    ("MOD_WSGI_WITH_LISTENER_HOST", &["--host", "127.0.0.1"]),
    ("MOD_WSGI_WITH_PROXY", PROXY),
    ("MOD_WSGI_WITH_PROXY", &["--proxy-virtual-host", "a.example", "http://127.0.0.1:9"]),
    ("MOD_WSGI_WITH_PROXY_HEADERS", &["--trust-proxy-header", "X-Forwarded-For"]),
    ("MOD_WSGI_WITH_PYTHON_PATH", &["--python-path", "/usr"]),
    ("MOD_WSGI_WITH_SOCKET_PREFIX", &["--socket-prefix", "/run/x"]),
    ("MOD_WSGI_WITH_TRUSTED_PROXIES", &["--trust-proxy", "127.0.0.1"]),
    ("ORPHAN_INTERPRETER", &["--orphan-interpreter"]),
];

/// Those that are defined where no option says otherwise, and what says so.
#[rustfmt::skip]
const ALWAYS: &[Row] = &[
    ("MOD_WSGI_IMPORT_HANDLER_SCRIPT", &["--application-type", "static"]),
    ("MOD_WSGI_KEEP_ALIVE", &["--keep-alive-timeout", "0"]),
    ("MOD_WSGI_MPM_ENABLE_EVENT_MODULE", &["--server-mpm", "worker"]),
    ("MOD_WSGI_MPM_EXISTS_EVENT_MODULE", &["--server-mpm", "worker"]),
    ("MOD_WSGI_MPM_EXISTS_PREFORK_MODULE", &["--server-mpm", "worker"]),
    ("MOD_WSGI_MPM_EXISTS_WORKER_MODULE", &["--server-mpm", "prefork"]),
];

fn defines(text: &str, name: &str) -> bool {
    text.contains(&format!("\nDefine {name}\n"))
}

#[test]
fn every_flag_is_defined_by_its_option() {
    let plain = generated(&[]);
    for (name, options) in ROWS {
        assert!(
            !defines(&plain, name),
            "{name} is defined without {options:?}"
        );
        assert!(defines(&generated(options), name), "{name}: {options:?}");
    }
    for (name, options) in ALWAYS {
        assert!(defines(&plain, name), "{name}");
        assert!(!defines(&generated(options), name), "{name}: {options:?}");
    }
}

#[test]
fn no_flag_is_without_a_row() {
    let known: BTreeSet<String> = defines::known(&plan(&[]).unwrap(), false)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let rows = ROWS.iter().chain(ALWAYS);
    let rows: BTreeSet<String> = rows.map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(known, rows);
}

#[test]
fn variables_say_how_the_server_was_set_up() {
    let directory = std::env::current_dir().unwrap();
    let directory = directory.display().to_string();
    let modules = plan(&[]).unwrap().httpd.modules.display().to_string();
    let rows = [
        ("MOD_WSGI_SERVER_ROOT", "/srv/server", "/srv/server", ""),
        (
            "MOD_WSGI_WORKING_DIRECTORY",
            &directory,
            "/usr",
            "--working-directory /usr",
        ),
        ("MOD_WSGI_MODULES_DIRECTORY", &modules, &modules, ""),
        (
            "MOD_WSGI_LISTENER_HOST",
            "localhost",
            "127.0.0.1",
            "--host 127.0.0.1",
        ),
        ("MOD_WSGI_HTTP_PORT", "8000", "8123", "--port 8123"),
        ("MOD_WSGI_HTTPS_PORT", "None", "8443", "--https-port 8443"),
    ];
    let plain = generated(&[]);
    for (name, usual, other, option) in rows {
        let given: Vec<&str> = option.split_whitespace().collect();
        for (text, value) in [(&plain, usual), (&generated(&given), other)] {
            assert!(
                text.contains(&format!("Define {name} \"{value}\"")),
                "{name}:\n{text}"
            );
            assert!(
                text.contains(&format!("export {name}='{value}'")),
                "{name}:\n{text}"
            );
        }
    }
    let account = plan(&[]).unwrap().account;
    for (name, value) in [
        ("MOD_WSGI_USER", &account.user),
        ("MOD_WSGI_RUN_USER", &account.user),
        ("MOD_WSGI_GROUP", &account.group),
        ("MOD_WSGI_RUN_GROUP", &account.group),
    ] {
        assert!(
            plain.contains(&format!("Define {name} \"{value}\"")),
            "{name}"
        );
        assert!(
            plain.contains(&format!("export {name}='{value}'")),
            "{name}"
        );
    }
}
