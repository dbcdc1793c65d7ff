//! Which virtual hosts may use a process group.

use std::time::Duration;

use wsgid_tests::{Builder, Httpd, Limit, Request, Site, case};

use crate::server::{WHERE, get, groups, options, site};

/// Two virtual hosts on two ports and a third with another name.
fn virtual_hosts(site: &Site, own: &str, foreign: &str) -> (Builder, u16) {
    let mut builder = Httpd::builder();
    let tls = builder.another_port();
    let app = site.write("where.wsgi", WHERE);
    let app = app.display();
    let directory = site.path().display();
    let host = |address: &str, name: &str, lines: &str| {
        format!(
            "<VirtualHost {address}>\nServerName {name}\nWSGIScriptAlias / {app}\n{lines}\n</VirtualHost>"
        )
    };
    let builder = builder
        .line(format!("<Directory {directory}>\nRequire all granted\n</Directory>\nWSGIApplicationGroup %{{GLOBAL}}"))
        .daemon("everybody", &options())
        .line(host("*", "own.example", &format!("WSGIDaemonProcess hosted {}\n{own}", options())))
        .line(host(&format!("*:{tls}"), "OWN.example", own))
        .line(host("*", "foreign.example", foreign));
    (builder, tls)
}

#[test]
fn a_group_of_a_virtual_host_is_for_its_name_on_every_port() {
    case(Limit::default(), || {
        let site = Site::new();
        let (builder, tls) =
            virtual_hosts(&site, "WSGIProcessGroup hosted", "WSGIProcessGroup hosted");
        let httpd = builder.start();
        assert_eq!(groups(&httpd, "/", "own.example").0, "hosted");
        let mut other = wsgid_tests::Client::new(([127, 0, 0, 1], tls).into());
        let answer = other
            .send(&Request::new("GET", "/").header("Host", "own.example"))
            .expect("an answer");
        assert!(answer.text().starts_with("hosted|"), "{}", answer.text());
        assert_eq!(get(&httpd, "/", "foreign.example").status, 500);
        httpd.wait_for_log("belongs to another virtual host", Duration::from_secs(5));
        httpd.stop();
    });
}

#[test]
fn a_group_of_the_main_server_is_for_all() {
    case(Limit::default(), || {
        let site = Site::new();
        let (builder, _) = virtual_hosts(
            &site,
            "WSGIProcessGroup hosted",
            "WSGIProcessGroup everybody",
        );
        let httpd = builder.start();
        assert_eq!(groups(&httpd, "/", "foreign.example").0, "everybody");
        assert_eq!(groups(&httpd, "/", "own.example").0, "hosted");
        httpd.stop();
    });
}

#[test]
fn an_alias_to_a_foreign_group_is_named_at_configuration() {
    case(Limit::default(), || {
        let site = Site::new();
        let alias = format!(
            "WSGIScriptAlias /x {} process-group=hosted application-group=%{{GLOBAL}}",
            site.file("where.wsgi").display()
        );
        let (builder, _) = virtual_hosts(&site, "", &alias);
        let check = builder.check();
        assert!(check.ok);
        assert!(
            check
                .text
                .contains("process group `hosted` of another virtual host"),
            "{}",
            check.text
        );
        assert!(check.text.contains("httpd.conf:"), "{}", check.text);
        let httpd = builder.start();
        // Its script is not loaded there.
        let groups = httpd.status().groups;
        let hosted = groups.iter().find(|group| group.name == "hosted");
        assert!(
            hosted.is_some_and(|group| group.pools.is_empty()),
            "{groups:?}"
        );
        httpd.stop();
    });
}

#[test]
fn groups_that_nobody_defined_are_named_at_configuration() {
    case(Limit::default(), || {
        let (_site, builder) = site();
        let check = builder.line("WSGIProcessGroup missing").check();
        assert!(
            check.ok
                && check
                    .text
                    .contains("WSGIProcessGroup: the process group `missing`")
                && check.text.contains("httpd.conf:"),
            "{}",
            check.text
        );
        let (site, builder) = self::site();
        let script = site.file("where.wsgi");
        let script = script.display();
        let directory = site.path().display();
        drop(builder);
        for line in [
            format!("WSGIScriptAlias /x {script} process-group=missing application-group=a"),
            format!("WSGIScriptAlias /x {script} process-group=missing"),
            format!("WSGIScriptAlias /x/ {directory}/ process-group=missing"),
            format!("WSGIScriptAliasMatch ^/x/(.*) {directory}/$1 process-group=missing"),
            format!("WSGIHandlerScript any {script} process-group=missing"),
        ] {
            let check = Httpd::builder().line(&line).check();
            let named = check
                .text
                .contains("process group `missing` is not defined")
                && check.text.contains("httpd.conf:");
            assert!(check.ok && named, "{line}: {}", check.text);
        }
    });
}

/// certbot copies a whole virtual host, WSGIDaemonProcess and all.
#[test]
fn a_copied_virtual_host_shares_its_group() {
    case(Limit::default(), || {
        let site = Site::new();
        let app = site.write("where.wsgi", WHERE);
        let copy = |options: &str, address: &str| {
            format!(
                "<VirtualHost {address}>\nServerName www.example\nWSGIDaemonProcess copied {options}\n\
                 WSGIProcessGroup copied\nWSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias / {}\n\
                 <Directory {}>\nRequire all granted\n</Directory>\n</VirtualHost>",
                app.display(),
                site.path().display()
            )
        };
        let mut builder = Httpd::builder();
        let tls = builder.another_port();
        let httpd = builder
            .line(copy(&options(), "*"))
            .line(copy(&options(), &format!("*:{tls}")))
            .start();
        let first = get(&httpd, "/", "www.example").text();
        let mut other = wsgid_tests::Client::new(([127, 0, 0, 1], tls).into());
        let second = other
            .send(&Request::new("GET", "/").header("Host", "www.example"))
            .expect("an answer")
            .text();
        assert_eq!(first, second, "one process serves both");
        httpd.wait_for_log(
            "is defined a second time with the same options",
            Duration::from_secs(5),
        );
        httpd.stop();

        let mut builder = Httpd::builder();
        let tls = builder.another_port();
        let changed = options().replace("threads=3", "threads=4");
        let check = builder
            .line(copy(&options(), "*"))
            .line(copy(&changed, &format!("*:{tls}")))
            .check();
        assert!(
            !check.ok && check.text.contains("with other options"),
            "{}",
            check.text
        );
    });
}
