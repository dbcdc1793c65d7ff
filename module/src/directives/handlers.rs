//! Directives of httpd's own that say which handler serves a place, and whether
//! scripts may run there: read along,
//! so that the module knows what the server's configuration says and what
//! `.htaccess` says. httpd carries a directive out in every module that lists
//! it; these rows only remember. `status/` and `handler.rs` ask what was
//! remembered.

use std::ffi::{CStr, c_int};

use crate::configuration::config::GivenHandler;
use crate::configuration::settings;
use crate::configuration::words::Words;
use crate::directives::context::Context;
use crate::request::mapping::{HANDLER, OLD_HANDLER};
use crate::status::health;
use crate::sys::{OR_FILEINFO, OR_OPTIONS};

pub(crate) struct ObservedDirective {
    pub(crate) name: &'static CStr,
    /// The module that carries it out; `None` is httpd's core.
    pub(crate) owner: Option<&'static CStr>,
    /// Where it may stand, as httpd has it.
    pub(crate) place: c_int,
    pub(crate) remember: Remember,
}

type Remember = fn(&mut Context<'_, '_>, &mut Words<'_>);

pub(crate) static OBSERVED: &[ObservedDirective] = &[
    of_core(c"SetHandler", OR_FILEINFO, set_handler),
    of_core(c"ForceType", OR_FILEINFO, force_type),
    of_core(c"Options", OR_OPTIONS, options),
    of_mod_mime(c"AddHandler"),
    of_mod_mime(c"AddType"),
];

const fn of_core(name: &'static CStr, place: c_int, remember: Remember) -> ObservedDirective {
    ObservedDirective {
        name,
        owner: None,
        place,
        remember,
    }
}

const fn of_mod_mime(name: &'static CStr) -> ObservedDirective {
    ObservedDirective {
        name,
        owner: Some(c"mod_mime.c"),
        place: OR_FILEINFO,
        remember: for_extensions,
    }
}

/// Whether this is a name under which the module runs a file as a script.
fn means_script(name: &str) -> bool {
    name.as_bytes() == HANDLER.to_bytes() || name.as_bytes() == OLD_HANDLER.to_bytes()
}

fn give(cx: &mut Context<'_, '_>, name: &str) {
    cx.dir.given_handler = Some(GivenHandler {
        name: cx.string(name),
        htaccess: cx.htaccess(),
    });
}

fn set_handler(cx: &mut Context<'_, '_>, words: &mut Words<'_>) {
    if let Some(name) = words.next() {
        let name = name.to_ascii_lowercase();
        if !cx.in_htaccess && name.as_bytes() == health::HANDLER.to_bytes() {
            settings::with(|settings| settings.is_probed = true);
        }
        give(cx, &name);
    }
}

/// A type is the handler where no handler is named.
fn force_type(cx: &mut Context<'_, '_>, words: &mut Words<'_>) {
    let name = words.next().unwrap_or_default().to_ascii_lowercase();
    if means_script(&name) {
        give(cx, &name);
    }
}

/// What `.htaccess` says about extensions is left out: only the server's word
/// makes a file a script of the server's configuration.
fn for_extensions(cx: &mut Context<'_, '_>, words: &mut Words<'_>) {
    let name = words.next().unwrap_or_default().to_ascii_lowercase();
    if cx.in_htaccess || !means_script(&name) {
        return;
    }
    while let Some(extension) = words.next() {
        let extension = cx.string(extension.trim_start_matches('.'));
        cx.dir.script_extensions = cx.pool.concat(cx.dir.script_extensions, &[extension]);
    }
}

/// Whether the server's own configuration lets scripts run; what `.htaccess` says
/// about that is left out.
fn options(cx: &mut Context<'_, '_>, words: &mut Words<'_>) {
    if !cx.in_htaccess {
        cx.dir.scripts_may_run =
            may_run(std::iter::from_fn(|| words.next()), cx.dir.scripts_may_run);
    }
}

/// Words without a sign say all that is allowed, those with one change it.
fn may_run(words: impl Iterator<Item = String>, before: Option<bool>) -> Option<bool> {
    let mut result = before;
    for (index, word) in words.enumerate() {
        let name = word.trim_start_matches(['+', '-']);
        let has_sign = name.len() < word.len();
        if index == 0 && !has_sign {
            result = Some(false);
        }
        if name.eq_ignore_ascii_case("ExecCGI") || name.eq_ignore_ascii_case("All") {
            result = Some(!word.starts_with('-'));
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_httpd_reads_them() {
        for (text, before, after) in [
            ("Indexes", None, Some(false)),
            ("Indexes", Some(true), Some(false)),
            ("Indexes ExecCGI", None, Some(true)),
            ("All", None, Some(true)),
            ("None", Some(true), Some(false)),
            ("+Indexes", None, None),
            ("+Indexes", Some(true), Some(true)),
            ("+execcgi", None, Some(true)),
            ("-Indexes +ExecCGI", Some(false), Some(true)),
            ("-ExecCGI", Some(true), Some(false)),
            ("", Some(true), Some(true)),
        ] {
            let words = text.split_whitespace().map(str::to_owned);
            assert_eq!(may_run(words, before), after, "{text} after {before:?}");
        }
    }
}
