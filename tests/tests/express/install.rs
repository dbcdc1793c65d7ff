//! An existing httpd: the module where it is, or copied to httpd's own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use wsgid_tests::{Httpd, Limit, Site, artifacts, case};

/// What a command prints for httpd's configuration.
fn printed(command: &mut Command) -> Vec<String> {
    let output = command.output().expect("wsgid can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Serves with exactly the lines that were printed.
fn serve(lines: &[String]) -> PathBuf {
    let load = lines
        .iter()
        .find_map(|line| line.strip_prefix("LoadModule wsgi_module "))
        .expect("a LoadModule");
    let module = PathBuf::from(load.trim_matches('"'));
    let site = Site::new();
    let mut builder = Httpd::builder().peer(module.clone());
    for line in lines.iter().filter(|line| !line.starts_with("LoadModule")) {
        builder = builder.line(line);
    }
    let httpd = builder
        .daemon("site", "processes=1")
        .mount("/", &site.file("hello.py"), "site")
        .start();
    assert_eq!(httpd.get("/").text(), "Hello World!");
    module
}

#[test]
fn the_printed_lines_serve() {
    case(Limit::default(), || {
        let module = serve(&printed(
            Command::new(artifacts::wsgid()).arg("module-config"),
        ));
        let location = printed(Command::new(artifacts::wsgid()).arg("module-location"));
        assert_eq!(location, [module.display().to_string()]);
    });
}

#[test]
fn an_installed_module_serves() {
    case(Limit::default(), || {
        let site = Site::new();
        let directory = site.file("modules");
        fs::create_dir(&directory).expect("it is a directory of ours");
        let mut install = Command::new(artifacts::wsgid());
        let module = serve(&printed(
            install
                .arg("install-module")
                .arg("--modules-directory")
                .arg(&directory),
        ));
        assert_eq!(module, directory.join("mod_wsgid.so"));
        let refused = Command::new(artifacts::wsgid())
            .args([
                "install-module",
                "--modules-directory",
                "/no/such/directory",
            ])
            .output()
            .expect("wsgid can be run");
        let text = String::from_utf8_lossy(&refused.stderr);
        assert!(
            !refused.status.success() && text.contains("/no/such/directory"),
            "{text}"
        );
    });
}
