//! A defect on demand, to see from outside that none ends a child of httpd: with
//! the feature `injected-panic`, which only a test builds, the file that
//! `$WSGID_PANIC` names holds the name of the place that panics. Without the
//! feature there is nothing here.

/// Panics if the file says so.
#[cfg(feature = "injected-panic")]
pub(crate) fn panic_in(place: &str) {
    let asked = std::env::var_os("WSGID_PANIC").and_then(|path| std::fs::read_to_string(path).ok());
    assert!(
        asked.is_none_or(|asked| asked.trim() != place),
        "a panic was injected in {place}"
    );
}

/// Nothing.
#[cfg(not(feature = "injected-panic"))]
pub(crate) const fn panic_in(_: &str) {}
