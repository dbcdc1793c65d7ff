//! The servers that can be measured, by name; `peers` knows how each is run.

use clap::ValueEnum;

/// A server that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    /// This project.
    ModWsgid,
    /// Another build of this project (--against).
    Other,
    /// mod_wsgi in daemon mode.
    ModWsgi,
    /// uWSGI behind mod_proxy_uwsgi.
    Uwsgi,
    /// Granian behind mod_proxy_http.
    Granian,
    /// Gunicorn behind mod_proxy_http.
    Gunicorn,
    /// Our module, and behind it a program that answers at once: no Python.
    Floor,
    /// A handler in C inside httpd.
    Limit,
    /// httpd serving a static file.
    Static,
}
