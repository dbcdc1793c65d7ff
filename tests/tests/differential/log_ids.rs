//! The ids of lines in the error log beside mod_wsgi's: what docs/failures.md says, asked of
//! both for all that needs no waiting.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use wsgid_tests::judge::{Side, judge};
use wsgid_tests::raw::exchange;
use wsgid_tests::{Builder, Site, until};

const SOON: Duration = Duration::from_secs(10);

/// A place, what stands there, and an id of mod_wsgi's and ours for a request to it. `$` is
/// the site, `@` the place.
const LINES: &[(&str, &str, &str, &str)] = &[
    (
        "/nosuch",
        "WSGIScriptAlias @ $/app.py process-group=nosuch",
        "WSGI0151",
        "WSGID0102",
    ),
    (
        "/none",
        "WSGIScriptAlias @ $/app.py",
        "WSGI0143",
        "WSGID0102",
    ),
    (
        "/listed",
        "WSGIScriptAlias @ $/app.py process-group=site\n<Location @>\nWSGIRestrictProcess other\n</Location>",
        "WSGI0149",
        "WSGID0103",
    ),
    (
        "/foreign",
        "<VirtualHost 192.0.2.1:81>\nServerName o\nWSGIDaemonProcess foreign\n</VirtualHost>\nWSGIScriptAlias @ $/app.py process-group=foreign",
        "WSGI0152",
        "WSGID0103",
    ),
    (
        "/missing",
        "WSGIScriptAlias @ $/missing.py process-group=site",
        "WSGI0135",
        "WSGID0061",
    ),
    (
        "/syntax",
        "WSGIScriptAlias @ $/syntax.py process-group=site",
        "WSGI0105",
        "WSGID0111",
    ),
    (
        "/import",
        "WSGIScriptAlias @ $/import.py process-group=site",
        "WSGI0109",
        "WSGID0111",
    ),
    (
        "/exits",
        "WSGIScriptAlias @ $/exits.py process-group=site",
        "WSGI0107",
        "WSGID0111",
    ),
    (
        "/empty",
        "WSGIScriptAlias @ $/empty.py process-group=site",
        "WSGI0089",
        "WSGID0112",
    ),
    (
        "/raises",
        "WSGIScriptAlias @ $/app.py process-group=site",
        "WSGI0174",
        "WSGID0113",
    ),
    (
        "/noexec/app.py",
        "Alias /noexec $\n<Location @>\nSetHandler wsgi-script\nWSGIProcessGroup site\n</Location>",
        "WSGI0134",
        "WSGID0060",
    ),
    (
        "/exact/x",
        "WSGIScriptAlias /exact $/app.py process-group=site\n<Location @>\nAcceptPathInfo Off\n</Location>",
        "WSGI0137",
        "WSGID0063",
    ),
    (
        "/denied",
        "WSGIScriptAlias @ $/app.py process-group=site\n<Location @>\nWSGIAccessScript $/deny.py\n</Location>",
        "WSGI0057",
        "WSGID0070",
    ),
    (
        "/access",
        "WSGIScriptAlias @ $/app.py process-group=site\n<Location @>\nWSGIAccessScript $/empty.py\n</Location>",
        "WSGI0056",
        "WSGID0112",
    ),
    (
        "/gone",
        "WSGIScriptAlias @ $/gone.py process-group=mortal application-group=%{GLOBAL}",
        "WSGI0147",
        "WSGID0120",
    ),
];

const SCRIPTS: &[(&str, &str)] = &[
    (
        "app.py",
        "def application(environ, start_response):\n    raise RuntimeError('meant')\n",
    ),
    ("syntax.py", "def application(:\n"),
    ("import.py", "import no_such_module_anywhere\n"),
    ("exits.py", "raise SystemExit(2)\n"),
    ("empty.py", "x = 1\n"),
    (
        "deny.py",
        "def allow_access(environ, host):\n    return False\n",
    ),
    (
        "gone.py",
        "import os\ndef application(environ, start_response):\n    os._exit(3)\n",
    ),
];

#[test]
fn lines_of_the_log_have_these_ids() {
    judge(&[], configured, |pair| {
        let mut wrong = Vec::new();
        for (path, _, theirs, ours) in LINES {
            for (side, id) in [(&pair.theirs, theirs), (&pair.ours, ours)] {
                if let Err(found) = logs(side, path, id) {
                    wrong.push(format!("{path}: no {id} in {found:?}"));
                }
            }
        }
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/failures.md");
        let page = std::fs::read_to_string(page).expect("the page is there");
        let rows = LINES.iter().filter(|(_, _, theirs, ours)| {
            !page
                .lines()
                .any(|row| row.starts_with(&format!("| {ours} |")) && row.contains(theirs))
        });
        wrong.extend(
            rows.map(|row| format!("docs/failures.md does not say {} of {}", row.2, row.3)),
        );
        wrong
    });
}

fn configured(builder: Builder, site: &Site, venv: &Path) -> (Builder, u16) {
    for (name, text) in SCRIPTS {
        site.write(name, text);
    }
    let root = site.path().display().to_string();
    let options = format!("processes=1 threads=5 python-home={}", venv.display());
    let mut builder = builder
        .line("WSGIRestrictEmbedded On")
        .line(format!(
            "<Directory {root}>\nRequire all granted\n</Directory>"
        ))
        .daemon("site", &options)
        .daemon("mortal", &options);
    for (path, lines, _, _) in LINES {
        builder = builder.line(lines.replace('@', path).replace('$', &root));
    }
    (builder, 0)
}

/// Whether a request makes a line with this id; otherwise the ids that it makes.
fn logs(side: &Side, path: &str, id: &str) -> Result<(), BTreeSet<String>> {
    let before = side.httpd.error_log().len();
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let _ = exchange(side.httpd.address(), request, SOON);
    let new = || {
        side.httpd
            .error_log()
            .get(before..)
            .unwrap_or_default()
            .to_owned()
    };
    let found = until(SOON, || new().contains(&format!("{id}: ")).then_some(()));
    found.ok_or_else(|| {
        let log = new();
        let words = log
            .split_whitespace()
            .filter(|word| word.starts_with("WSGI"));
        words.map(str::to_owned).collect()
    })
}
