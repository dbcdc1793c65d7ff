//! Every directive: where it belongs, values that it takes and values that it refuses.

/// Where a directive may stand, in mod_wsgi's own table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The main server.
    Global,
    /// And virtual hosts.
    Server,
    /// And sections.
    Section,
    /// And `.htaccess` (FileInfo).
    FileInfo,
    /// Sections and `.htaccess` (AuthConfig), as AuthType.
    Auth,
}

use Place::{Auth, FileInfo, Global, Section, Server};

/// Directive, place, good values, bad values with a word that the error has.
/// `$` is a script's path.
type Row = (
    &'static str,
    Place,
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

const SWITCH: &[&str] = &["On", "off"];

const NO_SWITCH: &[(&str, &str)] = &[("maybe", "maybe"), ("", ""), ("On Off", "Off")];

const SCRIPT: &[&str] = &[
    "$",
    "$ application-group=a",
    "\"$\" process-group=site",
    "relative.wsgi",
];

const NO_SCRIPT: &[(&str, &str)] = &[
    ("", "missing"),
    ("$ colour=red", "colour"),
    ("$ process-group=", "needs a value"),
    ("$ word", "word"),
];

pub(crate) const ROWS: &[Row] = &[
    (
        "WSGIScriptAlias",
        Server,
        &[
            "/ $",
            "/a \"$\" process-group=site application-group=%{GLOBAL}",
            "/b $ callable-object=app pass-authorization=On",
            "/c/ /srv/wsgi/",
            "/d $ process-group=%{ENV:G}",
            "/e $ process-group= site",
            "a $",
            "/a $ process-group=missing",
        ],
        &[
            ("/a", "missing"),
            ("", "missing"),
            ("/a $ colour=red", "colour"),
            ("/a $ pass-authorization=perhaps", "perhaps"),
        ],
    ),
    (
        "WSGIScriptAliasMatch",
        Server,
        &["^/a/(.*) /srv/$1.wsgi", "^/b $ process-group=site"],
        &[("( $", "("), ("^/", "missing")],
    ),
    (
        "WSGIHandlerScript",
        Section,
        &["name $", "name $ process-group=site pass-authorization=On"],
        &[
            ("name", "missing"),
            ("name $ callable-object=x", "callable-object"),
        ],
    ),
    (
        "WSGIImportScript",
        Server,
        &[
            "$ process-group=site application-group=%{GLOBAL}",
            "$ process-group=%{GLOBAL} application-group=a",
            "$ process-group=site application-group=%{ENV:X}",
        ],
        &[
            ("$", "process-group"),
            ("$ process-group=site", "application-group"),
        ],
    ),
    ("WSGIDispatchScript", Section, SCRIPT, NO_SCRIPT),
    (
        "WSGICallableObject",
        FileInfo,
        &["app", "%{ENV:CALLABLE}"],
        &[("", "missing"), ("a b", "b")],
    ),
    (
        "WSGIDaemonProcess",
        Server,
        &[
            "other",
            "other processes=2 threads=15 display-name=%{GROUP}",
            "other home=/ lang='de_DE.UTF-8'",
            "other lang=\"\" locale=\"\" display-name=\"\" python-home=\"\" python-eggs=\"\" supplementary-groups=\"\"",
            "other group=root",
            "%{GLOBAL}",
        ],
        &[
            ("", "missing"),
            ("other threads=many", "many"),
            ("other threads=-1", "-1"),
            ("other colour=red", "colour"),
            ("other word", "word"),
            ("site threads=7", "other options"),
        ],
    ),
    (
        "WSGIProcessGroup",
        Section,
        &["site", "%{GLOBAL}", "%{ENV:GROUP}", "missing"],
        &[("", "missing"), ("a b", "b")],
    ),
    (
        "WSGIApplicationGroup",
        Section,
        &["a", "%{GLOBAL}", "%{SERVER}", "%{RESOURCE}"],
        &[("", "missing"), ("a b", "b")],
    ),
    (
        "WSGIRestrictProcess",
        Section,
        &["site", "site %{GLOBAL} other"],
        &[("", "missing")],
    ),
    (
        "WSGISocketPrefix",
        Global,
        &["run/x", "/tmp/wsgid-none/x"],
        &[("", "missing")],
    ),
    ("WSGISocketRotation", Global, SWITCH, NO_SWITCH),
    (
        "WSGIAcceptMutex",
        Global,
        &["default", "sysvsem", "pthread"],
        &[("nonsense", "nonsense"), ("", "missing")],
    ),
    ("WSGIRestrictEmbedded", Global, SWITCH, NO_SWITCH),
    (
        "WSGIPythonHome",
        Global,
        &["/usr", "\"/usr\""],
        &[("", "missing")],
    ),
    (
        "WSGIPythonPath",
        Global,
        &["/srv/a:/srv/b"],
        &[("", "missing")],
    ),
    ("WSGIPythonEggs", Global, &["/tmp"], &[("", "missing")]),
    (
        "WSGIPythonOptimize",
        Global,
        &["0", "1", "2", "3"],
        &[("x", "x")],
    ),
    (
        "WSGIPythonWarnings",
        Global,
        &["ignore", "error::DeprecationWarning"],
        &[("", "missing")],
    ),
    (
        "WSGIPythonHashSeed",
        Global,
        &["random", "0", "4294967295"],
        &[("4294967296", "4294967296"), ("-1", "-1")],
    ),
    ("WSGIDontWriteBytecode", Global, SWITCH, NO_SWITCH),
    (
        "WSGISwitchInterval",
        Global,
        &["0.005", "1"],
        &[("0", "0"), ("soon", "soon")],
    ),
    ("WSGIDestroyInterpreter", Global, SWITCH, NO_SWITCH),
    ("WSGIPerInterpreterGIL", Global, SWITCH, NO_SWITCH),
    ("WSGIFreeThreading", Global, SWITCH, NO_SWITCH),
    ("WSGIRestrictStdin", Global, SWITCH, NO_SWITCH),
    ("WSGIRestrictStdout", Global, SWITCH, NO_SWITCH),
    ("WSGIRestrictSignal", Global, SWITCH, NO_SWITCH),
    ("WSGICaseSensitivity", Global, SWITCH, NO_SWITCH),
    ("WSGIPassAuthorization", FileInfo, SWITCH, NO_SWITCH),
    ("WSGIScriptReloading", FileInfo, SWITCH, NO_SWITCH),
    ("WSGIChunkedRequest", FileInfo, SWITCH, NO_SWITCH),
    ("WSGIErrorOverride", FileInfo, SWITCH, NO_SWITCH),
    (
        "WSGIMapHEADToGET",
        FileInfo,
        &["On", "off", "AUTO"],
        &[("maybe", "maybe"), ("", "missing")],
    ),
    ("WSGIIgnoreActivity", FileInfo, SWITCH, NO_SWITCH),
    ("WSGIEnableSendfile", FileInfo, SWITCH, NO_SWITCH),
    ("WSGIPassApacheRequest", Section, SWITCH, NO_SWITCH),
    (
        "WSGITrustedProxyHeaders",
        FileInfo,
        &["X-Forwarded-For", "X-Real-IP X-Scheme", "X:Y", ""],
        &[],
    ),
    (
        "WSGITrustedProxies",
        FileInfo,
        &["10.0.0.0/8", "127.0.0.1 ::1 2001:db8::/32", ""],
        &[
            ("10.0.0.0/33", "10.0.0.0/33"),
            ("proxy.example", "proxy.example"),
        ],
    ),
    ("WSGIAccessScript", Auth, SCRIPT, NO_SCRIPT),
    ("WSGIAuthUserScript", Auth, SCRIPT, NO_SCRIPT),
    ("WSGIAuthGroupScript", Auth, SCRIPT, NO_SCRIPT),
    ("WSGIGroupAuthoritative", Auth, SWITCH, NO_SWITCH),
    ("WSGIServerMetrics", Global, SWITCH, NO_SWITCH),
    (
        "WSGITelemetryService",
        Global,
        &["unix:/run/x.sock", "unix:/run/x.sock interval=0.5"],
        &[
            ("tcp:1", "tcp:1"),
            ("unix:/x interval=0.1", "0.1"),
            ("unix:/x colour=red", "colour"),
        ],
    ),
    (
        "WSGISlowRequests",
        Global,
        &["0", "2.5"],
        &[("-1", "-1"), ("slow", "slow")],
    ),
    (
        "WSGITelemetryOptions",
        Global,
        &["None", "+CaptureUserAgent", "All"],
        &[("Everything", "Everything"), ("", "missing")],
    ),
    ("WSGIVerboseDebugging", Global, SWITCH, NO_SWITCH),
];

/// Ours, and those of mod_wsgi before version 6.
pub(crate) const OTHERS: &[Row] = &[
    (
        "WSGISupervisorExecutable",
        Global,
        &["/usr/sbin/wsgid"],
        &[("wsgid", "absolute"), ("", "missing")],
    ),
    (
        "WSGILogFormat",
        Global,
        &["text", "json", "JSON"],
        &[("yaml", "neither text nor json"), ("", "missing")],
    ),
    (
        "WSGIDaemonSocket",
        Global,
        &["/run/wsgid/httpd.sock"],
        &[("wsgid.sock", "absolute"), ("", "missing")],
    ),
    (
        "WSGILazyInitialization",
        Global,
        &["On", "Off"],
        &[("", "missing")],
    ),
    ("WSGIPy3kWarningFlag", Global, &["On"], &[("", "missing")]),
    (
        "WSGIReloadMechanism",
        FileInfo,
        &["Process", "Module"],
        &[("", "missing")],
    ),
    (
        "WSGINewRelicConfigFile",
        Global,
        &["/etc/newrelic.ini"],
        &[("", "missing")],
    ),
    (
        "WSGINewRelicEnvironment",
        Global,
        &["production"],
        &[("", "missing")],
    ),
];
