//! The outside judge: two servers with one configuration, mod_wsgi's and ours,
//! and what in their answers to the same requests differs. A suite lists what
//! may differ, each with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::raw::exchange;
use crate::{Answer, Builder, Httpd, Limit, Site, case, peer};

const SOON: Duration = Duration::from_secs(5);
/// Before what does not differ every time.
const SOMETIMES: char = '~';

/// What may differ: the front of the thing that differs, a part of the case's
/// name (empty: any), and why it may. `-` before the front: only we have it;
/// `+`: only mod_wsgi has it. `~` before all: it does not differ every time.
pub type Allowed = (&'static str, &'static str, &'static str);

/// Adds what is compared to a configuration; returns a further port, or 0.
pub type Configure = fn(Builder, &Site, &Path) -> (Builder, u16);

/// Compares by `compare` and fails with what is not allowed to differ, and with
/// what `compare` says itself.
pub fn judge(
    allowed: &'static [Allowed],
    configure: Configure,
    compare: fn(&mut Pair) -> Vec<String>,
) {
    let Some((venv, module)) = peer::peer() else {
        return;
    };
    case(Limit::seconds(240), move || {
        let site = Site::new();
        let mut pair = Pair {
            theirs: start(&site, &venv, Some(module), configure),
            ours: start(&site, &venv, None, configure),
            found: Vec::new(),
            exceptions_by_type: false,
            allowed,
        };
        let mut wrong = compare(&mut pair);
        let unmeant = pair
            .found
            .iter()
            .filter(|difference| difference.allowed(allowed).is_none());
        wrong.extend(unmeant.map(|difference| difference.text.clone()));
        assert!(
            wrong.is_empty(),
            "{} complaints:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        pair.ours.httpd.stop();
    });
}

/// A server and what in its answers is its own.
pub struct Side {
    /// Its httpd.
    pub httpd: Httpd,
    /// The further port, or 0.
    pub other_port: u16,
}

fn start(site: &Site, venv: &Path, peer: Option<PathBuf>, configure: Configure) -> Side {
    let builder = Httpd::builder();
    let builder = match peer {
        Some(module) => builder.peer(module),
        None => builder,
    };
    let (builder, other_port) = configure(builder, site, venv);
    Side {
        httpd: builder.start(),
        other_port,
    }
}

/// One thing that differs.
pub struct Difference {
    /// Status, a field, the body or a variable.
    key: String,
    /// The same, with a sign before it if only one side has it.
    marked: String,
    case: String,
    text: String,
}

/// Both, and what was found.
pub struct Pair {
    /// With mod_wsgi.
    pub theirs: Side,
    /// With our module.
    pub ours: Side,
    /// All differences so far.
    pub found: Vec<Difference>,
    /// Whether a body that names an exception is compared by its type alone.
    pub exceptions_by_type: bool,
    allowed: &'static [Allowed],
}

impl Difference {
    /// The entry of the list that allows it.
    fn allowed(&self, allowed: &[Allowed]) -> Option<usize> {
        allowed.iter().position(|(front, part, _)| {
            let front = front.trim_start_matches(SOMETIMES);
            let what = if front.starts_with(['-', '+']) {
                &self.marked
            } else {
                &self.key
            };
            what.starts_with(front) && self.case.contains(part)
        })
    }
}

impl Pair {
    /// Entries of the list that allow nothing any more.
    pub fn stale(&self) -> Vec<String> {
        let used: BTreeSet<usize> = self
            .found
            .iter()
            .filter_map(|difference| difference.allowed(self.allowed))
            .collect();
        let unused = self
            .allowed
            .iter()
            .enumerate()
            .filter(|(number, _)| !used.contains(number));
        unused
            .filter(|(_, (front, _, _))| !front.starts_with(SOMETIMES))
            .map(|(_, (front, part, _))| {
                format!("nothing differs any more in `{front}` of `{part}`: take it off the list")
            })
            .collect()
    }

    /// Compares two results of one case, field by field.
    pub fn compare(
        &mut self,
        name: &str,
        theirs: &BTreeMap<String, String>,
        ours: &BTreeMap<String, String>,
    ) {
        for key in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
            let [their, our] =
                [theirs, ours].map(|parts| parts.get(key).map(|value| self.looked_at(key, value)));
            if their != our {
                let sign = if their.is_none() {
                    "-"
                } else if our.is_none() {
                    "+"
                } else {
                    ""
                };
                let text = format!("{key} in {name}: mod_wsgi {their:?}, we {our:?}");
                self.found.push(Difference {
                    key: key.clone(),
                    marked: format!("{sign}{key}"),
                    case: name.to_owned(),
                    text,
                });
            }
        }
    }

    /// What of a value is compared.
    fn looked_at<'a>(&self, key: &str, value: &'a str) -> &'a str {
        if self.exceptions_by_type && key == "body" {
            kind(value)
        } else {
            value
        }
    }

    /// The same on the further port.
    pub fn elsewhere(&mut self, name: &str, request: &str) {
        let [theirs, ours] = [&self.theirs, &self.ours].map(|side| {
            let text = exchange(([127, 0, 0, 1], side.other_port).into(), request, SOON);
            side.taken_apart(&text)
        });
        self.compare(name, &theirs, &ours);
    }

    /// Sends a request to both, byte for byte, and compares.
    pub fn raw(&mut self, name: &str, request: &str) {
        self.raw_to(name, request, Ipv4Addr::LOCALHOST.into());
    }

    /// The same where the server listens by IPv6 (`also_by_ipv6`).
    pub fn raw_by_ipv6(&mut self, name: &str, request: &str) {
        self.raw_to(name, request, Ipv6Addr::LOCALHOST.into());
    }

    fn raw_to(&mut self, name: &str, request: &str, address: IpAddr) {
        let [theirs, ours] = [&self.theirs, &self.ours].map(|side| {
            let text = exchange(
                (address, side.httpd.address().port()).into(),
                request.replace("PORT", &side.port()),
                SOON,
            );
            side.taken_apart(&text)
        });
        self.compare(name, &theirs, &ours);
    }
}

