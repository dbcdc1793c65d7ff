//! `mod_wsgid.so`: forwards requests to the supervisor's workers. It takes the place
//! of mod_wsgi, so it has its names: `LoadModule wsgi_module`, `<IfModule mod_wsgi.c>`,
//! `LogLevel wsgi:…`. httpd enters by `entry/`; each folder uses only those below it.

mod apr;
mod configuration;
mod directives;
mod entry;
mod httpd;
mod launch;
mod log_ids;
mod request;
mod status;
mod sys;
mod workers;
