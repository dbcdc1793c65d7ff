//! What the headers of proxies set, and what they do not.

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
fn what_is_no_answer_leaves_the_scheme_alone() {
    for name in [
        "HTTP_X_FORWARDED_SSL",
        "HTTP_X_FORWARDED_HTTPS",
        "HTTP_X_HTTPS",
    ] {
        for (value, https) in [
            ("true", [true, true]),
            ("TRUE", [true, true]),
            ("False", [false, false]),
            ("0", [false, false]),
            ("https", [false, true]),
            ("yes", [false, true]),
            ("", [false, true]),
        ] {
            for (before, expected) in [("other", https[0]), ("HTTPS", https[1])] {
                let found = after(&[name], None, &[(before, "on"), (name, value)]);
                assert_eq!(
                    found.iter().any(|pair| pair == "HTTPS=on"),
                    expected,
                    "{name}: {value} with {before}"
                );
            }
        }
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
