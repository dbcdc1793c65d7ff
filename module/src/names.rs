//! The names of process and application groups and of callables: `%{GLOBAL}`,
//! `%{SERVER}`, `%{HOST}`, `%{RESOURCE}`, `%{ENV:x}`. Pure; what a request
//! says comes through [`Facts`].

use std::borrow::Cow;

/// What names may refer to.
pub(crate) trait Facts {
    /// ServerName.
    fn server(&self) -> Cow<'_, str>;
    /// The Host header, or ServerName.
    fn host(&self) -> Cow<'_, str>;
    /// The port the server answers on.
    fn port(&self) -> u16;
    /// The URL path of the script.
    fn script_name(&self) -> Cow<'_, str>;
    /// Notes, then variables of the request, then of the process.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The name behind what a directive says. An unknown form is the name itself.
pub(crate) fn resolve<'n>(name: &'n str, facts: &dyn Facts) -> Cow<'n, str> {
    let once = resolve_once(name, facts);
    // A variable may hold one of the forms; but not another variable, which
    // could go round in circles.
    match once {
        Cow::Owned(value) if value.starts_with('%') && !value.starts_with("%{ENV:") => {
            Cow::Owned(resolve_once(&value, facts).into_owned())
        }
        other => other,
    }
}

fn resolve_once<'n>(name: &'n str, facts: &dyn Facts) -> Cow<'n, str> {
    match name {
        "%{GLOBAL}" => Cow::Borrowed(""),
        "%{SERVER}" => Cow::Owned(with_port(&facts.server(), facts.port())),
        "%{HOST}" => Cow::Owned(with_port(&facts.host(), facts.port())),
        "%{RESOURCE}" => {
            let server = with_port(&facts.server(), facts.port());
            Cow::Owned(format!("{server}|{}", facts.script_name()))
        }
        _ => match name.strip_prefix("%{ENV:").and_then(|rest| rest.strip_suffix('}')) {
            Some(variable) => facts.variable(variable).map_or(Cow::Borrowed(name), Cow::Owned),
            None => Cow::Borrowed(name),
        },
    }
}

fn with_port(host: &str, port: u16) -> String {
    match port {
        0 | 80 | 443 => host.to_owned(),
        _ => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u16);

    impl Facts for Fixed {
        fn server(&self) -> Cow<'_, str> {
            "www.example".into()
        }
        fn host(&self) -> Cow<'_, str> {
            "alias.example".into()
        }
        fn port(&self) -> u16 {
            self.0
        }
        fn script_name(&self) -> Cow<'_, str> {
            "/app".into()
        }
        fn variable(&self, name: &str) -> Option<String> {
            match name {
                "GROUP" => Some("site".into()),
                "INDIRECT" => Some("%{SERVER}".into()),
                "CIRCLE" => Some("%{ENV:CIRCLE}".into()),
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
            (80, "%{global}", "%{global}"),
            (80, "site", "site"),
        ] {
            assert_eq!(resolve(name, &Fixed(port)), expected, "{name} on port {port}");
        }
    }
}
