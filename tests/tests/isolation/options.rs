//! What each single option of isolation does by itself, and that it can be taken out of
//! a preset.

use std::fs;

use wsgid_tests::{Httpd, Limit, Request, Site, case, users};

/// Runs what the request says and gives what came of it.
const EVALUATES: &str = "
import errno
def application(environ, start_response):
    names = {}
    try:
        exec(environ['wsgi.input'].read().decode(), names)
        said = str(names.get('said'))
    except OSError as error:
        said = errno.errorcode[error.errno]
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [said.encode()]
";

/// A site with these options, and what it says to each of the scripts.
fn says(options: &str, scripts: &[String]) -> Vec<String> {
    let site = Site::new();
    let script = site.write("app.py", EVALUATES);
    let httpd = Httpd::builder()
        .daemon("app", &format!("processes=1 threads=1 {options}"))
        .mount("/", &script, "app")
        .start();
    let mut client = httpd.client();
    let said = scripts
        .iter()
        .map(|script| client.send(&Request::post("/", script.as_bytes())))
        .map(|answer| answer.expect("it answers").text())
        .collect();
    httpd.stop();
    said
}

fn line(script: &str) -> String {
    format!("import os, socket, ctypes\n{script}\n")
}

/// What each option refuses, how that is tried, and what is said then.
fn rows(elsewhere: &str, marked: &str) -> Vec<(String, String, &'static str)> {
    let write = format!("said = open('{elsewhere}/new', 'w') and os.remove('{elsewhere}/new')");
    let row = |option: &str, script: &str, refused| (option.to_owned(), line(script), refused);
    vec![
        row(
            "private-tmp=On",
            &format!("said = os.path.exists('{marked}')"),
            "False",
        ),
        row("protect-system=On", &write, "EROFS"),
        row(
            "protect-home=On",
            "said = bool(os.listdir('/root'))",
            "False",
        ),
        row(
            "private-devices=On",
            "said = os.path.exists('/dev/kmsg') or os.path.exists('/dev/vda') or len(os.listdir('/dev')) > 16",
            "False",
        ),
        row(
            "protect-proc=On",
            "said = os.path.exists(f'/proc/{os.getppid()}')",
            "False",
        ),
        row(
            &format!("inaccessible-paths={elsewhere}"),
            &format!("said = os.listdir('{elsewhere}')"),
            "EACCES",
        ),
        row(
            "restrict-address-families=unix",
            "said = socket.socket(socket.AF_INET) and 'made'",
            "EAFNOSUPPORT",
        ),
        row(
            "connect-ports=1",
            "said = socket.socket().connect_ex(('127.0.0.1', 9)) == 111",
            "False",
        ),
    ]
}

#[test]
fn root_each_option_refuses_by_itself() {
    case(Limit::seconds(120), || {
        if !users::is_root() {
            return;
        }
        let elsewhere = tempfile::tempdir_in("/opt").expect("root may make one");
        let path = elsewhere.path();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(path, open).expect("it is ours");
        let marked = tempfile::Builder::new()
            .tempfile_in("/var/tmp")
            .expect("root may make one");
        let marked_path = marked.path().to_str().expect("it is text");
        let rows = rows(path.to_str().expect("it is text"), marked_path);
        let scripts: Vec<String> = rows.iter().map(|(_, script, _)| script.clone()).collect();
        let without = says("", &scripts);
        for (index, (option, script, refused)) in rows.iter().enumerate() {
            let with = says(option, std::slice::from_ref(script));
            assert_eq!(with[0], *refused, "{option}");
            assert_ne!(
                without[index], *refused,
                "{option}: it is refused without it"
            );
        }
    });
}

#[test]
fn root_each_option_is_taken_out_of_a_preset() {
    case(Limit::seconds(120), || {
        if !users::is_root() {
            return;
        }
        let elsewhere = tempfile::tempdir_in("/srv").expect("root may make one");
        let secret = elsewhere.path().join("shared");
        fs::write(&secret, "shared").expect("it is ours");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(elsewhere.path(), open).expect("it is ours");
        let read = line(&format!("said = open('{}').read()", secret.display()));
        let trace = line("said = ctypes.CDLL(None).ptrace(0, 0, 0, 0)");
        for (options, script, said) in [
            ("isolation=private".to_owned(), &read, "ENOENT"),
            (
                format!(
                    "isolation=private read-only-paths={}",
                    elsewhere.path().display()
                ),
                &read,
                "shared",
            ),
            (
                "isolation=private protect-home=Off".to_owned(),
                &read,
                "shared",
            ),
            (
                "isolation=strict isolation-fallback=On".to_owned(),
                &trace,
                "-1",
            ),
            (
                "isolation=strict isolation-fallback=On allow-system-calls=ptrace".to_owned(),
                &trace,
                "0",
            ),
        ] {
            assert_eq!(
                says(&options, std::slice::from_ref(script)),
                [said],
                "{options}"
            );
        }
    });
}
