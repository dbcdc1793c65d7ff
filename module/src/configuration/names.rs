//! The names of process and application groups and of callables: `%{GLOBAL}`,
//! `%{SERVER}`, `%{HOST}`, `%{RESOURCE}`, `%{ENV:x}`. Pure; what a request
//! says comes through [`NameSources`]. Says which names the configuration alone
//! makes, and which a client can make as many of as it likes.

use std::borrow::Cow;

/// What names may refer to.
pub(crate) trait NameSources {
    /// ServerName.
    fn server(&self) -> Cow<'_, str>;
    /// The name that the client asked for.
    fn host(&self) -> Host<'_>;
    /// The port of the listener. Not the one of the Host header: a client may
    /// write there what it likes.
    fn port(&self) -> u16;
    /// The URL path of the script.
    fn script_name(&self) -> Cow<'_, str>;
    /// Whether the configuration says which script that URL path is.
    fn is_script_name_configured(&self) -> bool;
    /// Notes, then variables of the request, then of the process.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The name that a client asked for.
pub(crate) struct Host<'f> {
    pub(crate) name: Cow<'f, str>,
    /// Whether ServerName or a ServerAlias without wildcards is that name.
    pub(crate) is_configured: bool,
}

/// A name that was resolved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name<'n> {
    pub(crate) text: Cow<'n, str>,
    /// Whether the request made it: another request may make another.
    pub(crate) from_request: bool,
}

impl<'n> Name<'n> {
    fn new(text: impl Into<Cow<'n, str>>, from_request: bool) -> Self {
        Self {
            text: text.into(),
            from_request,
        }
    }
}

/// The name behind what a directive says. An unknown form is the name itself.
pub(crate) fn resolve<'n>(name: &'n str, facts: &dyn NameSources) -> Name<'n> {
    let Some(variable) = name
        .strip_prefix("%{ENV:")
        .and_then(|rest| rest.strip_suffix('}'))
    else {
        return resolve_form(name, facts).unwrap_or_else(|| Name::new(name, false));
    };
    let Some(value) = facts.variable(variable) else {
        return Name::new(name, false);
    };
    // A variable may hold one of the forms; but not another variable, which
    // could go round in circles.
    resolve_form(&value, facts).unwrap_or_else(|| Name::new(value, true))
}

/// The name behind one of the forms, but for `%{ENV:x}`.
fn resolve_form(name: &str, facts: &dyn NameSources) -> Option<Name<'static>> {
    Some(match name {
        "%{GLOBAL}" => Name::new("", false),
        "%{SERVER}" => Name::new(with_port(&facts.server(), facts.port()), false),
        "%{HOST}" => {
            let host = facts.host();
            let text = with_port(&host.name, facts.port());
            Name::new(text, !host.is_configured)
        }
        "%{RESOURCE}" => {
            let server = with_port(&facts.server(), facts.port());
            let text = format!("{server}|{}", facts.script_name());
            Name::new(text, !facts.is_script_name_configured())
        }
        _ => return None,
    })
}

fn with_port(host: &str, port: u16) -> String {
    match port {
        0 | 80 | 443 => host.to_owned(),
        _ => format!("{host}:{port}"),
    }
}

/// Whether a URL path and a file differ from a place of the configuration
/// (`prefix` is `root`) by the same rest, so that each file there has one URL.
pub(crate) fn is_mapped(url: &[u8], prefix: &[u8], file: &[u8], root: &[u8]) -> bool {
    let rest_of_file = file.strip_prefix(without_slashes(root));
    let rest_of_url = url.strip_prefix(without_slashes(prefix));
    rest_of_file.is_some() && rest_of_file == rest_of_url
}

fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/');
    end.map_or(&[], |last| &path[..=last])
}

