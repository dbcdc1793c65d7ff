//! What configurations let groups run: written as httpd reads them, one directive
//! a line.

use std::collections::BTreeSet;

use wsgid_protocol::report::Node;
use wsgid_protocol::runs::Runs;

use wsgid_protocol::names::DEFAULT_GROUP;

use crate::configuration::permitted::Permitted;
use crate::configuration::permitted::collect::ServerStatements;
use crate::configuration::permitted::statement::{Statements, matters};
use crate::configuration::permitted::url_directories::homes;

/// The lines up to the end of the section.
fn read<'t>(lines: &mut impl Iterator<Item = (usize, &'t str)>) -> Vec<Node> {
    let mut all = Vec::new();
    while let Some((number, line)) = lines.next() {
        let (name, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let name = name.to_ascii_lowercase();
        if name.starts_with("</") {
            break;
        }
        let is_section = name.starts_with('<');
        let children = if is_section { read(lines) } else { Vec::new() };
        let arguments = arguments
            .strip_suffix('>')
            .filter(|_| is_section)
            .unwrap_or(arguments)
            .to_owned();
        assert!(is_section || matters(&name), "{name}");
        all.push(Node {
            name,
            arguments,
            origin: format!("conf:{number}"),
            children,
        });
    }
    all
}

/// What the groups a and b may run in the main server and in the virtual hosts,
/// of which each may use both.
fn permitted(text: &str) -> Permitted {
    let mut numbered = (1..).zip(text.lines().map(str::trim).filter(|line| !line.is_empty()));
    collected(&read(&mut numbered))
}

fn collected(lines: &[Node]) -> Permitted {
    let statements = Statements::new(lines);
    let hosts = lines
        .iter()
        .filter(|line| line.name == "<virtualhost")
        .map(|line| Some(line.origin.as_str()));
    let mut permitted = Permitted::new();
    for host in [None].into_iter().chain(hosts) {
        for own in statements.of_server(host) {
            let server = ServerStatements {
                root: "/etc/httpd",
                homes: &homes(
                    "ann:x:1000:1000:Ann:/srv/people/ann:/bin/sh\nrunner:x:999:999::/var/lib/runner:\n",
                ),
                statements: own,
                visible: ["a", "b", DEFAULT_GROUP].map(str::to_owned).into(),
                own_directories: &|group| vec![format!("/home/{group}")],
            };
            server.collect(&mut permitted);
        }
    }
    permitted
}

/// Files and directories of a group, in one line.
fn of(permitted: &Permitted, group: &str) -> String {
    let nothing = Runs::default();
    let runs = permitted.get(group).unwrap_or(&nothing);
    // A script of an alias may be a directory as well; it is shown once.
    let directories = runs
        .directories
        .difference(&runs.files)
        .map(|directory| format!("{directory}/"));
    let all: BTreeSet<String> = runs.files.iter().cloned().chain(directories).collect();
    all.into_iter().collect::<Vec<_>>().join(" ")
}

fn check(text: &str, expected: [(&str, &str); 3]) {
    let permitted = permitted(text);
    for (group, scripts) in expected {
        assert_eq!(of(&permitted, group), scripts, "{group} in\n{text}");
    }
}

#[test]
fn an_alias_names_a_script_for_its_group() {
    check(
        "WSGIScriptAlias /a /srv/a/app.wsgi process-group=a
         WSGIScriptAlias /b \"/srv/b b/app.wsgi\" process-group=b application-group=%{GLOBAL}
         WSGIScriptAlias /c conf/c.wsgi
         WSGIScriptAlias /d/ /srv/d/ process-group=a
         WSGIScriptAlias /e /srv/x/../e.wsgi process-group=%{GLOBAL}",
        [
            ("a", "/srv/a/app.wsgi /srv/d/"),
            ("b", "/srv/b b/app.wsgi"),
            (DEFAULT_GROUP, "/etc/httpd/conf/c.wsgi /srv/e.wsgi"),
        ],
    );
}

#[test]
fn the_fixed_front_of_a_pattern_is_a_directory() {
    check(
        "WSGIScriptAliasMatch ^/s/([^/]+) /srv/sites/$1/app.wsgi process-group=a
         WSGIScriptAliasMatch ^/t/(.*) /srv/t/one-$1.wsgi process-group=b
         WSGIScriptAliasMatch ^/whole /srv/whole.wsgi
         WSGIScriptAliasMatch ^(.*) $1.wsgi process-group=a
         WSGIScriptAliasMatch ^(/.*) /$1 process-group=a",
        [
            ("a", "/etc/httpd/ /srv/sites/"),
            ("b", "/srv/t/"),
            (DEFAULT_GROUP, "/srv/whole.wsgi"),
        ],
    );
}

#[test]
fn sections_choose_the_group_of_what_they_are_about() {
    check(
        "WSGIScriptAlias /a /srv/a/app.wsgi
         WSGIScriptAlias /b /srv/b/app.wsgi
         WSGIScriptAlias /c /srv/c/app.wsgi
         WSGIScriptAlias /cc /srv/cc/app.wsgi
         <Directory /srv/a>
         WSGIProcessGroup a
         </Directory>
         <Directory /srv/b/>
         WSGIProcessGroup b
         </Directory>
         <Location /c>
         WSGIProcessGroup a
         </Location>
         <Location /cc/deep>
         WSGIProcessGroup b
         </Location>",
        [
            ("a", "/srv/a/app.wsgi /srv/c/app.wsgi"),
            ("b", "/srv/b/app.wsgi /srv/cc/app.wsgi"),
            (DEFAULT_GROUP, "/srv/cc/app.wsgi"),
        ],
    );
}

#[test]
fn virtual_hosts_have_their_own_and_what_holds_for_all() {
    check(
        "WSGIScriptAlias /all /srv/all.wsgi
         <VirtualHost *:80>
         WSGIProcessGroup a
         WSGIScriptAlias / /srv/a.wsgi
         </VirtualHost>
         <VirtualHost *:80>
         WSGIScriptAlias / /srv/b.wsgi
         <Location />
         WSGIProcessGroup b
         </Location>
         </VirtualHost>",
        [
            ("a", "/srv/a.wsgi /srv/all.wsgi"),
            ("b", "/srv/all.wsgi /srv/b.wsgi"),
            (DEFAULT_GROUP, "/srv/all.wsgi"),
        ],
    );
}

#[test]
fn what_only_a_request_decides_may_be_any_group_that_is_listed() {
    let alias = "WSGIScriptAlias /x /srv/x.wsgi\n";
    let variable = "<Location /x>\nWSGIProcessGroup %{ENV:WHICH}\n";
    let (all, one) = (
        [("a", "/srv/x.wsgi"), ("b", "/srv/x.wsgi")],
        [("a", "/srv/x.wsgi"), ("b", "")],
    );
    let check = |text: &str, expected: [(&str, &str); 2], implicit: &str| {
        check(text, [expected[0], expected[1], (DEFAULT_GROUP, implicit)]);
    };
    check(&format!("{alias}{variable}</Location>"), all, "/srv/x.wsgi");
    check(
        &format!("{alias}{variable}WSGIRestrictProcess a\n</Location>"),
        one,
        "",
    );
    check(
        &format!("{alias}WSGIRestrictProcess b\n{variable}WSGIRestrictProcess a\n</Location>"),
        one,
        "",
    );
    check(
        &format!("{alias}WSGIRestrictProcess a %{{GLOBAL}}\n{variable}</Location>"),
        one,
        "/srv/x.wsgi",
    );
    check(
        &format!("{alias}<If \"true\">\nWSGIProcessGroup a\n</If>"),
        one,
        "/srv/x.wsgi",
    );
    // A dispatch script, which runs in a group of its own.
    let dispatch = "<Location /x>\nWSGIDispatchScript /srv/d.py process-group=b\nWSGIRestrictProcess a\n</Location>";
    check(
        &format!("{alias}{dispatch}"),
        [("a", "/srv/x.wsgi"), ("b", "/srv/d.py")],
        "/srv/x.wsgi",
    );
}

#[test]
fn scripts_for_access_and_dispatch_run_where_they_say() {
    check(
        "WSGIProcessGroup b
         <Directory /srv/docs>
         WSGIAccessScript /srv/access.py process-group=a
         WSGIAuthUserScript conf/user.py
         WSGIAuthGroupScript /srv/group.py process-group=%{GLOBAL}
         </Directory>
         WSGIHandlerScript one /srv/one.py process-group=a
         WSGIHandlerScript two /srv/two.py",
        [
            ("a", "/srv/access.py /srv/one.py"),
            ("b", "/srv/two.py"),
            (DEFAULT_GROUP, "/etc/httpd/conf/user.py /srv/group.py"),
        ],
    );
}

#[test]
fn a_handler_serves_what_its_section_is_about() {
    check(
        "<Directory /srv/a>
         WSGIProcessGroup a
         AddHandler wsgi-script .wsgi
         </Directory>
         <Directory /srv/sites/*/scripts>
         WSGIProcessGroup b
         SetHandler wsgi-script
         </Directory>
         <DirectoryMatch ^/usr/m[ae]tched/>
         AddType application/x-httpd-wsgi .py
         </DirectoryMatch>
         <Directory /srv/other>
         SetHandler cgi-script
         </Directory>",
        [
            ("a", "/srv/a/"),
            ("b", "/srv/sites/"),
            (DEFAULT_GROUP, "/srv/sites/ /usr/"),
        ],
    );
    check(
        "DocumentRoot /srv/docs
         Alias /media /srv/media
         <Location /media/apps>
         SetHandler wsgi-script
         WSGIProcessGroup a
         </Location>
         <Location /one.wsgi>
         SetHandler wsgi-script
         </Location>
         <Location /med>
         SetHandler wsgi-script
         WSGIProcessGroup b
         </Location>",
        [
            ("a", "/srv/media/apps/"),
            ("b", "/srv/docs/med/"),
            (DEFAULT_GROUP, "/srv/docs/one.wsgi/"),
        ],
    );
    check(
        "AliasMatch ^/m/(.*) /srv/m/$1
         <LocationMatch ^/[m]/>
         SetHandler wsgi-script
         WSGIProcessGroup a
         </LocationMatch>",
        [
            ("a", "/etc/httpd/htdocs/ /srv/m/"),
            ("b", ""),
            (DEFAULT_GROUP, "/etc/httpd/htdocs/ /srv/m/"),
        ],
    );
}

#[test]
fn a_handler_of_the_server_serves_what_urls_reach() {
    for handler in [
        "AddHandler wsgi-script .wsgi",
        "<Files app.py>\nSetHandler wsgi-script\n</Files>",
        "RewriteRule ^/x - [H=wsgi-script]",
    ] {
        check(
            &format!(
                "DocumentRoot /srv/main
                 Alias /m /srv/m/
                 <VirtualHost *:80>
                 WSGIProcessGroup a
                 DocumentRoot /srv/a
                 UserDir /srv/users/*/www
                 <Location /in>
                 Alias /srv/inside
                 </Location>
                 {handler}
                 </VirtualHost>
                 <VirtualHost *:80>
                 WSGIProcessGroup b
                 VirtualDocumentRoot /srv/b/%0/docs
                 RewriteRule ^/f/(.*) /srv/files/$1
                 </VirtualHost>"
            ),
            [
                ("a", "/srv/a/ /srv/inside/ /srv/m/ /srv/users/"),
                ("b", ""),
                (DEFAULT_GROUP, ""),
            ],
        );
    }
    check(
        "AddHandler wsgi-script .wsgi
         DocumentRoot /srv/main
         <VirtualHost *:80>
         WSGIProcessGroup b
         VirtualDocumentRoot /srv/b/%0/docs
         RewriteRule ^/f/(.*) /srv/files/$1
         RewriteRule ^/g/(.*) /$1 [PT]
         UserDir public_html
         </VirtualHost>",
        [
            ("a", ""),
            ("b", "/home/ /srv/b/ /srv/files/ /srv/main/ /srv/people/"),
            (DEFAULT_GROUP, "/srv/main/"),
        ],
    );
}

