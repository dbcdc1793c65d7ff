//! What httpd's `envvars` exports and applications would miss: a worker's
//! environment is built from nothing.

use std::path::Path;

use super::finding::Finding;

/// What workers get anyway, or what is for httpd alone.
const NOT_FOR_APPLICATIONS: &[&str] = &[
    "LANG",
    "LC_ALL",
    "TZ",
    "PATH",
    "LD_LIBRARY_PATH",
    "HOME",
    "USER",
];

/// Variables of the file that no worker will see.
pub(crate) fn findings(envvars: Option<&Path>) -> Vec<Finding> {
    let Some(path) = envvars else {
        return Vec::new();
    };
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for name in exported(line) {
            let text = format!(
                "`{name}` reaches os.environ of applications with mod_wsgi, for they inherit httpd's environment; \
                 here a process group gets it with env={name}=… or env-file="
            );
            let origin = format!("{}:{}", path.display(), number + 1);
            findings.push(Finding::change(&origin, text));
        }
    }
    findings
}

fn exported(line: &str) -> Vec<&str> {
    let Some(rest) = line.trim_start().strip_prefix("export ") else {
        return Vec::new();
    };
    let end = rest.find(['=', '#', ';']).unwrap_or(rest.len());
    let names = rest.get(..end).unwrap_or_default().split_whitespace();
    let for_httpd = |name: &&str| name.starts_with("APACHE") || NOT_FOR_APPLICATIONS.contains(name);
    names.filter(|name| !for_httpd(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_exported() {
        assert_eq!(
            exported("export DJANGO_SETTINGS_MODULE=shop.settings"),
            ["DJANGO_SETTINGS_MODULE"]
        );
        assert_eq!(exported("  export LANG A B"), ["A", "B"]);
        assert!(exported("#export X=1").is_empty());
        assert!(exported("export APACHE_RUN_USER=www-data").is_empty());
    }
}
