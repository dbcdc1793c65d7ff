//! The directives one by one, each with its server and its sections, and which of
//! them hold for a script: httpd's order of sections, without a request. What only
//! a request decides is "perhaps".

use std::path::Path;

use wsgid_protocol::report::Node;

use super::section::{Holds, Section};
use super::words::words;

/// The main server, or a virtual host.
#[derive(Debug)]
pub(crate) struct ConfiguredServer {
    /// For people: ServerName and the addresses.
    pub(crate) name: String,
    /// As `%{SERVER}` has it: the name, and the port unless it is 80 or 443.
    pub(crate) key: String,
}

/// A directive in its place.
#[derive(Debug)]
pub(crate) struct SeenDirective<'t> {
    pub(crate) node: &'t Node,
    /// Its name in small letters.
    pub(crate) name: String,
    /// Its words.
    pub(crate) words: Vec<String>,
    /// Index of its server; 0 is the main one.
    pub(crate) server: usize,
    /// The sections around it, but for the virtual host; the outermost first.
    pub(crate) sections: Vec<Section>,
}

impl SeenDirective<'_> {
    pub(crate) fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    /// Whether it counts in a server.
    pub(crate) fn counts_in(&self, server: usize) -> bool {
        self.server == 0 || self.server == server
    }

    /// How late it is merged: the last one wins.
    fn rank(&self) -> ((u8, usize), bool) {
        let section = self.sections.last();
        (section.map_or((0, 0), Section::rank), self.server != 0)
    }
}

/// Where a script answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScriptAddress<'p> {
    pub(crate) server: usize,
    pub(crate) url: &'p str,
    pub(crate) file: &'p Path,
}

/// What holds there.
#[derive(Debug, Default)]
pub(crate) struct Value<'c> {
    /// The directive that certainly holds, unless one of `perhaps` does.
    pub(crate) certain: Option<&'c SeenDirective<'c>>,
    /// Those that would win if their section holds.
    pub(crate) perhaps: Vec<&'c SeenDirective<'c>>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct ConfigTree<'t> {
    pub(crate) seen: Vec<SeenDirective<'t>>,
    pub(crate) servers: Vec<ConfiguredServer>,
}

impl<'t> ConfigTree<'t> {
    pub(crate) fn new(tree: &'t [Node]) -> Self {
        let main = ConfiguredServer {
            name: "the main server".to_owned(),
            key: String::new(),
        };
        let mut configuration = Self {
            seen: Vec::new(),
            servers: vec![main],
        };
        configuration.walk(tree, 0, &[]);
        configuration
    }

    fn walk(&mut self, nodes: &'t [Node], server: usize, sections: &[Section]) {
        for node in nodes {
            let name = node.name.to_ascii_lowercase();
            if name == "<virtualhost" {
                self.servers.push(virtual_host(node));
                self.walk(&node.children, self.servers.len() - 1, sections);
                continue;
            }
            if name.starts_with('<') {
                let inside = [sections, &[Section::new(node)]].concat();
                self.walk(&node.children, server, &inside);
                continue;
            }
            self.seen.push(SeenDirective {
                node,
                name,
                words: words(&node.arguments),
                server,
                sections: sections.to_vec(),
            });
        }
    }

    /// The value of a directive, whose name is in small letters.
    pub(crate) fn value(&self, name: &str, address: ScriptAddress<'_>) -> Value<'_> {
        let named = self.seen.iter().filter(|seen| seen.name == name);
        let mut named: Vec<&SeenDirective<'_>> = named
            .filter(|seen| seen.counts_in(address.server))
            .collect();
        named.sort_by_key(|seen| seen.rank());
        let mut value = Value::default();
        for seen in named {
            let sections = seen.sections.iter();
            let holds = sections.map(|section| section.holds(address.url, address.file));
            match holds.min().unwrap_or(Holds::Yes) {
                Holds::Yes => {
                    value = Value {
                        certain: Some(seen),
                        perhaps: Vec::new(),
                    };
                }
                Holds::Perhaps => value.perhaps.push(seen),
                Holds::No => {}
            }
        }
        value
    }
}

fn virtual_host(node: &Node) -> ConfiguredServer {
    let addresses = node.arguments.trim();
    let named = node
        .children
        .iter()
        .rev()
        .find(|child| child.name.eq_ignore_ascii_case("ServerName"));
    let name = named.map_or(addresses, |child| child.arguments.trim().trim_matches('"'));
    ConfiguredServer {
        key: key(name, addresses),
        name: if name == addresses {
            format!("virtual host {addresses}")
        } else {
            format!("virtual host {name} ({addresses})")
        },
    }
}

/// The name, and the port unless it is a usual one. ServerName may have a port
/// of its own, which then counts.
fn key(name: &str, addresses: &str) -> String {
    let first = addresses.split_whitespace().next().unwrap_or_default();
    let (host, port) = match split_port(name) {
        (host, Some(port)) => (host, Some(port)),
        (host, None) => (host, split_port(first).1),
    };
    match port {
        None | Some("80" | "443") => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    }
}

fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            (host, Some(port))
        }
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn the_port_of_the_name_comes_first() {
        for (name, addresses, expected) in [
            ("a.example", "*:80", "a.example"),
            ("a.example", "*:443 [::1]:8443", "a.example"),
            ("a.example", "*:8080", "a.example:8080"),
            ("a.example:8443", "*:443", "a.example:8443"),
            ("a.example:443", "*:8443", "a.example"),
            ("a.example", "*", "a.example"),
            ("a.example", "*:*", "a.example"),
        ] {
            assert_eq!(key(name, addresses), expected, "{name} {addresses}");
        }
    }
}
