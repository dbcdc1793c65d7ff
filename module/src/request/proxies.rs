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
            Category::Client if name == "HTTP_X_FORWARDED_FOR" => {
                if let Some((client, chain)) = self.client_of(text) {
                    set(pairs, "REMOTE_ADDR", keep(&client.to_string()));
                    if let Some(chain) = chain {
                        set(pairs, name, keep(&chain));
                    }
                }
            }
            Category::Client => {
                if let Some(client) = address(text) {
                    set(pairs, "REMOTE_ADDR", keep(&client.to_string()));
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

fn is_encrypted(name: &str, text: &str) -> Option<bool> {
    match name {
        "HTTP_X_FORWARDED_PROTO" | "HTTP_X_FORWARDED_SCHEME" | "HTTP_X_SCHEME" => {
            match text.to_ascii_lowercase().as_str() {
                "https" => Some(true),
                "http" => Some(false),
                _ => None,
            }
        }
        _ => Some(text == "1" || text.eq_ignore_ascii_case("on")),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    /// The variables after `declared` was believed or not, as `name=value`.
    fn after(
        declared: &[&str],
        proxies: Option<&[&str]>,
        pairs: &[(&'static str, &'static str)],
    ) -> Vec<String> {
        let declared: Vec<CString> = declared
            .iter()
            .map(|name| CString::new(*name).unwrap())
            .collect();
        let declared: Vec<&std::ffi::CStr> = declared.iter().map(CString::as_c_str).collect();
        let networks: Option<Vec<TrustedNetwork>> = proxies.map(|words| {
            words
                .iter()
                .map(|word| TrustedNetwork::parse(word).unwrap())
                .collect()
        });
        let mut list: Vec<Variable<'_>> = pairs
            .iter()
            .map(|(name, value)| (Bytes::new(name.as_bytes()), Bytes::new(value.as_bytes())))
            .collect();
        let peer = pairs
            .iter()
            .find(|(name, _)| *name == "REMOTE_ADDR")
            .and_then(|(_, value)| value.parse().ok());
        let trust = Trust {
            headers: &declared,
            proxies: networks.as_deref(),
            peer,
        };
        trust.apply(&mut list, &|text| {
            Box::leak(text.to_owned().into_boxed_str()).as_bytes()
        });
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let mut out: Vec<String> = list
            .iter()
            .map(|(name, value)| format!("{}={}", text(name), text(value)))
            .collect();
        out.sort();
        out
    }

    #[test]
    fn networks_contain_their_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "::1", "127.0.0.1"),
            ("127.0.0.1", "::ffff:127.0.0.1", "::1"),
        ] {
            let network = TrustedNetwork::parse(network).unwrap();
            assert!(
                network.contains(inside.parse().unwrap()),
                "{inside} in {network:?}"
            );
            assert!(
                !network.contains(outside.parse().unwrap()),
                "{outside} not in {network:?}"
            );
        }
        for wrong in [
            "",
            "10.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "host",
            "10.0.0.0/-1",
        ] {
            assert_eq!(TrustedNetwork::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_chain_is_believed_as_far_as_proxies_wrote_it() {
        let proxies = ["10.0.0.0/8", "fd00::/8"];
        for (chain, expected) in [
            ("198.51.100.7", Some(("198.51.100.7", "198.51.100.7"))),
            (
                "6.6.6.6, 198.51.100.7, 10.0.0.2",
                Some(("198.51.100.7", "198.51.100.7, 10.0.0.2")),
            ),
            (
                "10.0.0.9, 10.0.0.2",
                Some(("10.0.0.9", "10.0.0.9, 10.0.0.2")),
            ),
            (
                " , 198.51.100.7 ,, 10.0.0.2,",
                Some(("198.51.100.7", "198.51.100.7, 10.0.0.2")),
            ),
            (
                "10.0.0.2, 198.51.100.7",
                Some(("198.51.100.7", "198.51.100.7")),
            ),
            (
                "198.51.100.7:4711, [fd00::1]:80",
                Some(("198.51.100.7", "198.51.100.7:4711, [fd00::1]:80")),
            ),
            ("198.51.100.7, <script>", None),
            ("", None),
        ] {
            let chain: &'static str = chain;
            let mut pairs = vec![
                ("REMOTE_ADDR", "10.0.0.1"),
                ("HTTP_X_FORWARDED_FOR", chain),
                ("HTTP_X_REAL_IP", "6.6.6.6"),
            ];
            let found = after(&["HTTP_X_FORWARDED_FOR"], Some(&proxies), &pairs);
            pairs.clear();
            let (client, kept) = expected.unwrap_or(("10.0.0.1", chain));
            assert_eq!(
                found,
                [
                    format!("HTTP_X_FORWARDED_FOR={kept}"),
                    format!("REMOTE_ADDR={client}")
                ],
                "{chain}"
            );
        }
    }

    #[test]
    fn without_a_list_the_first_of_the_chain_is_believed() {
        let pairs = [
            ("REMOTE_ADDR", "192.0.2.1"),
            ("HTTP_X_FORWARDED_FOR", ", 198.51.100.7, 10.0.0.2"),
        ];
        let found = after(&["HTTP_X_FORWARDED_FOR"], None, &pairs);
        assert_eq!(
            found,
            [
                "HTTP_X_FORWARDED_FOR=, 198.51.100.7, 10.0.0.2",
                "REMOTE_ADDR=198.51.100.7"
            ]
        );
    }

    #[test]
    fn somebody_elses_headers_are_taken_away_with_their_synonyms() {
        let pairs = [
            ("REMOTE_ADDR", "192.0.2.1"),
            ("HTTP_HOST", "real"),
            ("HTTP_X_FORWARDED_FOR", "6.6.6.6"),
            ("HTTP_X_REAL_IP", "6.6.6.6"),
            ("HTTP_X_HOST", "evil"),
            ("HTTP_X_FORWARDED_PROTO", "https"),
        ];
        let found = after(
            &["HTTP_X_CLIENT_IP", "HTTP_X_FORWARDED_HOST"],
            Some(&["10.0.0.0/8"]),
            &pairs,
        );
        // The scheme was not declared, so it is an ordinary header.
        assert_eq!(
            found,
            [
                "HTTP_HOST=real",
                "HTTP_X_FORWARDED_PROTO=https",
                "REMOTE_ADDR=192.0.2.1"
            ]
        );
    }

    #[test]
    fn each_category_sets_its_variable() {
        for (name, value, before, expected) in [
            (
                "HTTP_X_REAL_IP",
                "2001:db8::1",
                "x=y",
                "REMOTE_ADDR=2001:db8::1",
            ),
            (
                "HTTP_X_CLIENT_IP",
                "nonsense",
                "x=y",
                "REMOTE_ADDR=10.0.0.1",
            ),
            (
                "HTTP_X_HOST",
                "www.example",
                "HTTP_HOST=inner",
                "HTTP_HOST=www.example",
            ),
            (
                "HTTP_X_FORWARDED_SERVER",
                "www.example",
                "SERVER_NAME=inner",
                "SERVER_NAME=www.example",
            ),
            (
                "HTTP_X_FORWARDED_PORT",
                "8443",
                "SERVER_PORT=80",
                "SERVER_PORT=8443",
            ),
            (
                "HTTP_X_FORWARDED_PORT",
                "8443x",
                "SERVER_PORT=80",
                "SERVER_PORT=80",
            ),
            (
                "HTTP_X_SCRIPT_NAME",
                "/outer",
                "SCRIPT_NAME=/in",
                "SCRIPT_NAME=/outer",
            ),
            (
                "HTTP_X_SCRIPT_NAME",
                "/outer",
                "SCRIPT_NAME=/in",
                "mod_wsgi.mount_point=/outer",
            ),
            ("HTTP_X_SCHEME", "HTTPS", "x=y", "HTTPS=on"),
            ("HTTP_X_SCHEME", "ftp", "HTTPS=on", "HTTPS=on"),
            ("HTTP_X_FORWARDED_SSL", "On", "x=y", "HTTPS=on"),
            ("HTTP_X_HTTPS", "1", "x=y", "HTTPS=on"),
        ] {
            let (known, was) = before.split_once('=').unwrap();
            let found = after(
                &[name],
                Some(&["10.0.0.1"]),
                &[("REMOTE_ADDR", "10.0.0.1"), (known, was), (name, value)],
            );
            assert!(
                found.iter().any(|pair| pair == expected),
                "{name}: {value}: {found:?}"
            );
            assert_eq!(
                found
                    .iter()
                    .filter(|pair| pair.starts_with("REMOTE_ADDR="))
                    .count(),
                1
            );
        }
    }

    #[test]
    fn a_proxy_that_says_http_takes_https_away() {
        for (name, value) in [
            ("HTTP_X_FORWARDED_PROTO", "http"),
            ("HTTP_X_FORWARDED_SSL", "off"),
        ] {
            let found = after(&[name], None, &[("HTTPS", "on"), (name, value)]);
            assert!(
                !found.iter().any(|pair| pair.starts_with("HTTPS=")),
                "{name}: {found:?}"
            );
        }
    }

    #[test]
    fn of_two_declared_headers_that_came_the_last_one_counts() {
        let pairs = [
            ("REMOTE_ADDR", "10.0.0.1"),
            ("HTTP_X_REAL_IP", "192.0.2.1"),
            ("HTTP_X_CLIENT_IP", "192.0.2.2"),
        ];
        let found = after(
            &["HTTP_X_REAL_IP", "HTTP_X_CLIENT_IP"],
            Some(&["10.0.0.1"]),
            &pairs,
        );
        assert_eq!(
            found,
            ["HTTP_X_CLIENT_IP=192.0.2.2", "REMOTE_ADDR=192.0.2.2"]
        );
    }
}