#[test]
fn a_rewritten_file_is_named() {
    check(
        "<Directory /srv/r>
         WSGIProcessGroup a
         </Directory>
         DocumentRoot /srv/docs
         <Location /nothing>
         RewriteRule ^/r/(.*) /srv/r/app.wsgi/$1 [L,H=wsgi-script]
         </Location>",
        [
            ("a", "/srv/r/app.wsgi/"),
            ("b", ""),
            (DEFAULT_GROUP, "/srv/docs/nothing/"),
        ],
    );
}

#[test]
fn htaccess_may_name_what_the_server_lets_it() {
    let place = |override_: &str, more: &str| {
        format!("<Directory /srv/docs>\nAllowOverride {override_}\n{more}\n</Directory>")
    };
    check(
        &place("None", "WSGIProcessGroup a"),
        [("a", ""), ("b", ""), (DEFAULT_GROUP, "")],
    );
    check(
        &place("FileInfo", "WSGIProcessGroup a"),
        [("a", "/srv/docs/"), ("b", ""), (DEFAULT_GROUP, "")],
    );
    check(
        &place("FileInfo", ""),
        [("a", ""), ("b", ""), (DEFAULT_GROUP, "/srv/docs/")],
    );
    check(
        &place("AuthConfig", ""),
        [("a", ""), ("b", ""), (DEFAULT_GROUP, "")],
    );
    let listed = place("AuthConfig", "WSGIRestrictProcess b %{GLOBAL}");
    check(
        &listed,
        [("a", ""), ("b", "/home/b/ /srv/docs/"), (DEFAULT_GROUP, "")],
    );
    let set = place("AuthConfig", "WSGIProcessGroup a");
    check(
        &set,
        [("a", "/home/a/ /srv/docs/"), ("b", ""), (DEFAULT_GROUP, "")],
    );
}

