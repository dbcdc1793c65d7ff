//! Every option of mod_wsgi-express, and ours, is accepted and has the effect
//! that its row says. No option is without a row.

use std::collections::BTreeSet;

use clap::CommandFactory;

use super::{Line, generated};

/// A file that exists everywhere, where an option needs one.
pub(super) const FILE: &str = "/etc/passwd";
const DIRECTORY: &str = "/usr";

/// Option, its values, further arguments it needs, what must appear then.
pub(super) type Row = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
);

pub(super) const TLS: &[&str] = &[
    "--https-port",
    "8443",
    "--ssl-certificate-file",
    FILE,
    "--ssl-certificate-key-file",
    FILE,
];
const SERVICE: &[&str] = &["--service-script", "tick", FILE];
pub(super) const AUTH: &[&str] = &["--auth-user-script", FILE];

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    // Application.
    ("application-type", &["module"], &["my.site"], "\"type\": \"module\""),
    ("entry-point", &[FILE], &[], "\"entry\": \"/etc/passwd\""),
    ("callable-object", &["app"], &[], "\"callable\": \"app\""),
    ("application-group", &["other"], &[], "application-group=other"),
    ("process-group", &["mine"], &[], "WSGIDaemonProcess \"mine\" "),
    ("mount-point", &["/sub"], &[], "RewriteCond %{REQUEST_URI} \"^/sub(/|$)\""),
    ("working-directory", &[DIRECTORY], &[], " home=/usr "),
    ("map-head-to-get", &["Off"], &[], "WSGIMapHEADToGET Off"),
    // Network.
    ("host", &["127.0.0.1"], &[], "Listen 127.0.0.1:8000"),
    ("port", &["8123"], &[], "Listen 8123"),
    ("http2", &[], &[], "Protocols h2 h2c http/1.1"),
    ("enable-http2", &[], &[], "Protocols h2 h2c http/1.1"),
    ("server-name", &["www.example.com"], &[], "RewriteRule ^ http://www.example.com:8000%{REQUEST_URI} [R=301"),
    ("server-alias", &["*.example.com"], &["--server-name", "example.com"], "ServerAlias \"*.example.com\""),
    ("allow-localhost", &[], &["--server-name", "example.com"], "    ServerName \"localhost\""),
    ("keep-alive-timeout", &["7"], &[], "KeepAliveTimeout 7"),
    ("server-backlog", &["77"], &[], "ListenBacklog 77"),
    ("daemon-backlog", &["78"], &[], "listen-backlog=78"),
    ("limit-request-body", &["79"], &[], "LimitRequestBody 79"),
    ("chunked-request", &[], &[], "WSGIChunkedRequest On"),
    ("socket-prefix", &["/run/x"], &[], "WSGISocketPrefix \"/run/x\""),
    ("send-buffer-size", &["600"], &[], "send-buffer-size=600"),
    ("receive-buffer-size", &["601"], &[], "receive-buffer-size=601"),
    ("header-buffer-size", &["9000"], &[], "header-buffer-size=9000"),
    ("response-buffer-size", &["70000"], &[], "response-buffer-size=70000"),
    ("response-flush-delay", &["9"], &[], "response-flush-delay=9"),
    ("compress-responses", &[], &[], "AddOutputFilterByType DEFLATE"),
    ("enable-sendfile", &[], &[], "WSGIEnableSendfile On"),
    // HTTPS.
    ("https-port", &["8443"], &["--ssl-certificate-file", FILE, "--ssl-certificate-key-file", FILE], "Listen 8443 https"),
    ("ssl-port", &["8444"], &["--ssl-certificate-file", FILE, "--ssl-certificate-key-file", FILE], "<VirtualHost *:8444>"),
    ("ssl-certificate-file", &[FILE], &["--https-port", "1", "--ssl-certificate-key-file", FILE], "SSLCertificateFile \"/etc/passwd\""),
    ("ssl-certificate-key-file", &[FILE], &["--https-port", "1", "--ssl-certificate-file", FILE], "SSLCertificateKeyFile \"/etc/passwd\""),
    ("ssl-certificate-chain-file", &[FILE], TLS, "SSLCertificateChainFile \"/etc/passwd\""),
    ("ssl-ca-certificate-file", &[FILE], TLS, "SSLVerifyClient require"),
    ("ssl-verify-client", &["/admin"], &["--https-port", "1", "--ssl-certificate-file", FILE, "--ssl-certificate-key-file", FILE, "--ssl-ca-certificate-file", FILE], "<Location \"/admin\">"),
    ("ssl-environment", &[], TLS, "SSLOptions +StdEnvVars"),
    ("https-only", &[], TLS, "RewriteRule ^ https://%{SERVER_NAME}:8443%{REQUEST_URI}"),
    ("hsts-policy", &["max-age=5"], TLS, "Strict-Transport-Security \"max-age=5\""),
    // Processes.
    ("processes", &["3"], &[], " processes=3 "),
    ("threads", &["9"], &[], " threads=9 "),
    ("max-clients", &["41"], &[], "MaxRequestWorkers 41"),
    ("initial-workers", &["1.0"], &["--max-clients", "200"], "StartServers 2"),
    ("minimum-spare-workers", &["0.5"], &["--max-clients", "42"], "MinSpareThreads 21"),
    ("maximum-spare-workers", &["1.0"], &["--max-clients", "500"], "MaxSpareThreads 500"),
    ("server-mpm", &["prefork"], &[], "LoadModule mpm_prefork_module"),
    ("embedded-mode", &[], &[], "there is no embedded mode"),
    ("switch-interval", &["0.01"], &[], "switch-interval=0.01"),
    ("free-threading", &[], &[], "--free-threading: "),
    ("orphan-interpreter", &[], &[], "--orphan-interpreter: "),
    // Timeouts.
    ("maximum-requests", &["11"], &[], "maximum-requests=11"),
    ("startup-timeout", &["12"], &[], "startup-timeout=12"),
    ("shutdown-timeout", &["13"], &[], "shutdown-timeout=13"),
    ("restart-interval", &["14"], &[], "restart-interval=14"),
    ("cpu-time-limit", &["16"], &[], "cpu-time-limit=16"),
    ("graceful-timeout", &["17"], &[], "graceful-timeout=17"),
    ("eviction-timeout", &["18"], &[], "eviction-timeout=18"),
    ("deadlock-timeout", &["19"], &[], "deadlock-timeout=19"),
    ("inactivity-timeout", &["20"], &[], "inactivity-timeout=20"),
    ("ignore-activity", &["/health"], &[], "<Location \"/health\">\n    WSGIIgnoreActivity On"),
    ("request-timeout", &["21"], &[], "request-timeout=21"),
    ("interrupt-timeout", &["22"], &[], "interrupt-timeout=22"),
    ("connect-timeout", &["23"], &[], "connect-timeout=23"),
    ("socket-timeout", &["24"], &[], "Timeout 24\n"),
    ("response-socket-timeout", &["25"], &[], "response-socket-timeout=25"),
    ("proxy-timeout", &["26"], &["--proxy-mount-point", "/p", "http://127.0.0.1:9/"], "timeout=26"),
    ("queue-timeout", &["27"], &[], "queue-timeout=27"),
    ("header-timeout", &["28"], &[], "header=28-30,MinRate=500"),
    ("header-max-timeout", &["29"], &[], "header=15-29,MinRate=500"),
    ("header-min-rate", &["31"], &[], "header=15-30,MinRate=31"),
    ("body-timeout", &["32"], &[], "body=32,MinRate=500"),
    ("body-max-timeout", &["33"], &[], "body=15-33,MinRate=500"),
    ("body-min-rate", &["34"], &[], "body=15,MinRate=34"),
    // Probes and deployments.
    ("health-path", &["/health"], &[], "<Location \"/health\">\n    SetHandler wsgid-health"),
    ("ready-file", &["/run/x/ready"], &[], "Ready file    : /run/x/ready"),
    ("isolation", &["private"], &[], " isolation=private "),
    ("isolation-fallback", &[], &[], " isolation-fallback=On"),
    ("private-tmp", &["Off"], &[], " private-tmp=Off"),
    ("protect-system", &["Off"], &[], " protect-system=Off"),
    ("protect-home", &["Off"], &[], " protect-home=Off"),
    ("private-devices", &["Off"], &[], " private-devices=Off"),
    ("protect-proc", &["Off"], &[], " protect-proc=Off"),
    ("read-write-paths", &["/srv/a:/srv/b"], &[], " read-write-paths=/srv/a:/srv/b"),
    ("read-only-paths", &["/srv/c"], &[], " read-only-paths=/srv/c"),
    ("inaccessible-paths", &["/srv/d"], &[], " inaccessible-paths=/srv/d"),
    ("restrict-address-families", &["unix"], &[], " restrict-address-families=unix"),
    ("connect-ports", &["443"], &[], " connect-ports=443"),
    ("allow-system-calls", &["ptrace"], &[], " allow-system-calls=ptrace"),
    ("drain-delay", &["7"], &[], "serves on for 7 s after SIGTERM"),
    ("keep-going", &[], &[], "serves on if it fails to load"),
    // Files and URLs.
    ("document-root", &[DIRECTORY], &[], "DocumentRoot \"/usr\""),
    ("directory-index", &["main.html"], &[], "DirectoryIndex \"main.html\""),
    ("directory-listing", &[], &[], "Options FollowSymLinks Indexes"),
    ("allow-override", &["AuthConfig"], &[], "AllowOverride AuthConfig"),
    ("url-alias", &["/static", DIRECTORY], &[], "Alias \"/static\" \"/usr\""),
    ("error-document", &["404", "/gone.html"], &[], "ErrorDocument 404 \"/gone.html\""),
    ("error-override", &[], &[], "WSGIErrorOverride On"),
    ("rewrite-rules", &[FILE], &[], "Include \"/etc/passwd\""),
    ("add-handler", &["md", FILE], &[], "AddHandler \"wsgi-resource-0\" \".md\""),
    ("with-cgi", &[], &[], "AddHandler cgi-script .cgi"),
    ("with-php5", &[], &[], "--with-php5: "),
    ("mime-types", &[FILE], &[], "TypesConfig \"/etc/passwd\""),
    ("proxy-mount-point", &["/p", "http://127.0.0.1:9/"], &[], "ProxyPass \"/p\" \"http://127.0.0.1:9/\""),
    ("proxy-url-alias", &["/q", "http://127.0.0.1:9/"], &[], "ProxyPass \"/q\" \"http://127.0.0.1:9/\""),
    ("proxy-virtual-host", &["a.example", "http://127.0.0.1:9"], &[], "ProxyPass \"/\" \"http://127.0.0.1:9/\""),
    ("enable-docs", &[], &[], "--enable-docs: "),
    // Access.
    ("trust-proxy-header", &["X-Forwarded-For"], &[], "WSGITrustedProxyHeaders X-Forwarded-For"),
    ("trust-proxy", &["127.0.0.1"], &[], "WSGITrustedProxies 127.0.0.1"),
    ("host-access-script", &[FILE], &[], "WSGIAccessScript \"/etc/passwd\""),
    ("auth-user-script", &[FILE], &[], "WSGIAuthUserScript \"/etc/passwd\""),
    ("auth-type", &["Digest"], AUTH, "AuthDigestProvider wsgi"),
    ("auth-group-script", &[FILE], AUTH, "Require wsgi-group \"wsgi\""),
    ("auth-group", &["staff"], &["--auth-user-script", FILE, "--auth-group-script", FILE], "Require wsgi-group \"staff\""),
    // Logs.
    ("log-directory", &["/var/log/x"], &[], "ErrorLog \"/var/log/x/error_log\""),
    ("log-level", &["info wsgi:debug"], &[], "LogLevel info wsgi:debug"),
    ("log-to-terminal", &[], &[], "ErrorLog \"/dev/stderr\""),
    ("access-log", &[], &[], "CustomLog \"/srv/server/access_log\" \"common\""),
    ("access-log-format", &["combined"], &["--access-log"], "access_log\" \"combined\""),
    ("access-log-name", &["hits"], &["--access-log"], "CustomLog \"/srv/server/hits\""),
    ("error-log-format", &["[%t] %M"], &[], "ErrorLogFormat \"[%t] %M\""),
    ("error-log-name", &["problems"], &[], "ErrorLog \"/srv/server/problems\""),
    ("startup-log", &[], &[], "Startup log   : /srv/server/startup_log"),
    ("startup-log-name", &["begin"], &["--startup-log"], "Startup log   : /srv/server/begin"),
    ("rotate-logs", &[], &["--rotatelogs-executable", FILE], "ErrorLog \"|'/etc/passwd' -L '/srv/server/error_log'"),
    ("max-log-size", &["9"], &["--rotate-logs", "--rotatelogs-executable", FILE], "%S' 9M\""),
    ("rotatelogs-executable", &[FILE], &["--rotate-logs"], "\"|'/etc/passwd'"),
    ("verbose-debugging", &[], &[], "--verbose-debugging: "),
    // Development.
    ("disable-reloading", &[], &[], "WSGIScriptReloading Off"),
    ("reload-on-changes", &[], &[], "\"reload_on_changes\": true"),
    ("debug-mode", &[], &["--threads", "9"], " threads=1 "),
    ("enable-debugger", &[], &[], "\"debugger\": true"),
    ("debugger-startup", &[], &[], "\"debugger_startup\": true"),
    ("enable-coverage", &[], &[], "\"coverage\": \"/srv/server/htmlcov\""),
    ("coverage-directory", &["/x/cov"], &["--enable-coverage"], "\"coverage\": \"/x/cov\""),
    ("enable-profiler", &[], &[], "\"profiler\": \"/srv/server/pstats\""),
    ("profiler-directory", &["/x/prof"], &["--enable-profiler"], "\"profiler\": \"/x/prof\""),
    ("enable-recorder", &[], &[], "\"recorder\": \"/srv/server/archive\""),
    ("recorder-directory", &["/x/rec"], &["--enable-recorder"], "\"recorder\": \"/x/rec\""),
    ("enable-gdb", &[], &["--gdb-executable", FILE], "GDB='/etc/passwd'"),
    ("gdb-executable", &[FILE], &["--enable-gdb"], "GDB='/etc/passwd'"),
    ("setup-only", &[], &[], "ServerRoot"),
    ("isatty", &[], &[], "ServerRoot"),
    // Metrics.
    ("server-metrics", &[], &[], "server-metrics=On"),
    ("server-status", &[], &[], "SetHandler server-status"),
    ("telemetry-service", &["unix:/run/t"], &[], "WSGITelemetryService \"unix:/run/t\" interval=1"),
    ("enable-telemetry", &[], &[], "--enable-telemetry: "),
    ("telemetry-ui-port", &["9999"], &[], "ServerRoot"),
    ("telemetry-interval", &["2.5"], &["--telemetry-service", "unix:/run/t"], "interval=2.5"),
    ("slow-requests", &["1.5"], &[], "WSGISlowRequests 1.5"),
    ("telemetry-options", &["+CaptureUserAgent"], &[], "WSGITelemetryOptions +CaptureUserAgent"),
    // Users, Python and environment.
    ("user", &["nobody"], &["--group", "#65534"], "nobody"),
    ("group", &["#65534"], &["--user", "nobody"], "#65534"),
    ("python-home", &["/usr"], &[], "WSGIPythonHome \"/usr\""),
    ("python-path", &[DIRECTORY], &[], "python-path=/usr"),
    ("python-eggs", &["/x/eggs"], &[], "python-eggs=/x/eggs"),
    ("python-warnings", &["error"], &[], "WSGIPythonWarnings \"error\""),
    ("lang", &["de_DE.UTF-8"], &[], " lang=de_DE.UTF-8 "),
    ("locale", &["fr_FR.UTF-8"], &[], " locale=fr_FR.UTF-8 "),
    ("setenv", &["A", "b c"], &[], "SetEnv \"A\" \"b c\""),
    ("passenv", &["PATH"], &[], "PassEnv \"PATH\""),
    ("service-script", &["tick", FILE], &[], "WSGIImportScript \"/etc/passwd\" process-group=service:tick"),
    ("service-user", &["tick", "nobody"], SERVICE, " user=nobody "),
    ("service-group", &["tick", "nogroup"], SERVICE, " group=nogroup "),
    ("service-log-file", &["tick", "/x/tick.log"], SERVICE, "ErrorLog \"/x/tick.log\""),
    ("include-file", &[FILE], &[], "Include \"/etc/passwd\""),
    ("envvars-script", &[FILE], &[], "ENVVARS='/etc/passwd'"),
    ("server-root", &["/srv/server"], &[], "ServerRoot \"/srv/server\""),
    ("pid-file", &["/run/x.pid"], &[], "PidFile \"/run/x.pid\""),
    ("process-name", &["my server"], &[], "NAME='my server'"),
    ("shell-executable", &["/bin/dash"], &[], "#!/bin/dash"),
    ("httpd-executable", &["/usr/sbin/apache2"], &[], "HTTPD='/usr/sbin/apache2'"),
    ("modules-directory", &["/usr/lib/apache2/modules"], &[], "\"/usr/lib/apache2/modules/mod_alias.so\""),
];

