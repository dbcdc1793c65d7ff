//! httpd's own picture of the configuration: the tree of directives, with
//! conditions, includes and macros resolved. Valid once it has been read.

#![expect(
    unsafe_code,
    reason = "wraps ap_directive_t and the definitions of the command line"
)]

use std::ffi::CStr;

use wsgid_protocol::report::Node;

use crate::apr::pool::AprPool;
use crate::apr::text::{optional, owned};
use crate::sys;

/// Whether `-D name` or `Define name` says so.
pub(crate) fn is_defined(name: &CStr) -> bool {
    // SAFETY: a C string; httpd looks it up in a list of its own.
    unsafe { sys::ap_exists_config_define(name.as_ptr()) != 0 }
}

/// ServerRoot, which relative paths begin at.
pub(crate) fn server_root<'t>() -> &'t CStr {
    // SAFETY: httpd sets it before it reads the configuration.
    let root = unsafe { sys::ap_server_root };
    // SAFETY: null or a C string that lives as long as the configuration.
    unsafe { optional(root) }.unwrap_or_default()
}

/// A path as httpd makes it absolute, below ServerRoot.
pub(crate) fn absolute<'p>(pool: AprPool<'p>, path: &CStr) -> Option<&'p CStr> {
    // SAFETY: pool and path are alive.
    let path = unsafe { sys::ap_server_root_relative(pool.as_raw(), path.as_ptr()) };
    // SAFETY: null, or a C string in the pool.
    unsafe { optional(path) }
}

/// Copies all sections and the directives that `matters` names. What other directives
/// say may be passwords.
pub(crate) fn copied(matters: fn(&str) -> bool) -> Vec<Node> {
    // SAFETY: httpd sets it when it has read its files, and modules only look.
    siblings(unsafe { sys::ap_conftree }, matters)
}

/// Whether the arguments of any directive hold one of these texts.
pub(crate) fn names_any(texts: &[&CStr]) -> bool {
    // SAFETY: httpd sets it when it has read its files, and modules only look.
    any_names(unsafe { sys::ap_conftree }, texts)
}

fn any_names(first: *const sys::ap_directive_t, texts: &[&CStr]) -> bool {
    // SAFETY: null, or a node of the configuration, which outlives the look.
    let first = unsafe { first.as_ref() };
    // SAFETY: likewise, each one's next.
    std::iter::successors(first, |node| unsafe { node.next.as_ref() }).any(|node| {
        // SAFETY: null or a C string of the configuration.
        let arguments = unsafe { owned(node.args) };
        let has = |text: &&CStr| arguments.contains(&*text.to_string_lossy());
        texts.iter().any(has) || any_names(node.first_child, texts)
    })
}

fn siblings(first: *const sys::ap_directive_t, matters: fn(&str) -> bool) -> Vec<Node> {
    // SAFETY: null, or a node of the configuration, which outlives the copying.
    let first = unsafe { first.as_ref() };
    // SAFETY: likewise, each one's next.
    std::iter::successors(first, |node| unsafe { node.next.as_ref() })
        .filter_map(|node| copy(node, matters))
        .collect()
}

fn copy(node: &sys::ap_directive_t, matters: fn(&str) -> bool) -> Option<Node> {
    // SAFETY: null or a C string of the configuration.
    let name = unsafe { owned(node.directive) };
    let is_section = name.starts_with('<');
    if !is_section && !matters(&name) {
        return None;
    }
    // SAFETY: likewise.
    let mut arguments = unsafe { owned(node.args) };
    if is_section && arguments.ends_with('>') {
        arguments.pop();
    }
    // SAFETY: likewise.
    let file = unsafe { owned(node.filename) };
    Some(Node {
        name,
        arguments,
        origin: format!("{file}:{}", node.line_num),
        children: siblings(node.first_child, matters),
    })
}
