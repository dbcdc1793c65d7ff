//! A defect of the module, seen from outside: a build of it with the feature
//! `injected-panic` panics where the test says. The request fails, the child of
//! httpd lives, the log says where, and the next request is as ever.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use wsgid_tests::wire::{Addresses, transports, with_tls};
use wsgid_tests::{Httpd, Limit, Site, artifacts, eventually, on_every_mpm};

const SOON: Duration = Duration::from_secs(20);

/// The module with the feature, built once, beside the other artifacts.
fn module() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let target = artifacts::target_directory().join("injected-panic");
            let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .args([
                    "build",
                    "--locked",
                    "-p",
                    "mod_wsgid",
                    "--features",
                    "injected-panic",
                    "--target-dir",
                ])
                .arg(&target)
                .output()
                .expect("cargo runs this test, so it is there");
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            target.join("debug/libmod_wsgid.so")
        })
        .clone()
}

#[test]
fn a_panic_in_the_module_ends_one_request_and_nothing_else() {
    let module = module();
    on_every_mpm(Limit::seconds(120), move |mpm| {
        let site = Site::new();
        let told = site.write("panic", "");
        let (builder, tls_port) = with_tls(Httpd::builder().mpm(mpm), mpm);
        let mut builder = builder
            .daemon(
                "site",
                &format!("processes=1 threads=4 {}", site.python_path()),
            )
            .mount("/stream", &site.file("stream_cases.py"), "site")
            .environment("WSGID_PANIC", told.clone());
        fs::copy(&module, builder.copied_artifacts().join("libmod_wsgid.so"))
            .expect("it can be copied");
        let httpd = builder.start();
        let wire = Addresses::of(&httpd, tls_port);
        let fine = "/stream/timed?count=3&pause=0.1";
        assert_eq!(httpd.get(fine).status, 200);
        let workers = httpd.workers();
        let children = httpd.pid().children();
        for transport in transports(mpm) {
            // Before the handler, in it, and when the response has begun.
            for place in ["translate_name", "the handler", "the end"] {
                let before = httpd.error_log().matches("WSGID0001").count();
                fs::write(&told, place).expect("it can be written");
                let answer = wire.curl(*transport, fine).run();
                fs::write(&told, "").expect("it can be written");
                let what = format!("{mpm:?} {transport:?} {place}: {answer:?}");
                match place {
                    "translate_name" | "the handler" => {
                        assert!(answer.complete() && answer.status() == 500, "{what}");
                    }
                    _ => assert!(
                        !answer.complete() && !answer.text().contains("<html>"),
                        "{what}"
                    ),
                }
                let lines = eventually("a line of the log", SOON, || {
                    let count = httpd.error_log().matches("WSGID0001").count() - before;
                    (count > 0).then_some(count)
                });
                assert_eq!(lines, 1, "{what}: {}", httpd.error_log());
                assert!(
                    httpd
                        .error_log()
                        .contains(&format!("a panic was injected in {place}")),
                    "{what}"
                );
                let after = wire.curl(*transport, fine).run();
                assert!(
                    after.complete() && after.text() == "0000000\n1111111\n2222222\n",
                    "{what}: {after:?}"
                );
            }
        }
        assert!(
            children.iter().all(|child| child.alive()),
            "{mpm:?}: a child has ended"
        );
        assert_eq!(httpd.workers(), workers, "{mpm:?}");
        assert!(
            !httpd.error_log().contains("exit signal"),
            "{}",
            httpd.error_log()
        );
        httpd.stop();
    });
}
