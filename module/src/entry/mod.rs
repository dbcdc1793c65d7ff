//! The functions that httpd calls: hooks, directives, providers. They catch panics
//! and hand on to the rest of the module, which knows nothing of them.

pub(crate) mod commands;
mod hooks;
pub(crate) mod providers;
pub(crate) mod trampoline;
