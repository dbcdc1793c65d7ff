//! The value of `warm-up=`: which request a new worker is to answer before it serves. Read by
//! the option table and by the supervisor, which sends it.

/// A request of `warm-up=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmUp<'a> {
    /// Whether the application sees the scheme `https`.
    pub is_https: bool,
    /// `Host`, with a port if one was given.
    pub host: &'a str,
    /// The path as it was written; it begins with a slash.
    pub path: &'a str,
    /// What is behind the question mark.
    pub query: &'a str,
}

impl<'a> WarmUp<'a> {
    /// Reads `/path?query`, or the same behind `http://host` or `https://host`.
    pub fn read(text: &'a str) -> Result<Self, String> {
        let refused = || {
            format!(
                "`{text}` is neither a path such as /ready nor a URL such as https://example.org/ready"
            )
        };
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
            return Err(refused());
        }
        let (is_https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => (false, text),
        };
        let (host, path) = rest.split_at(rest.find('/').ok_or_else(refused)?);
        let has_scheme = rest.len() < text.len();
        if host.is_empty() == has_scheme || host.contains(['@', '?']) {
            return Err(refused());
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Ok(Self {
            is_https,
            host: if has_scheme { host } else { "localhost" },
            path,
            query,
        })
    }

    /// The name of the host alone, and its port.
    pub fn server(&self) -> (&'a str, &'a str) {
        let usual = if self.is_https { "443" } else { "80" };
        match self.host.rsplit_once(':') {
            // `[::1]` has colons of its own.
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (self.host, usual),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_urls_are_read() {
        let read = |text| {
            let read = WarmUp::read(text).unwrap();
            (read.is_https, read.server(), read.path, read.query)
        };
        assert_eq!(read("/"), (false, ("localhost", "80"), "/", ""));
        assert_eq!(read("/a?b=c"), (false, ("localhost", "80"), "/a", "b=c"));
        assert_eq!(
            read("https://example.org/a"),
            (true, ("example.org", "443"), "/a", "")
        );
        assert_eq!(read("http://[::1]/"), (false, ("[::1]", "80"), "/", ""));
        assert_eq!(read("http://a:81/"), (false, ("a", "81"), "/", ""));
        for wrong in [
            "",
            "a",
            "http://",
            "http:///",
            "http://a",
            "ftp://a/",
            "a/b",
            "/a b",
            "/#",
            "/\n",
            "http://a@b/",
        ] {
            assert!(WarmUp::read(wrong).is_err(), "{wrong}");
        }
    }
}
