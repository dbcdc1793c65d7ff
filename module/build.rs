//! Link arguments of the module. httpd unloads modules when it reads its
//! configuration again; Rust code with thread-local destructors must not be
//! unmapped, so the loader is told to keep it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if target == "macos" {
        println!("cargo::rustc-cdylib-link-arg=-undefined");
        println!("cargo::rustc-cdylib-link-arg=dynamic_lookup");
    } else {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
