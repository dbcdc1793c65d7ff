//! WSGITrustedProxyHeaders and WSGITrustedProxies: puts what a proxy says of
//! the client in the place of what the connection says, and takes away what
//! somebody else says. Works on the frame's copy of the variables; httpd's own
//! view of the request, its logs and its access rules stay as they are.

use std::net::IpAddr;

use serde_bytes::Bytes;

use crate::configuration::networks::TrustedNetwork;

/// A variable of the frame.
pub(crate) type Variable<'r> = (&'r Bytes, &'r Bytes);

/// What a header is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Category {
    Client,
    Host,
    Server,
    Port,
    Script,
    Scheme,
}

/// The headers that say the same thing; only one of a category may be believed.
const SYNONYMS: &[(Category, &[&str])] = &[
    (
        Category::Client,
        &["HTTP_X_FORWARDED_FOR", "HTTP_X_CLIENT_IP", "HTTP_X_REAL_IP"],
    ),
    (Category::Host, &["HTTP_X_FORWARDED_HOST", "HTTP_X_HOST"]),
    (Category::Server, &["HTTP_X_FORWARDED_SERVER"]),
    (Category::Port, &["HTTP_X_FORWARDED_PORT"]),
    (
        Category::Script,
        &["HTTP_X_SCRIPT_NAME", "HTTP_X_FORWARDED_SCRIPT_NAME"],
    ),
    (
        Category::Scheme,
        &[
            "HTTP_X_FORWARDED_PROTO",
            "HTTP_X_FORWARDED_SCHEME",
            "HTTP_X_SCHEME",
            "HTTP_X_FORWARDED_HTTPS",
            "HTTP_X_FORWARDED_SSL",
            "HTTP_X_HTTPS",
        ],
    ),
];

/// Whether a header, as a variable, belongs to a category.
pub(crate) fn is_known(variable: &str) -> bool {
    SYNONYMS.iter().any(|(_, names)| names.contains(&variable))
}

/// Names of all headers that mean something here, as a client writes them.
pub(crate) fn known_headers() -> Vec<String> {
    let header = |name: &&str| name.trim_start_matches("HTTP_").replace('_', "-");
    SYNONYMS
        .iter()
        .flat_map(|(_, names)| names.iter())
        .map(header)
        .collect()
}

/// What is declared where the request goes.
pub(crate) struct Trust<'c> {
    /// The variables of the declared headers.
    pub(crate) headers: &'c [&'c std::ffi::CStr],
    /// `None`: everybody is a proxy.
    pub(crate) proxies: Option<&'c [TrustedNetwork]>,
    /// Who is at the other end of the connection.
    pub(crate) peer: Option<IpAddr>,
}