impl Side {
    fn port(&self) -> String {
        self.httpd.address().port().to_string()
    }

    /// The further port, where there is one.
    fn other(&self) -> String {
        if self.other_port == 0 {
            "no further port".to_owned()
        } else {
            self.other_port.to_string()
        }
    }

    /// Status line, headers and body, without what is this server's own.
    pub fn taken_apart(&self, text: &str) -> BTreeMap<String, String> {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let mut parts = BTreeMap::from([(
            "status".to_owned(),
            lines.next().unwrap_or_default().to_owned(),
        )]);
        let fields: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect();
        let chunked = fields
            .iter()
            .any(|(name, value)| name == "Transfer-Encoding" && value == "chunked");
        self.add(
            &mut parts,
            &fields,
            &if chunked {
                joined(body)
            } else {
                body.to_owned()
            },
        );
        parts
    }

    /// The same of an answer that curl got, and how curl ended.
    #[must_use]
    pub fn answered(&self, answer: &Answer) -> BTreeMap<String, String> {
        let exit = ("exit".to_owned(), answer.exit.to_string());
        let mut parts = BTreeMap::from([("status".to_owned(), answer.head.line.clone()), exit]);
        self.add(&mut parts, &answer.head.fields, &answer.text());
        parts
    }

    fn add(&self, parts: &mut BTreeMap<String, String>, fields: &[(String, String)], body: &str) {
        let environ = serde_json::from_str::<BTreeMap<String, Value>>(body).ok();
        for (name, value) in fields {
            let name = name.to_ascii_lowercase();
            // How httpd frames a body is its own affair.
            let own = matches!(&*name, "date" | "server" | "transfer-encoding")
                || (name == "content-length" && environ.is_some());
            if !own {
                let have = parts.entry(format!("field {name}")).or_default();
                *have += &format!("[{}]", self.neutral(value));
            }
        }
        match environ {
            None => drop(parts.insert("body".to_owned(), self.neutral(body))),
            Some(environ) => {
                for (key, value) in environ {
                    // Different in every request, and in the name of the module.
                    let value = match key.as_str() {
                        "REMOTE_PORT"
                        | "mod_wsgi.server_pid"
                        | "SERVER_SOFTWARE"
                        | "UNIQUE_ID"
                        | "REDIRECT_UNIQUE_ID"
                        | "REDIRECT_REDIRECT_UNIQUE_ID"
                        | "H2_STREAM_TAG"
                        | "mod_wsgi.request_id"
                        | "mod_wsgi.connection_id"
                        | "mod_wsgi.thread_id"
                        | "SSL_SESSION_ID"
                        | "SSL_SESSION_RESUMED" => {
                            value.get(0).map(Value::to_string).unwrap_or_default()
                        }
                        _ => value.to_string(),
                    };
                    parts.insert(format!("environ {key}"), self.neutral(&value));
                }
            }
        }
    }

    fn neutral(&self, text: &str) -> String {
        text.replace(&self.httpd.root().display().to_string(), "ROOT")
            .replace(&self.port(), "PORT")
            .replace(&self.other(), "OTHERPORT")
            // What runs inside httpd there runs in the implicit group here.
            .replace("\"wsgid:default\"", "\"\"")
    }
}

/// An exception without its words; any other text as it is.
fn kind(text: &str) -> &str {
    let kind = text
        .split_once(": ")
        .map(|(kind, _)| kind)
        .filter(|kind| kind.ends_with("Error"));
    kind.unwrap_or(text)
}

/// The pieces of a chunked body.
fn joined(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let Some((piece, next)) = rest.split_at_checked(size).filter(|_| size > 0) else {
            break;
        };
        whole += piece;
        body = next.strip_prefix("\r\n").unwrap_or(next);
    }
    whole
}
