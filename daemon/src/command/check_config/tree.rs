//! The directives one by one, each with its server and its sections.

use wsgid_protocol::report::Node;

use super::words::words;

/// The main server, or a virtual host.
#[derive(Debug)]
pub(crate) struct ConfiguredServer {
    /// For people: ServerName, or the addresses.
    pub(crate) name: String,
    /// `<VirtualHost …>`, for people; empty for the main server.
    pub(crate) addresses: String,
    /// As `%{SERVER}` has it: the name, and the port unless it is 80 or 443.
    pub(crate) key: String,
}

/// A directive in its place.
#[derive(Debug)]
pub(crate) struct SeenDirective<'t> {
    pub(crate) node: &'t Node,
    /// Its words.
    pub(crate) words: Vec<String>,
    /// Index of its server; 0 is the main one.
    pub(crate) server: usize,
    /// The sections around it, but for the virtual host; the outermost first.
    pub(crate) sections: Vec<&'t Node>,
}

impl SeenDirective<'_> {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.node.name.eq_ignore_ascii_case(name)
    }

    pub(crate) fn origin(&self) -> &str {
        &self.node.origin
    }

    pub(crate) fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }
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
            addresses: String::new(),
            key: String::new(),
        };
        let mut configuration = Self {
            seen: Vec::new(),
            servers: vec![main],
        };
        configuration.walk(tree, 0, &[]);
        configuration
    }

    fn walk(&mut self, nodes: &'t [Node], server: usize, sections: &[&'t Node]) {
        for node in nodes {
            if node.name.eq_ignore_ascii_case("<VirtualHost") {
                let name = virtual_host(node);
                let key = key(&name, &node.arguments);
                self.servers.push(ConfiguredServer {
                    name,
                    addresses: node.arguments.clone(),
                    key,
                });
                self.walk(&node.children, self.servers.len() - 1, sections);
                continue;
            }
            self.seen.push(SeenDirective {
                node,
                words: words(&node.arguments),
                server,
                sections: sections.to_vec(),
            });
            if node.name.starts_with('<') {
                let inside: Vec<&Node> = sections.iter().copied().chain([node]).collect();
                self.walk(&node.children, server, &inside);
            }
        }
    }
}

fn virtual_host(node: &Node) -> String {
    let named = node
        .children
        .iter()
        .rev()
        .find(|child| child.name.eq_ignore_ascii_case("ServerName"));
    let name = named.map_or(node.arguments.trim(), |child| child.arguments.trim());
    name.trim_matches('"').to_owned()
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