#[test]
fn the_root_directory_is_never_meant() {
    for line in [
        "Alias /x /",
        "RewriteRule ^(.*) / [H=wsgi-script]",
        "WSGIScriptAlias / /",
    ] {
        let all = permitted(&format!(
            "DocumentRoot /\nAddHandler wsgi-script .wsgi\n{line}"
        ));
        assert!(
            all.values().all(|runs| !runs.directories.contains("/")),
            "{line}: {all:?}"
        );
    }
}

#[test]
fn names_of_handlers_and_types_have_no_case() {
    for line in [
        "SetHandler WSGI-Script",
        "AddHandler Wsgi-Script .wsgi",
        "AddType Application/X-Httpd-WSGI .wsgi",
        "ForceType application/x-HTTPD-wsgi",
    ] {
        let text = format!("<Directory /srv/a>\nWSGIProcessGroup a\n{line}\n</Directory>");
        check(&text, [("a", "/srv/a/"), ("b", ""), (DEFAULT_GROUP, "")]);
    }
}

#[test]
fn the_directory_of_a_section_is_written_in_many_ways() {
    for path in ["/srv//a", "/srv/./a/", "/srv/b/../a"] {
        let text =
            format!("<Directory {path}>\nWSGIProcessGroup a\nSetHandler wsgi-script\n</Directory>");
        check(&text, [("a", "/srv/a/"), ("b", ""), (DEFAULT_GROUP, "")]);
    }
}

#[test]
fn all_words_of_userdir_count() {
    check(
        "WSGIProcessGroup a
         AddHandler wsgi-script .wsgi
         DocumentRoot /srv/docs
         UserDir public_html /srv/*/web /srv/users http://elsewhere/
         UserDir disabled root
         UserDir enabled ann",
        [
            ("a", "/home/ /srv/ /srv/docs/ /srv/people/ /srv/users/"),
            ("b", ""),
            (DEFAULT_GROUP, ""),
        ],
    );
}

#[test]
fn a_file_included_twice_defines_two_virtual_hosts() {
    let line = |name: &str, arguments: &str| Node {
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        origin: String::new(),
        children: Vec::new(),
    };
    let host = |group: &str| Node {
        origin: "template:1".to_owned(),
        children: vec![
            line("wsgiprocessgroup", group),
            line("wsgiscriptalias", &format!("/ /srv/{group}/app.wsgi")),
        ],
        ..line("<virtualhost", "*:80")
    };
    let permitted = collected(&[host("a"), host("b")]);
    assert_eq!(of(&permitted, "a"), "/srv/a/app.wsgi");
    assert_eq!(of(&permitted, "b"), "/srv/b/app.wsgi");
}
