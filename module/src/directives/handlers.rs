//! Directives of httpd's own that say which handler serves a place: read along,
//! so that the module knows what the server's configuration says and what
//! `.htaccess` says. httpd carries a directive out in every module that lists
//! it; these rows only remember. `status/` and `handler.rs` ask what was
//! remembered.

use std::ffi::CStr;

use super::{Context, Words};
use crate::config::GivenHandler;
use crate::mapping::{HANDLER, OLD_HANDLER};

/// A directive that is read along.
pub(crate) struct Overheard {
    pub(crate) name: &'static CStr,
    /// The module that carries it out; `None` is httpd's core.
    pub(crate) owner: Option<&'static CStr>,
    pub(crate) remember: fn(&mut Context<'_, '_>, &mut Words<'_>),
}

const MOD_MIME: Option<&CStr> = Some(c"mod_mime.c");

/// All of them; each may stand in `.htaccess` with AllowOverride FileInfo.
pub(crate) static OVERHEARD: &[Overheard] = &[
    Overheard { name: c"SetHandler", owner: None, remember: set_handler },
    Overheard { name: c"ForceType", owner: None, remember: force_type },
    Overheard { name: c"AddHandler", owner: MOD_MIME, remember: for_extensions },
    Overheard { name: c"AddType", owner: MOD_MIME, remember: for_extensions },
];

/// Whether this is a name under which the module runs a file as a script.
fn means_script(name: &str) -> bool {
    name.as_bytes() == HANDLER.to_bytes() || name.as_bytes() == OLD_HANDLER.to_bytes()
}

fn give(cx: &mut Context<'_, '_>, name: &str) {
    let origin = cx.in_htaccess.then(|| cx.pool.string(cx.origin.as_bytes()));
    cx.dir.given_handler = Some(GivenHandler { name: cx.pool.string(name.as_bytes()), htaccess: origin });
}

fn set_handler(cx: &mut Context<'_, '_>, words: &mut Words<'_>) {
    if let Some(name) = words.next() {
        give(cx, &name.to_ascii_lowercase());
    }
}

/// A type is the handler where no handler is named.
fn force_type(cx: &mut Context<'_, '_>, words: &mut Words<'_>) {
    if let Some(name) = words.next().map(|name| name.to_ascii_lowercase()).filter(|name| means_script(name)) {
        give(cx, &name);
    }
}

/// What `.htaccess` says about extensions is left out: only the server's word
/// makes a file a script of the server's configuration.
fn for_extensions(cx: &mut Context<'_, '_>, words: &mut Words<'_>) {
    if cx.in_htaccess || !words.next().is_some_and(|name| means_script(&name.to_ascii_lowercase())) {
        return;
    }
    while let Some(extension) = words.next() {
        let extension = cx.pool.string(extension.trim_start_matches('.').as_bytes());
        cx.dir.script_extensions = cx.pool.concat(cx.dir.script_extensions, &[extension]);
    }
}
