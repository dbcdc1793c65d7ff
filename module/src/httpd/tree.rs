//! httpd's own picture of the configuration: the tree of directives, with
//! conditions, includes and macros resolved. Valid once it has been read.

#![expect(
    unsafe_code,
    reason = "wraps ap_directive_t and the definitions of the command line"
)]

use std::ffi::CStr;

use crate::apr::text::optional;
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

/// A directive.
#[derive(Clone, Copy)]
pub(crate) struct DirectiveNode<'t>(&'t sys::ap_directive_t);

impl<'t> DirectiveNode<'t> {
    /// Its name; a section's begins with `<`.
    pub(crate) fn name(self) -> &'t CStr {
        // SAFETY: null or a C string of the configuration.
        unsafe { optional(self.0.directive) }.unwrap_or_default()
    }

    /// The rest of its line.
    pub(crate) fn arguments(self) -> &'t CStr {
        // SAFETY: null or a C string of the configuration.
        unsafe { optional(self.0.args) }.unwrap_or_default()
    }

    /// `file:line`.
    pub(crate) fn origin(self) -> String {
        // SAFETY: null or a C string of the configuration.
        let file = unsafe { optional(self.0.filename) }
            .map_or_else(Default::default, CStr::to_string_lossy);
        format!("{file}:{}", self.0.line_num)
    }

    /// What a section holds.
    pub(crate) fn children(self) -> impl Iterator<Item = Self> {
        from(self.0.first_child)
    }
}

/// The directives outside of all sections.
pub(crate) fn roots<'t>() -> impl Iterator<Item = DirectiveNode<'t>> {
    // SAFETY: httpd sets it when it has read its files, and modules only look.
    from(unsafe { sys::ap_conftree })
}

fn from<'t>(first: *mut sys::ap_directive_t) -> impl Iterator<Item = DirectiveNode<'t>> {
    // SAFETY: null, or a node of the configuration, which outlives the report.
    let first = unsafe { first.as_ref() };
    // SAFETY: likewise, each one's next.
    std::iter::successors(first, |node| unsafe { node.next.as_ref() }).map(DirectiveNode)
}
