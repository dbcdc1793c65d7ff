//! A request to a configuration, and what has to come. The tables of the suites are made
//! of these; `harness` sends them.

use std::collections::BTreeMap;
use std::fmt;

use wsgid_tests::{Client, Curl, Request, Transport};

/// Which of the server's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Main = 0,
    Tls = 1,
    Other = 2,
}

#[derive(Clone, Copy, Debug)]
enum Body {
    None,
    Known(&'static str),
    Chunked(&'static str),
}

/// A request and its answer. `@…@` is filled in as in a configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    method: &'static str,
    path: &'static str,
    host: &'static str,
    port: Port,
    headers: &'static [(&'static str, &'static str)],
    body: Body,
    curl: &'static [&'static str],
    status: u16,
    sees: &'static [&'static str],
    fields: &'static [(&'static str, &'static str)],
    logs: &'static str,
}

/// A GET that is answered with 200.
pub(crate) const fn get(path: &'static str) -> Ask {
    Ask {
        method: "GET",
        path,
        host: "localhost:@PORT@",
        port: Port::Main,
        headers: &[],
        body: Body::None,
        curl: &[],
        status: 200,
        sees: &[],
        fields: &[],
        logs: "",
    }
}

impl Ask {
    /// By another method.
    pub(crate) const fn by(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    /// Of this site.
    pub(crate) const fn at(self, host: &'static str) -> Self {
        Self { host, ..self }
    }

    /// By TLS.
    pub(crate) const fn tls(self) -> Self {
        Self {
            port: Port::Tls,
            ..self
        }
    }

    /// On the port that the configuration opens itself.
    pub(crate) const fn other_port(self) -> Self {
        Self {
            port: Port::Other,
            ..self
        }
    }

    /// With these headers.
    pub(crate) const fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    /// As the user whose password is `secret`.
    pub(crate) const fn as_alice(self) -> Self {
        self.with(&[("Authorization", "Basic YWxpY2U6c2VjcmV0")])
    }

    /// By curl, with these options: what only it can do.
    pub(crate) const fn by_curl(self, curl: &'static [&'static str]) -> Self {
        Self { curl, ..self }
    }

    /// A POST of this text.
    pub(crate) const fn sends(self, text: &'static str) -> Self {
        Self {
            method: "POST",
            body: Body::Known(text),
            ..self
        }
    }

    /// A POST of this text, without its length.
    pub(crate) const fn sends_chunks(self, text: &'static str) -> Self {
        Self {
            method: "POST",
            body: Body::Chunked(text),
            ..self
        }
    }

    /// What has to come is this status.
    pub(crate) const fn is(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The answer has these lines; one that ends with `…` begins a line.
    pub(crate) const fn sees(self, sees: &'static [&'static str]) -> Self {
        Self { sees, ..self }
    }

    /// The answer has these fields.
    pub(crate) const fn fields(self, fields: &'static [(&'static str, &'static str)]) -> Self {
        Self { fields, ..self }
    }

    /// This is in a line of level error about it.
    pub(crate) const fn logs(self, logs: &'static str) -> Self {
        Self { logs, ..self }
    }

