//! What directives leave behind: one record per section and one per server,
//! plain data in the configuration's pool. `directives/` fills them,
//! httpd merges them (for `.htaccess` and `<If>` at request time, so merging
//! is cheap), `handler.rs` and `mapping.rs` read them.

use std::ffi::CStr;

use crate::apr::pool::{AprPool, PoolVec};
use crate::configuration::networks::TrustedNetwork;
use crate::httpd::regex::Regex;

/// WSGIMapHEADToGET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapHead {
    Off,
    On,
    /// HEAD becomes GET if a filter needs the body.
    Auto,
}

/// The options behind a script's path; `None` is the default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ScriptOptions<'p> {
    pub(crate) process_group: Option<&'p CStr>,
    pub(crate) application_group: Option<&'p CStr>,
    pub(crate) callable: Option<&'p CStr>,
    pub(crate) pass_authorization: Option<bool>,
}

/// A script that a directive names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScriptRef<'p> {
    pub(crate) file: &'p CStr,
    pub(crate) options: ScriptOptions<'p>,
    /// `file:line` if `.htaccess` names it; whoever wrote that may be a tenant.
    pub(crate) htaccess: Option<&'p CStr>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct GivenHandler<'p> {
    /// The handler's name in small letters.
    pub(crate) name: &'p CStr,
    /// `file:line` if `.htaccess` says it; whoever wrote that may be a tenant.
    pub(crate) htaccess: Option<&'p CStr>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct HandlerScript<'p> {
    /// The name for SetHandler.
    pub(crate) name: &'p CStr,
    pub(crate) script: ScriptRef<'p>,
}

/// The record of a section: what each directive says, and how an inner section adds to
/// an outer one.
macro_rules! dir_config {
    ($($(#[$doc:meta])* $name:ident: $ty:ty;)*) => {
        /// The directives of a section; `None` is inherited.
        #[derive(Clone, Copy)]
        pub(crate) struct DirConfig<'p> {
            $($(#[$doc])* pub(crate) $name: Option<$ty>,)*
            pub(crate) handler_scripts: &'p [HandlerScript<'p>],
            /// Extensions of files that the server's configuration makes scripts.
            pub(crate) script_extensions: &'p [&'p CStr],
        }

        impl<'p> DirConfig<'p> {
            pub(crate) const EMPTY: Self = Self {
                $($name: None,)*
                handler_scripts: &[],
                script_extensions: &[],
            };

            /// `inner` on top of `outer`.
            pub(crate) fn merge(pool: AprPool<'p>, outer: &Self, inner: &Self) -> Self {
                Self {
                    $($name: inner.$name.or(outer.$name),)*
                    // The first of a name is found first.
                    handler_scripts: joined(pool, inner.handler_scripts, outer.handler_scripts),
                    script_extensions: joined(
                        pool,
                        inner.script_extensions,
                        outer.script_extensions,
                    ),
                }
            }
        }
    };
}

dir_config! {
    process_group: &'p CStr;
    application_group: &'p CStr;
    callable: &'p CStr;
    restrict_process: &'p [&'p CStr];
    /// `SetHandler`, read along.
    given_handler: GivenHandler<'p>;
    /// Whether the server's configuration itself allows ExecCGI, read along.
    scripts_may_run: bool;
    /// Called about a request, as the next three are.
    dispatch_script: ScriptRef<'p>;
    access_script: ScriptRef<'p>;
    auth_user_script: ScriptRef<'p>;
    auth_group_script: ScriptRef<'p>;
    trusted_headers: &'p [&'p CStr];
    trusted_proxies: &'p [TrustedNetwork];
    pass_authorization: bool;
    script_reloading: bool;
    chunked_request: bool;
    error_override: bool;
    ignore_activity: bool;
    enable_sendfile: bool;
    map_head_to_get: MapHead;
}

/// One list behind the other.
fn joined<'p, T: Copy>(pool: AprPool<'p>, first: &'p [T], second: &'p [T]) -> &'p [T] {
    match (first, second) {
        (one, []) | ([], one) => one,
        (first, second) => pool.concat(first, second),
    }
}

/// What a WSGIScriptAlias matches.
#[derive(Clone, Copy)]
pub(crate) enum Mount<'p> {
    /// The front of the URL path.
    Prefix(&'p CStr),
    Pattern(Regex<'p>),
}

/// WSGIScriptAlias or WSGIScriptAliasMatch.
#[derive(Clone, Copy)]
pub(crate) struct ScriptAlias<'p> {
    pub(crate) mount: Mount<'p>,
    /// The one URL path that it is about, if it is about one and one target.
    pub(crate) fixed_path: Option<&'p CStr>,
    pub(crate) target: &'p CStr,
    pub(crate) options: ScriptOptions<'p>,
}

/// The directives of a server that are about URLs.
pub(crate) struct ServerConfig<'p> {
    pub(crate) aliases: PoolVec<'p, ScriptAlias<'p>>,
    /// The main server's record, in a virtual host.
    pub(crate) base: Option<&'p ServerConfig<'p>>,
}

impl<'p> ServerConfig<'p> {
    pub(crate) const fn empty() -> Self {
        Self {
            aliases: PoolVec::new(),
            base: None,
        }
    }

    /// The server's own aliases, then the main server's.
    pub(crate) fn all_aliases(&self) -> impl Iterator<Item = &'p ScriptAlias<'p>> {
        let base = self.base.map_or(&[][..], |base| base.aliases.as_slice());
        self.aliases.as_slice().iter().chain(base)
    }
}
