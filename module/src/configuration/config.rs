//! What directives leave behind: one record per section and one per server,
//! plain data in the configuration's pool. `directives.rs` fills them,
//! httpd merges them (for `.htaccess` and `<If>` at request time, so merging
//! is cheap), `handler.rs` and `mapping.rs` read them.

use std::ffi::CStr;

use crate::apr::pool::{AprPool, PoolVec};
use crate::configuration::networks::TrustedNetwork;
use crate::httpd::regex::Regex;

/// On, Off, or not said here.
pub(crate) type Switch = Option<bool>;

/// WSGIMapHEADToGET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapHead {
    /// HEAD stays HEAD.
    Off,
    /// HEAD always becomes GET.
    On,
    /// HEAD becomes GET if a filter needs the body.
    Auto,
}

/// A script that answers a question instead of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScriptRef<'p> {
    /// The file.
    pub(crate) file: &'p CStr,
    /// Where it runs; `None` is the default.
    pub(crate) process_group: Option<&'p CStr>,
    /// See `process_group`.
    pub(crate) application_group: Option<&'p CStr>,
    /// `file:line` if `.htaccess` names it; whoever wrote that may be a tenant.
    pub(crate) htaccess: Option<&'p CStr>,
}

/// What `SetHandler` says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GivenHandler<'p> {
    /// The handler's name in small letters.
    pub(crate) name: &'p CStr,
    /// `file:line` if `.htaccess` says it; whoever wrote that may be a tenant.
    pub(crate) htaccess: Option<&'p CStr>,
}

/// WSGIHandlerScript.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandlerScript<'p> {
    /// The name for SetHandler.
    pub(crate) name: &'p CStr,
    /// The script and its groups.
    pub(crate) script: ScriptRef<'p>,
    /// `pass-authorization=`.
    pub(crate) pass_authorization: Switch,
}

/// The directives of a section; `None` is inherited.
#[derive(Clone, Copy)]
pub(crate) struct DirConfig<'p> {
    pub(crate) process_group: Option<&'p CStr>,
    pub(crate) application_group: Option<&'p CStr>,
    pub(crate) callable: Option<&'p CStr>,
    pub(crate) restrict_process: Option<&'p [&'p CStr]>,
    pub(crate) handler_scripts: &'p [HandlerScript<'p>],
    /// `SetHandler`, read along.
    pub(crate) given_handler: Option<GivenHandler<'p>>,
    /// Extensions of files that the server's configuration makes scripts.
    pub(crate) script_extensions: &'p [&'p CStr],
    /// Whether the server's configuration itself allows ExecCGI, read along.
    pub(crate) scripts_may_run: Switch,
    pub(crate) dispatch_script: Option<ScriptRef<'p>>,
    pub(crate) access_script: Option<ScriptRef<'p>>,
    pub(crate) auth_user_script: Option<ScriptRef<'p>>,
    pub(crate) auth_group_script: Option<ScriptRef<'p>>,
    pub(crate) trusted_headers: Option<&'p [&'p CStr]>,
    pub(crate) trusted_proxies: Option<&'p [TrustedNetwork]>,
    pub(crate) pass_authorization: Switch,
    pub(crate) script_reloading: Switch,
    pub(crate) chunked_request: Switch,
    pub(crate) error_override: Switch,
    pub(crate) ignore_activity: Switch,
    pub(crate) enable_sendfile: Switch,
    pub(crate) pass_apache_request: Switch,
    pub(crate) group_authoritative: Switch,
    pub(crate) map_head_to_get: Option<MapHead>,
}

impl<'p> DirConfig<'p> {
    /// Nothing said.
    pub(crate) const EMPTY: Self = Self {
        process_group: None,
        application_group: None,
        callable: None,
        restrict_process: None,
        handler_scripts: &[],
        given_handler: None,
        script_extensions: &[],
        scripts_may_run: None,
        dispatch_script: None,
        access_script: None,
        auth_user_script: None,
        auth_group_script: None,
        trusted_headers: None,
        trusted_proxies: None,
        pass_authorization: None,
        script_reloading: None,
        chunked_request: None,
        error_override: None,
        ignore_activity: None,
        enable_sendfile: None,
        pass_apache_request: None,
        group_authoritative: None,
        map_head_to_get: None,
    };

    /// `inner` on top of `outer`.
    pub(crate) fn merge(pool: AprPool<'p>, outer: &Self, inner: &Self) -> Self {
        let handler_scripts = match (outer.handler_scripts, inner.handler_scripts) {
            (one, []) | ([], one) => one,
            // The first of a name is found first.
            (outer, inner) => pool.concat(inner, outer),
        };
        let script_extensions = match (outer.script_extensions, inner.script_extensions) {
            (one, []) | ([], one) => one,
            (outer, inner) => pool.concat(inner, outer),
        };
        Self {
            process_group: inner.process_group.or(outer.process_group),
            application_group: inner.application_group.or(outer.application_group),
            callable: inner.callable.or(outer.callable),
            restrict_process: inner.restrict_process.or(outer.restrict_process),
            handler_scripts,
            given_handler: inner.given_handler.or(outer.given_handler),
            script_extensions,
            scripts_may_run: inner.scripts_may_run.or(outer.scripts_may_run),
            dispatch_script: inner.dispatch_script.or(outer.dispatch_script),
            access_script: inner.access_script.or(outer.access_script),
            auth_user_script: inner.auth_user_script.or(outer.auth_user_script),
            auth_group_script: inner.auth_group_script.or(outer.auth_group_script),
            trusted_headers: inner.trusted_headers.or(outer.trusted_headers),
            trusted_proxies: inner.trusted_proxies.or(outer.trusted_proxies),
            pass_authorization: inner.pass_authorization.or(outer.pass_authorization),
            script_reloading: inner.script_reloading.or(outer.script_reloading),
            chunked_request: inner.chunked_request.or(outer.chunked_request),
            error_override: inner.error_override.or(outer.error_override),
            ignore_activity: inner.ignore_activity.or(outer.ignore_activity),
            enable_sendfile: inner.enable_sendfile.or(outer.enable_sendfile),
            pass_apache_request: inner.pass_apache_request.or(outer.pass_apache_request),
            group_authoritative: inner.group_authoritative.or(outer.group_authoritative),
            map_head_to_get: inner.map_head_to_get.or(outer.map_head_to_get),
        }
    }
}

/// What a WSGIScriptAlias matches.
#[derive(Clone, Copy)]
pub(crate) enum Mount<'p> {
    /// The front of the URL path.
    Prefix(&'p CStr),
    /// A regular expression.
    Pattern(Regex<'p>),
}

/// WSGIScriptAlias or WSGIScriptAliasMatch.
#[derive(Clone, Copy)]
pub(crate) struct ScriptAlias<'p> {
    pub(crate) mount: Mount<'p>,
    /// The one URL path that it is about, if it is about one and one target.
    pub(crate) fixed_path: Option<&'p CStr>,
    pub(crate) target: &'p CStr,
    pub(crate) process_group: Option<&'p CStr>,
    pub(crate) application_group: Option<&'p CStr>,
    pub(crate) callable: Option<&'p CStr>,
    pub(crate) pass_authorization: Switch,
}

/// The directives of a server that are about URLs.
pub(crate) struct ServerConfig<'p> {
    pub(crate) aliases: PoolVec<'p, ScriptAlias<'p>>,
    /// The main server's record, in a virtual host.
    pub(crate) base: Option<&'p ServerConfig<'p>>,
}

impl<'p> ServerConfig<'p> {
    /// No alias.
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