    /// What is in the log because of it, if anything.
    pub(crate) const fn logged(&self) -> Option<&'static str> {
        if self.logs.is_empty() {
            None
        } else {
            Some(self.logs)
        }
    }

    /// Whether httpd may complain of it: somebody has no right to it.
    pub(crate) const fn is_refused(&self) -> bool {
        matches!(self.status, 401 | 403)
    }

    /// Asks, and looks at what comes.
    ///
    /// # Panics
    /// If it is something else.
    pub(crate) fn put(&self, ports: [u16; 3], fill: impl Fn(&str) -> String) -> Answered {
        let answered = self.send(ports, &fill);
        let who = self;
        assert_eq!(answered.status, self.status, "{who}: {answered:#?}");
        for line in self.sees.iter().map(|line| fill(line)) {
            let found = answered.lines.iter().any(|have| {
                let front = line.strip_suffix('…');
                front.map_or(*have == line, |front| have.starts_with(front))
            });
            assert!(found, "{who}: no `{line}` in {answered:#?}");
        }
        for (name, value) in self.fields {
            let have = answered.fields.get(*name).map(String::as_str);
            assert_eq!(have, Some(fill(value).as_str()), "{who}: {name}");
        }
        answered
    }

    fn send(&self, ports: [u16; 3], fill: &impl Fn(&str) -> String) -> Answered {
        let path = fill(self.path);
        let port = ports[self.port as usize];
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (*name, fill(value)));
        let headers: Vec<(&str, String)> = std::iter::once(("Host", fill(self.host)))
            .chain(headers)
            .collect();
        if self.port == Port::Tls || !self.curl.is_empty() {
            let scheme = if self.port == Port::Tls {
                "https"
            } else {
                "http"
            };
            let curl = Curl::new(
                Transport::Http1,
                &format!("{scheme}://127.0.0.1:{port}{path}"),
            )
            .args(self.curl);
            let curl = headers.iter().fold(curl, |curl, (name, value)| {
                curl.header(&format!("{name}: {value}"))
            });
            let answer = match self.body {
                Body::None => curl.args(&["--request", self.method]).run(),
                Body::Known(text) => curl.post(text.into()).run(),
                Body::Chunked(text) => curl.post_unknown_length(text.into()).run(),
            };
            return Answered::new(answer.status(), &answer.head.fields, &answer.text());
        }
        let request = match self.body {
            Body::None => Request::new(self.method, &path),
            Body::Known(text) => Request::post(&path, text),
            Body::Chunked(text) => Request::post_chunks(&path, &[text.as_bytes()]),
        };
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        let answer = Client::new(([127, 0, 0, 1], port).into()).send(&request);
        let answer = answer.unwrap_or_else(|error| panic!("{} {path}: {error}", self.method));
        Answered::new(answer.status, &answer.headers, &answer.text())
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} of {}", self.method, self.path, self.host)
    }
}

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    status: u16,
    fields: BTreeMap<String, String>,
    lines: Vec<String>,
}

/// Fields that tell of the time, of the server, of the file that httpd itself has sent, or how
/// long the body is: ours says it where all of it is known.
const OF_THE_MOMENT: [&str; 9] = [
    "Authentication-Info",
    "Server",
    "Transfer-Encoding",
    "Date",
    "Last-Modified",
    "ETag",
    "Content-Length",
    "Expires",
    "Keep-Alive",
];

impl Answered {
    fn new(status: u16, fields: &[(String, String)], text: &str) -> Self {
        Self {
            status,
            fields: fields.iter().cloned().collect(),
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    /// The same, with what is another in every server replaced.
    pub(crate) fn neutral(self, neutral: impl Fn(&str) -> String) -> Self {
        Self {
            status: self.status,
            fields: self
                .fields
                .iter()
                .map(|(name, value)| (name.clone(), neutral(value)))
                .collect(),
            lines: self.lines.iter().map(|line| neutral(line)).collect(),
        }
    }

    /// What it says of a fact.
    pub(crate) fn fact(&self, name: &str) -> Option<&str> {
        let mut facts = self.lines.iter().filter_map(|line| line.split_once('='));
        facts
            .find(|(have, _)| *have == name)
            .map(|(_, value)| value)
    }

    /// What is not the same in both, but for what is meant.
    pub(crate) fn differences(&self, theirs: &Self, meant: impl Fn(&str) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        if self.status != theirs.status {
            found.push(format!("status {}, theirs {}", self.status, theirs.status));
        }
        let fields = [self, theirs].map(|answered| {
            let fields = answered.fields.iter();
            let fields = fields.filter(|(name, value)| {
                !OF_THE_MOMENT.contains(&name.as_str()) && !value.starts_with("Digest ")
            });
            fields
                .map(|(name, value)| format!("{name}: {value}"))
                .collect::<Vec<_>>()
        });
        let lines = [self, theirs].map(|answered| {
            let fact = |line: &&String| line.split_once('=').is_none_or(|(fact, _)| !meant(fact));
            answered
                .lines
                .iter()
                .filter(fact)
                .cloned()
                .collect::<Vec<_>>()
        });
        for [ours, theirs] in [fields, lines] {
            let only = |who: &str, these: &[String], those: &[String]| {
                let these = these.iter().filter(|one| !those.contains(one));
                these
                    .map(|one| format!("only {who}: {one}"))
                    .collect::<Vec<_>>()
            };
            found.extend(only("ours", &ours, &theirs));
            found.extend(only("theirs", &theirs, &ours));
        }
        found
    }
}
