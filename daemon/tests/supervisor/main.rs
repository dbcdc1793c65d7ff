//! The real supervisor with real workers, without httpd: a stand-in plays the
//! httpd parent and its children.

#[cfg(test)]
mod conf;
#[cfg(test)]
mod descriptors;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod kept_states;
#[cfg(test)]
mod reexec;
#[cfg(test)]
mod releases;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod standalone;
#[cfg(test)]
mod status;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod visitors;

/// The program under test: that of `WSGID_ARTIFACTS`, which has the extension
/// beside it, or the one that was built with this test.
#[cfg(test)]
fn program() -> std::path::PathBuf {
    match std::env::var_os("WSGID_ARTIFACTS") {
        Some(directory) => std::path::Path::new(&directory).join("wsgid"),
        None => env!("CARGO_BIN_EXE_wsgid").into(),
    }
}
