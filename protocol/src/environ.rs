//! The keys of the WSGI environ that a worker sets before it adds the variables that httpd
//! sends: no directive of httpd (`SetEnv`, `RewriteRule … [E=]`) may change them, so the
//! module sends no variable with such a name. Other names that begin with `wsgi.` or
//! `mod_wsgi.` are the configuration's to set.

/// The keys; `environ_template` of `runtime.py` has their values.
const OF_WORKER: &[&[u8]] = &[
    b"wsgi.version",
    b"wsgi.url_scheme",
    b"wsgi.multithread",
    b"wsgi.multiprocess",
    b"wsgi.run_once",
    b"wsgi.input_terminated",
    b"wsgi.file_wrapper",
    b"wsgi.early_hints",
    b"apache.version",
    b"mod_wsgi.version",
    b"mod_wsgi.process_group",
    b"mod_wsgi.application_group",
];

/// Whether a worker sets this key itself.
pub fn is_of_worker(name: &[u8]) -> bool {
    // Variables are nearly always in capitals.
    matches!(name.first(), Some(b'w' | b'm' | b'a')) && OF_WORKER.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_are_free() {
        assert!(is_of_worker(b"wsgi.version") && is_of_worker(b"apache.version"));
        for name in [&b"wsgi.mine"[..], b"mod_wsgi.mine", b"HTTPS", b"wsgi", b""] {
            assert!(!is_of_worker(name), "{name:?}");
        }
    }
}
