//! Which variables of mod_ssl a script about the client may know: those of the request. Asked
//! by `script_call.rs` for a worker, whose user is another than httpd's.

use crate::httpd::request::Request;

/// Headers of the request that scripts about the client do not get.
const CREDENTIALS: &[&[u8]] = &[b"Authorization", b"Proxy-Authorization"];

/// What a name means, as mod_ssl reads it.
#[derive(Debug, PartialEq, Eq)]
enum Meaning<'n> {
    /// A variable of the request. mod_ssl would go on to notes of httpd's modules, and to
    /// the environment of httpd's process.
    OfRequest(&'n [u8]),
    /// Nothing that is told.
    Hidden,
    /// What mod_ssl says.
    OfModule,
}

impl<'n> Meaning<'n> {
    /// The name ends at a NUL, as it does for mod_ssl.
    fn new(name: &'n [u8]) -> Self {
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if let Some(variable) = behind(name, b"ENV:") {
            return Self::OfRequest(variable);
        }
        let header = behind(name, b"HTTP:").unwrap_or_default();
        if CREDENTIALS
            .iter()
            .any(|hidden| header.eq_ignore_ascii_case(hidden))
        {
            return Self::Hidden;
        }
        Self::OfModule
    }
}

/// What follows this front, in any case of letters.
fn behind<'n>(name: &'n [u8], front: &[u8]) -> Option<&'n [u8]> {
    let (start, rest) = name.split_at_checked(front.len())?;
    start.eq_ignore_ascii_case(front).then_some(rest)
}

/// The value of the variable with this name: empty where the name means nothing, `None` where
/// mod_ssl is not loaded.
pub(crate) fn value(r: Request<'_>, name: &[u8]) -> Option<Vec<u8>> {
    match Meaning::new(name) {
        Meaning::OfModule => r.ssl_variable(name),
        // Whether there is a mod_ssl shows all the same.
        Meaning::Hidden => r.ssl_variable(b""),
        Meaning::OfRequest(variable) => {
            let nothing = r.ssl_variable(b"")?;
            let mut rows = r.subprocess_env().rows();
            let found = rows.find(|(name, _)| name.to_bytes().eq_ignore_ascii_case(variable));
            Some(found.map_or(nothing, |(_, value)| value.to_bytes().to_vec()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_httpds_own_is_not_told() {
        for (name, meaning) in [
            (&b"SSL_PROTOCOL"[..], Meaning::OfModule),
            (b"", Meaning::OfModule),
            (b"ENV", Meaning::OfModule),
            (b"HTTP:Host", Meaning::OfModule),
            (b"ENV:PATH", Meaning::OfRequest(b"PATH")),
            (b"env:PATH\0x", Meaning::OfRequest(b"PATH")),
            (b"ENV:", Meaning::OfRequest(b"")),
            (b"HTTP:Authorization", Meaning::Hidden),
            (b"http:AUTHORIZATION\0", Meaning::Hidden),
            (b"Http:proxy-authorization", Meaning::Hidden),
        ] {
            assert_eq!(Meaning::new(name), meaning, "{name:?}");
        }
    }
}
