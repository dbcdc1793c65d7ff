//! Directives of httpd's own that say which handler serves a place, and whether
//! scripts may run there: read along,
//! so that the module knows what the server's configuration says and what
//! `.htaccess` says. httpd carries a directive out in every module that lists
//! it; these rows only remember. `status/` and `handler.rs` ask what was
//! remembered.

use std::ffi::{CStr, c_int};

use crate::configuration::config::GivenHandler;
use crate::configuration::words::Words;
use crate::directives::context::Context;
use crate::request::mapping::{HANDLER, OLD_HANDLER};
use crate::sys::{OR_FILEINFO, OR_OPTIONS};

/// A directive that is read along.
pub(crate) struct ObservedDirective {
    pub(crate) name: &'static CStr,
    /// The module that carries it out; `None` is httpd's core.
    pub(crate) owner: Option<&'static CStr>,
    /// Where it may stand, as httpd has it.
    pub(crate) place: c_int,
    pub(crate) remember: fn(&mut Context<'_, '_>, &mut Words<'_>),
}

const MOD_MIME: Option<&CStr> = Some(c"mod_mime.c");

/// All of them.
pub(crate) static OBSERVED: &[ObservedDirective] = &[
    ObservedDirective {
        name: c"SetHandler",
        owner: None,
        place: OR_FILEINFO,
        remember: set_handler,
    },
    ObservedDirective {
        name: c"ForceType",
        owner: None,
        place: OR_FILEINFO,
        remember: force_type,
    },
    ObservedDirective {
        name: c"AddHandler",
        owner: MOD_MIME,
        place: OR_FILEINFO,
        remember: for_extensions,
    },
    ObservedDirective {
        name: c"AddType",
        owner: MOD_MIME,
        place: OR_FILEINFO,
        remember: for_extensions,
    },
    ObservedDirective {
        name: c"Options",
        owner: None,
        place: OR_OPTIONS,
        remember: options,
    },
];

/// Whether this is a name under which the module runs a file as a script.
fn means_script(name: &str) -> bool {
    name.as_bytes() == HANDLER.to_bytes() || name.as_bytes() == OLD_HANDLER.to_bytes()
}

fn give(cx: &mut Context<'_, '_>, name: &str) {
    let origin = cx.in_htaccess.then(|| cx.pool.string(cx.origin.as_bytes()));
    cx.dir.given_handler = Some(GivenHandler {
        name: cx.pool.string(name.as_bytes()),
        htaccess: origin,
    });
}

fn set_handler(cx: &mut Context<'_, '_>, words: &mut Words<'_>) {
    if let Some(name) = words.next() {
        give(cx, &name.to_ascii_lowercase());
    }
}

/// A type is the handler where no handler is named.
fn force_type(cx: &mut Context<'_, '_>, words: &mut Words<'_>) {
    if let Some(name) = words
        .next()
        .map(|name| name.to_ascii_lowercase())
        .filter(|name| means_script(name))
    {
        give(cx, &name);
    }
}

/// What `.htaccess` says about extensions is left out: only the server's word
/// makes a file a script of the server's configuration.
fn for_extensions(cx: &mut Context<'_, '_>, words: &mut Words<'_>) {
    if cx.in_htaccess
        || !words
            .next()
            .is_some_and(|name| means_script(&name.to_ascii_lowercase()))
    {
        return;
    }
    while let Some(extension) = words.next() {
        let extension = cx.pool.string(extension.trim_start_matches('.').as_bytes());
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
    let mut is_first = true;
    for word in words {
        let name = word.trim_start_matches(['+', '-']);
        let is_meant = ["ExecCGI", "All"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known));
        let has_sign = name.len() < word.len();
        if is_first && !has_sign {
            result = Some(false);
        }
        is_first = false;
        if is_meant {
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
