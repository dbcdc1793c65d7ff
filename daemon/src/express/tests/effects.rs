//! What combinations of options lead to, and what is refused.

use clap::Parser;

use super::{generated, plan};
use crate::express::ExpressCommand;
use crate::express::render::Values;

fn refusal(arguments: &[&str]) -> String {
    plan(arguments)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_else(|| panic!("{arguments:?} was accepted"))
}

#[test]
fn mistakes_are_named_before_anything_starts() {
    let rows: &[(&[&str], &[&str])] = &[
        (&["/no/such.py"], &["/no/such.py", "no such file"]),
        (&["/usr"], &["/usr", "directory"]),
        (
            &["--application-type", "module"],
            &["module", "entry point"],
        ),
        (
            &["--application-type", "module", "a/b.py"],
            &["a/b.py", "name of a module"],
        ),
        (&["--processes", "0"], &["--processes", "0"]),
        (&["--processes", "x"], &["--processes", "x"]),
        (
            &["--url-alias", "static", "/usr"],
            &["--url-alias", "static", "/"],
        ),
        (
            &["--url-alias", "/static", "/no/such"],
            &["--url-alias", "/no/such"],
        ),
        (
            &["--error-document", "200", "/x"],
            &["--error-document", "200"],
        ),
        (&["--python-home", "/var"], &["/var", "bin/python"]),
        (
            &["--document-root", "/etc/passwd"],
            &["--document-root", "a directory is needed"],
        ),
        (
            &["--service-user", "nobody", "nobody"],
            &["nobody", "--service-script"],
        ),
        (
            &["--httpd-executable", "/etc/passwd"],
            &["/etc/passwd", "--httpd-executable"],
        ),
        (
            &["--https-port", "8443", "--ssl-certificate", "/no/site"],
            &["/no/site.crt"],
        ),
    ];
    for (arguments, words) in rows {
        let text = refusal(arguments);
        for word in *words {
            assert!(
                text.contains(word),
                "{arguments:?}: `{word}` is not in: {text}"
            );
        }
    }
}

#[test]
fn root_is_refused_as_a_user() {
    if nix::unistd::geteuid().is_root() {
        assert!(refusal(&["--user", "root", "--group", "nogroup"]).contains("root"));
        assert!(refusal(&["--user", "nobody", "--group", "root"]).contains("root"));
        assert!(
            refusal(&["--user", "no-such-user", "--group", "nogroup"]).contains("no-such-user")
        );
    }
}

#[test]
fn values_cannot_break_out_of_their_directive() {
    let text = generated(&["--setenv", "A", "x\" y\\", "--server-name", "a.example"]);
    assert!(text.contains("SetEnv \"A\" \"x\\\" y\\\\\""), "{text}");
    let plan = plan(&["--setenv", "A", "x\nUser root"]).unwrap();
    assert!(Values::of(&plan).unwrap().httpd_conf().is_err());
}

#[test]
fn a_name_of_its_own_turns_others_away() {
    let text = generated(&["--server-name", "example.com"]);
    let denied = text
        .find("Require all denied\n    </Location>")
        .expect("others are denied");
    let named = text
        .find("ServerName \"example.com\"\n</VirtualHost>")
        .expect("the name is served");
    assert!(
        denied < named,
        "the first virtual host is the one for unknown names"
    );
}

#[test]
fn options_repeat_and_shorten_as_in_express() {
    let line = [
        "--port",
        "1",
        "--port",
        "2",
        "--processe",
        "4",
        "--url-alias",
        "/a",
        "/usr",
        "--url-alias",
        "/b",
        "/usr",
    ];
    let line = ["wsgid", "start-server", "--http2", "--http2"]
        .into_iter()
        .chain(line);
    let ExpressCommand::StartServer(options) = Program::try_parse_from(line).unwrap().command
    else {
        panic!("another command")
    };
    assert_eq!(
        (options.network.port, options.processes.processes.as_deref()),
        (2, Some("4"))
    );
    assert_eq!(options.files.url_alias, ["/a", "/usr", "/b", "/usr"]);
}

#[derive(Debug, clap::Parser)]
struct Program {
    #[command(subcommand)]
    command: ExpressCommand,
}

#[test]
fn static_files_alone_need_no_module() {
    let text = generated(&["--application-type", "static", "--document-root", "/usr"]);
    assert!(
        !text.contains("WSGIDaemonProcess") && !text.contains("wsgi_module"),
        "{text}"
    );
    assert!(text.contains("DirectoryIndex \"index.html\""));
}

#[test]
fn longer_aliases_come_first() {
    let text = generated(&[
        "--url-alias",
        "/a",
        "/usr",
        "--url-alias",
        "/a/b",
        "/usr",
        "--url-alias",
        "/a/b/file",
        "/etc/passwd",
    ]);
    let at = |what: &str| {
        text.find(what)
            .unwrap_or_else(|| panic!("{what} is missing:\n{text}"))
    };
    assert!(
        at("Alias \"/a/b/file\"") < at("Alias \"/a/b\" ")
            && at("Alias \"/a/b\" ") < at("Alias \"/a\" ")
    );
    assert!(text.contains("<Directory \"/etc\">\n    <Files \"passwd\">"));
}

#[test]
fn the_process_group_is_named_as_in_express() {
    assert!(generated(&[]).contains("WSGIDaemonProcess \"localhost:8000\" "));
    assert!(
        generated(&["--host", "127.0.0.1", "--port", "81"])
            .contains("WSGIDaemonProcess \"127.0.0.1:81\" ")
    );
}

#[test]
fn a_stem_names_certificate_and_key() {
    let place = tempfile::tempdir().unwrap();
    let stem = place.path().join("site");
    for extension in ["crt", "key"] {
        std::fs::write(stem.with_extension(extension), "").unwrap();
    }
    let text = generated(&[
        "--https-port",
        "8443",
        "--ssl-certificate",
        stem.to_str().unwrap(),
    ]);
    assert!(
        text.contains(&format!("SSLCertificateFile \"{}.crt\"", stem.display())),
        "{text}"
    );
    assert!(
        text.contains(&format!("SSLCertificateKeyFile \"{}.key\"", stem.display())),
        "{text}"
    );
}
