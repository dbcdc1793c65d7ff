//! A configuration with one directive in one place, and what httpd says of it.

use wsgid_tests::httpd::Check;
use wsgid_tests::{Builder, Site};

use crate::rows::Place::{self, Auth};

pub(crate) fn check(site: &Site, lines: &str) -> Check {
    let lines = lines.replace('$', &site.file("probe.py").display().to_string());
    Builder::new()
        .daemon("site", "threads=5")
        .line(lines)
        .check()
}

/// The same, where `$1` is the back-reference of a regular expression.
pub(crate) fn check_line(
    site: &Site,
    name: &str,
    value: &str,
    around: Option<(&str, &str)>,
) -> Check {
    Builder::new()
        .daemon("site", "threads=5")
        .line(lines_of(site, name, value, around))
        .check()
}

pub(crate) fn lines_of(
    site: &Site,
    name: &str,
    value: &str,
    around: Option<(&str, &str)>,
) -> String {
    let value = value
        .replace("$1", "\u{1}")
        .replace('$', &site.file("probe.py").display().to_string());
    let line = format!("{name} {}", value.replace('\u{1}', "$1"));
    around.map_or_else(
        || line.clone(),
        |(open, close)| format!("{open}\n{line}\n{close}"),
    )
}

/// What has to stand around a directive.
pub(crate) fn home(place: Place) -> Option<(&'static str, &'static str)> {
    (place == Auth).then_some(SECTIONS[0])
}

pub(crate) const HOST: (&str, &str) = ("<VirtualHost *>\nServerName www.example", "</VirtualHost>");

pub(crate) const SECTIONS: &[(&str, &str)] = &[
    ("<Directory /srv>", "</Directory>"),
    ("<Location /x>", "</Location>"),
    ("<LocationMatch ^/x>", "</LocationMatch>"),
    ("<Files x.wsgi>", "</Files>"),
    ("<If \"%{REQUEST_URI} == '/x'\">", "</If>"),
    (
        "<VirtualHost *>\nServerName www.example\n<Location /y>",
        "</Location>\n</VirtualHost>",
    ),
];