#[test]
fn every_option_has_its_effect() {
    let mut failed = Vec::new();
    for (name, values, more, expected) in ROWS {
        let option = format!("--{name}");
        let mut arguments: Vec<&str> = vec![&option];
        arguments.extend(*values);
        arguments.extend(*more);
        if *name == "server-root" {
            arguments.clear();
        }
        let text = generated(&arguments);
        if !text.contains(expected) {
            failed.push(format!("{arguments:?} does not give `{expected}`:\n{text}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_effect_needs_its_option() {
    let plain = generated(&[]);
    let always = ["ServerRoot", "there is no embedded mode"];
    for (name, _, _, expected) in ROWS {
        let own = [
            "server-root",
            "python-home",
            "user",
            "group",
            "httpd-executable",
            "modules-directory",
            "http2",
            "enable-http2",
        ];
        if !always.contains(expected) && !own.contains(name) {
            assert!(
                !plain.contains(expected),
                "`{expected}` is there without --{name}"
            );
        }
    }
}

#[test]
fn no_option_is_without_a_row() {
    let command = Line::command();
    let mut known = BTreeSet::new();
    for argument in command.get_arguments() {
        known.extend(argument.get_long().map(str::to_owned));
        known.extend(
            argument
                .get_all_aliases()
                .unwrap_or_default()
                .into_iter()
                .map(str::to_owned),
        );
    }
    let mut rows: BTreeSet<String> = ROWS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    // Needs files of its own: `effects::a_stem_names_certificate_and_key`.
    rows.insert("ssl-certificate".to_owned());
    let differs: Vec<&String> = known.symmetric_difference(&rows).collect();
    assert!(differs.is_empty(), "in one only: {differs:?}");
    for ours in [
        "enable-http2",
        "python-home",
        "health-path",
        "ready-file",
        "drain-delay",
        "keep-going",
        "isolation",
        "isolation-fallback",
        "private-tmp",
        "protect-system",
        "protect-home",
        "private-devices",
        "protect-proc",
        "read-write-paths",
        "read-only-paths",
        "inaccessible-paths",
        "restrict-address-families",
        "connect-ports",
        "allow-system-calls",
    ] {
        assert!(rows.remove(ours), "{ours}");
    }
    assert_eq!(
        rows.len(),
        153,
        "mod_wsgi-express has so many option strings"
    );
}
