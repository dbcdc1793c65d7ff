//! The table of directives against the list of mod_wsgi's, and its printed form.

use std::fmt::Write as _;
use std::path::Path;

use crate::directives::{DirectiveScope, Effect, TABLE};

/// The 49 of mod_wsgi 6.
const OF_MOD_WSGI: &str = "\
    WSGIAcceptMutex WSGIAccessScript WSGIApplicationGroup WSGIAuthGroupScript WSGIAuthUserScript WSGICallableObject \
    WSGICaseSensitivity WSGIChunkedRequest WSGIDaemonProcess WSGIDestroyInterpreter WSGIDispatchScript \
    WSGIDontWriteBytecode WSGIEnableSendfile WSGIErrorOverride WSGIFreeThreading WSGIGroupAuthoritative \
    WSGIHandlerScript WSGIIgnoreActivity WSGIImportScript <WSGIInterpreterOptions WSGIMapHEADToGET \
    WSGIPassApacheRequest WSGIPassAuthorization WSGIPerInterpreterGIL WSGIProcessGroup WSGIPythonEggs \
    WSGIPythonHashSeed WSGIPythonHome WSGIPythonOptimize WSGIPythonPath WSGIPythonWarnings WSGIRestrictEmbedded \
    WSGIRestrictProcess WSGIRestrictSignal WSGIRestrictStdin WSGIRestrictStdout WSGIScriptAlias WSGIScriptAliasMatch \
    WSGIScriptReloading WSGIServerMetrics WSGISlowRequests WSGISocketPrefix WSGISocketRotation WSGISwitchInterval \
    WSGITelemetryOptions WSGITelemetryService WSGITrustedProxies WSGITrustedProxyHeaders WSGIVerboseDebugging";

fn name(directive: &super::Directive) -> &'static str {
    directive.name.to_str().unwrap()
}

#[test]
fn every_directive_of_mod_wsgi_is_there_once() {
    let wanted: Vec<&str> = OF_MOD_WSGI.split_whitespace().collect();
    assert_eq!(wanted.len(), 49);
    for directive in &wanted {
        assert_eq!(
            TABLE.iter().filter(|row| name(row) == *directive).count(),
            1,
            "{directive}"
        );
    }
    for row in TABLE {
        let known = wanted.contains(&name(row));
        assert_eq!(
            known,
            !matches!(row.effect, Effect::Added | Effect::Former(_)),
            "{}",
            name(row)
        );
    }
}

fn context(scope: DirectiveScope) -> &'static str {
    match scope {
        DirectiveScope::Global => "server",
        DirectiveScope::Server => "server, virtual host",
        DirectiveScope::Section => "server, virtual host, section",
        DirectiveScope::FileInfo => "server, virtual host, section, `.htaccess` (FileInfo)",
        DirectiveScope::Auth => "section, `.htaccess` (AuthConfig)",
    }
}

/// A table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<")
}

#[test]
fn the_documentation_is_printed_from_the_table() {
    let mut page = "\
# Directives

Every directive of mod_wsgi is accepted where mod_wsgi accepts it, and a wrong value is refused by `apachectl
configtest` with file and line. *section* is `<Directory>`, `<Location>`, `<Files>`, `<If>` and the like. A directive
that does nothing here says so in the error log, once, at level info. Those marked + are not in mod_wsgi,
those marked − were in versions before 6.

| directive | value | where | here |
|---|---|---|---|
"
    .to_owned();
    for row in TABLE {
        let mark = match row.effect {
            Effect::Added => " +",
            Effect::Former(_) => " −",
            _ => "",
        };
        let close = if row.container { ">" } else { "" };
        let usage = row.usage.to_str().unwrap();
        let (value, remark) = usage.split_once(": ").unwrap_or((usage, ""));
        let value = value.split("; ").next().unwrap_or_default();
        let here = match row.effect {
            Effect::Same if remark.is_empty() => "the same".to_owned(),
            Effect::Added if remark.is_empty() => "only here".to_owned(),
            Effect::Same | Effect::Added => remark.to_owned(),
            Effect::Differs(how) if remark.is_empty() => how.to_owned(),
            Effect::Differs(how) => format!("{remark}; {how}"),
            Effect::Nothing(why) | Effect::Former(why) => format!("no effect: {why}"),
        };
        let context = context(row.scope);
        let name = name(row);
        writeln!(
            page,
            "| `{name}{close}`{mark} | {} | {context} | {} |",
            cell(value),
            cell(&here)
        )
        .unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/directives.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/directives.md is not what the table says; run UPDATE_DOCS=1 cargo test -p mod_wsgid"
    );
}