/// The one URL path that a regular expression matches, if it is so plain.
pub(crate) fn fixed_path(pattern: &str) -> Option<String> {
    let inner = pattern.strip_prefix('^')?;
    let inner = inner.strip_suffix('$').unwrap_or(inner);
    let is_plain = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/_-~".contains(&byte))
    };
    let mut between_dots = inner.split("\\.");
    between_dots
        .all(is_plain)
        .then(|| inner.replace("\\.", "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed {
        port: u16,
        is_configured: bool,
    }

    impl NameSources for Fixed {
        fn server(&self) -> Cow<'_, str> {
            "www.example".into()
        }
        fn host(&self) -> Host<'_> {
            Host {
                name: "alias.example".into(),
                is_configured: self.is_configured,
            }
        }
        fn port(&self) -> u16 {
            self.port
        }
        fn script_name(&self) -> Cow<'_, str> {
            "/app".into()
        }
        fn is_script_name_configured(&self) -> bool {
            self.is_configured
        }
        fn variable(&self, name: &str) -> Option<String> {
            match name {
                "GROUP" => Some("site".into()),
                "INDIRECT" => Some("%{SERVER}".into()),
                "CIRCLE" => Some("%{ENV:CIRCLE}".into()),
                "ODD" => Some("%odd".into()),
                _ => None,
            }
        }
    }

    #[test]
    fn each_form_means_what_mod_wsgi_means() {
        for (port, name, expected) in [
            (80, "%{GLOBAL}", ""),
            (80, "%{SERVER}", "www.example"),
            (443, "%{SERVER}", "www.example"),
            (8080, "%{SERVER}", "www.example:8080"),
            (8080, "%{HOST}", "alias.example:8080"),
            (80, "%{RESOURCE}", "www.example|/app"),
            (80, "%{ENV:GROUP}", "site"),
            (80, "%{ENV:INDIRECT}", "www.example"),
            (80, "%{ENV:CIRCLE}", "%{ENV:CIRCLE}"),
            (80, "%{ENV:MISSING}", "%{ENV:MISSING}"),
            (80, "%{ENV:ODD}", "%odd"),
            (80, "%{global}", "%{global}"),
            (80, "site", "site"),
        ] {
            assert_eq!(
                resolve(
                    name,
                    &Fixed {
                        port,
                        is_configured: true
                    }
                )
                .text,
                expected,
                "{name} on port {port}"
            );
        }
    }

    #[test]
    fn what_a_client_can_write_makes_a_name_the_requests() {
        let made = |name: &str, is_configured| {
            resolve(
                name,
                &Fixed {
                    port: 80,
                    is_configured,
                },
            )
            .from_request
        };
        for name in ["%{HOST}", "%{RESOURCE}"] {
            assert!(!made(name, true) && made(name, false), "{name}");
        }
        for name in ["%{ENV:GROUP}", "%{ENV:CIRCLE}", "%{ENV:ODD}"] {
            assert!(made(name, true), "{name}");
        }
        for name in [
            "%{GLOBAL}",
            "%{SERVER}",
            "%{ENV:INDIRECT}",
            "%{ENV:MISSING}",
            "site",
        ] {
            assert!(!made(name, false), "{name}");
        }
    }

    #[test]
    fn a_file_of_a_mapped_place_has_one_url() {
        for (url, prefix, file, root, expected) in [
            ("", "/", "/srv/app.wsgi", "/srv/app.wsgi", true),
            ("/app", "/app", "/srv/app.wsgi", "/srv/app.wsgi", true),
            ("/w/a.wsgi", "/w/", "/srv/a.wsgi", "/srv/", true),
            ("/w/a.wsgi", "", "/srv/w/a.wsgi", "/srv", true),
            ("/x", "/", "/srv/app.wsgi", "/srv/app.wsgi", false),
            ("/x/app.wsgi", "", "/srv/app.wsgi", "/srv", false),
            ("/app", "/app", "/srv/other.wsgi", "/srv/app.wsgi", false),
        ] {
            let bytes = [url, prefix, file, root].map(str::as_bytes);
            assert_eq!(
                is_mapped(bytes[0], bytes[1], bytes[2], bytes[3]),
                expected,
                "{url} {prefix} {file} {root}"
            );
        }
    }

    #[test]
    fn a_plain_expression_stands_for_one_path() {
        for (pattern, expected) in [
            ("^/app", Some("/app")),
            ("^/app$", Some("/app")),
            (r"^/app\.py", Some("/app.py")),
            ("^/app.py", None),
            ("^/([^/]+)", None),
            ("/app", None),
            ("^/app/?", None),
            (r"^/a\d", None),
        ] {
            assert_eq!(fixed_path(pattern).as_deref(), expected, "{pattern}");
        }
    }
}