impl Trust<'_> {
    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies
            .is_none_or(|known| known.iter().any(|network| network.contains(address)))
    }

    fn trusts_peer(&self) -> bool {
        self.proxies.is_none() || self.peer.is_some_and(|peer| self.is_proxy(peer))
    }

    /// Edits the variables; `keep` copies a text to where the request lives.
    pub(crate) fn apply<'r>(&self, pairs: &mut Vec<Variable<'r>>, keep: &dyn Fn(&str) -> &'r [u8]) {
        let trusts_peer = self.trusts_peer();
        for (category, names) in SYNONYMS {
            let known = |header: &&std::ffi::CStr| {
                names
                    .iter()
                    .copied()
                    .find(|name| header.to_bytes() == name.as_bytes())
            };
            let declared: Vec<&'static str> = self.headers.iter().filter_map(known).collect();
            if declared.is_empty() {
                continue;
            }
            // Of several that came, the one that is declared last counts.
            let said = declared
                .iter()
                .rev()
                .find_map(|name| Some((*name, value(pairs, name)?)));
            let believed = said.filter(|_| trusts_peer);
            let stays = |name: &[u8]| believed.is_some_and(|(known, _)| known.as_bytes() == name);
            let is_synonym = |name: &[u8]| names.iter().any(|known| known.as_bytes() == name);
            pairs.retain(|(name, _)| !is_synonym(name) || stays(name));
            if let Some((name, value)) = believed {
                self.take_over(*category, name, value, pairs, keep);
            }
        }
    }

    fn take_over<'r>(
        &self,
        category: Category,
        name: &'static str,
        value: &'r [u8],
        pairs: &mut Vec<Variable<'r>>,
        keep: &dyn Fn(&str) -> &'r [u8],
    ) {
        let text = String::from_utf8_lossy(value);
        let text = text.trim();
        match category {
            Category::Client => {
                let found = match name {
                    "HTTP_X_FORWARDED_FOR" => self.client_of(text),
                    _ => address(text).map(|client| (client, None)),
                };
                if let Some((client, chain)) = found {
                    set(pairs, "REMOTE_ADDR", keep(&client.to_string()));
                    if let Some(chain) = chain {
                        set(pairs, name, keep(&chain));
                    }
                }
            }
            Category::Host => set(pairs, "HTTP_HOST", value),
            Category::Server => set(pairs, "SERVER_NAME", value),
            Category::Port if text.parse::<u16>().is_ok_and(|port| port > 0) => {
                set(pairs, "SERVER_PORT", value)
            }
            Category::Port => {}
            Category::Script => {
                set(pairs, "SCRIPT_NAME", value);
                set(pairs, "mod_wsgi.mount_point", value);
            }
            Category::Scheme => match is_encrypted(name, text) {
                Some(true) => set(pairs, "HTTPS", b"on"),
                Some(false) => pairs.retain(|(name, _)| name.as_ref() != b"HTTPS"),
                None => {}
            },
        }
    }

    /// Who began the chain of `X-Forwarded-For`, and what of the chain can be
    /// believed: each proxy appends whom it heard it from, so from the right
    /// the first that is no proxy is the client, and what stands before it is
    /// its own invention. Without a list of proxies the first one is believed.
    fn client_of(&self, chain: &str) -> Option<(IpAddr, Option<String>)> {
        let entries: Vec<&str> = chain
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .collect();
        if self.proxies.is_none() {
            return entries
                .first()
                .and_then(|entry| address(entry))
                .map(|client| (client, None));
        }
        let is_proxy = |entry: &&str| address(entry).is_some_and(|address| self.is_proxy(address));
        let at = entries
            .iter()
            .rposition(|entry| !is_proxy(entry))
            .unwrap_or(0);
        let client = address(entries.get(at)?)?;
        Some((client, Some(entries.get(at..)?.join(", "))))
    }
}

/// The value in force of a variable.
fn value<'r>(pairs: &[Variable<'r>], name: &str) -> Option<&'r [u8]> {
    let (_, value): &(_, &'r Bytes) = pairs
        .iter()
        .rev()
        .find(|(known, _)| known.as_ref() == name.as_bytes())?;
    Some(value)
}

fn set<'r>(pairs: &mut Vec<Variable<'r>>, name: &'static str, value: &'r [u8]) {
    pairs.retain(|(known, _)| known.as_ref() != name.as_bytes());
    pairs.push((Bytes::new(name.as_bytes()), Bytes::new(value)));
}

/// An address, perhaps with a port as some proxies write it.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map(|(address, _)| address);
    let parsed = bare.unwrap_or(entry).parse().ok();
    parsed.or_else(|| {
        entry
            .parse::<std::net::SocketAddrV4>()
            .ok()
            .map(|both| IpAddr::V4(*both.ip()))
    })
}

/// Whether the client's side is encrypted; `None` is no answer, and changes nothing.
fn is_encrypted(name: &str, text: &str) -> Option<bool> {
    let is_scheme = matches!(
        name,
        "HTTP_X_FORWARDED_PROTO" | "HTTP_X_FORWARDED_SCHEME" | "HTTP_X_SCHEME"
    );
    match (is_scheme, text.to_ascii_lowercase().as_str()) {
        (true, "https") | (false, "on" | "true" | "1") => Some(true),
        (true, "http") | (false, "off" | "false" | "0") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
