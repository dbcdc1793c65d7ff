//! Where spans are sent: the value of `otlp-endpoint=`. Read by `syntax.rs`, used by the
//! supervisor; knows nothing of spans.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Where OTLP/HTTP has its traces if the URL names no path.
const PATH: &str = "/v1/traces";

/// Of a collector, if the URL names no port.
const PORT: u16 = 4318;

/// A place that takes OTLP over plain HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Name or address; one of IPv6 without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path, with a slash in front.
    pub path: String,
}

impl Endpoint {
    /// Host and port as a URL and the Host field have them.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "http://{}{}", self.authority(), self.path)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("`{text}` {what}; write http://HOST:4318/v1/traces");
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| wrong("is no URL of a collector"))?;
        if scheme.eq_ignore_ascii_case("https") {
            return Err(wrong(
                "is https, which the supervisor does not speak: send to a collector on this machine, which passes \
                 spans on with TLS",
            ));
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(wrong("is not http"));
        }
        let at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let (host, port) =
            split_port(authority).ok_or_else(|| wrong("has no host, or a port that is none"))?;
        let is_visible = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if !path.bytes().all(is_visible) {
            return Err(wrong("has a path that no URL has"));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            path: if matches!(path, "" | "/") { PATH } else { path }.to_owned(),
        })
    }
}

fn split_port(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, port)
        }
        None => {
            let at = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at(at);
            let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || !host.bytes().all(is_of_name) {
                return None;
            }
            (host, port)
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => PORT,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    (port != 0).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_collectors_are_read_and_written() {
        for (given, written) in [
            (
                "http://127.0.0.1:4318/v1/traces",
                "http://127.0.0.1:4318/v1/traces",
            ),
            ("HTTP://otel", "http://otel:4318/v1/traces"),
            ("http://otel:80/", "http://otel:80/v1/traces"),
            ("http://[::1]/x?y=z", "http://[::1]:4318/x?y=z"),
        ] {
            let endpoint: Endpoint = given.parse().unwrap();
            assert_eq!(endpoint.to_string(), written);
            assert_eq!(written.parse(), Ok(endpoint));
        }
    }

    #[test]
    fn whatever_else_is_refused_with_words() {
        for (given, words) in [
            (
                "https://otel:4318",
                "https, which the supervisor does not speak",
            ),
            ("grpc://otel:4317", "is not http"),
            ("otel:4318", "is no URL"),
            ("", "is no URL"),
            ("http://", "has no host"),
            ("http://:4318", "has no host"),
            ("http://otel:0/", "a port that is none"),
            ("http://otel:+1/", "a port that is none"),
            ("http://otel:65536/", "a port that is none"),
            ("http://user@otel/", "has no host"),
            ("http://[otel]/", "has no host"),
            ("http://[::1/", "has no host"),
            ("http://otel/a b", "path that no URL has"),
            ("http://otel/a\r\nX: y", "path that no URL has"),
        ] {
            let error = given.parse::<Endpoint>().expect_err(given);
            assert!(error.contains(words), "{error}");
        }
    }
}
