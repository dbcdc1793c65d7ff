//! The directives: one table with name, place, arguments and what each does.
//! httpd's command table is made from it; `httpd/directive.rs` calls
//! [`apply`]. Every wrong value is a configuration error that names it.

mod mapping;
mod process;
mod python;
mod request;
mod words;

use std::ffi::CStr;

use crate::apr::pool::Pool;
use crate::config::{DirConfig, ServerConfig};
use crate::httpd::server::Server;
use crate::settings::{self, Sighting, Subject};
use crate::sys;

pub(crate) use self::words::Words;

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The main server only.
    Global,
    /// The main server or a virtual host.
    Server,
    /// The same and sections.
    Section,
    /// The same and `.htaccess` with AllowOverride FileInfo.
    FileInfo,
    /// Sections and `.htaccess` with AllowOverride AuthConfig.
    Auth,
}

impl Place {
    /// As httpd writes it.
    pub(crate) const fn bits(self) -> i32 {
        match self {
            Self::Global | Self::Server => sys::RSRC_CONF,
            Self::Section => sys::RSRC_CONF | sys::ACCESS_CONF,
            Self::FileInfo => sys::OR_FILEINFO,
            Self::Auth => sys::OR_AUTHCFG,
        }
    }
}

/// What a directive may change.
pub(crate) struct Context<'c, 'p> {
    /// Its name as the table has it.
    pub(crate) name: &'static str,
    /// `file:line`.
    pub(crate) origin: String,
    pub(crate) pool: Pool<'p>,
    pub(crate) dir: &'c mut DirConfig<'p>,
    pub(crate) server_config: &'c mut ServerConfig<'p>,
    pub(crate) server: Server<'p>,
    /// Whether `.htaccess` says it: read for a request, in a child, and perhaps
    /// a tenant's word.
    pub(crate) in_htaccess: bool,
    /// Makes a path absolute as httpd does (ServerRoot).
    pub(crate) absolute: &'c dyn Fn(&CStr) -> Option<&'p CStr>,
}

impl Context<'_, '_> {
    /// Remembers where a directive stands whose partner may be missing.
    pub(crate) fn note(&self, subject: Subject) {
        if !self.in_htaccess {
            let section = std::ptr::from_ref(&*self.dir).addr();
            let sighting = Sighting { subject, section, server: self.server.id(), origin: self.origin.clone() };
            settings::with(|settings| settings.sightings.push(sighting));
        }
    }
}

/// A wrong directive, in words.
pub(crate) type Outcome = Result<(), String>;

/// One directive.
pub(crate) struct Directive {
    pub(crate) name: &'static CStr,
    pub(crate) place: Place,
    /// Shown by httpd where the directive is listed.
    pub(crate) usage: &'static CStr,
    pub(crate) apply: fn(&mut Context<'_, '_>, &mut Words<'_>) -> Outcome,
    /// Whether it is a section that holds others.
    pub(crate) container: bool,
}

macro_rules! directives {
    ($($name:literal, $place:ident, $usage:literal, $apply:path;)*) => {
        /// All directives.
        pub(crate) static TABLE: &[Directive] = &[
            $(Directive {
                name: $name, place: Place::$place, usage: $usage, apply: $apply,
                container: matches!($name.to_bytes().first(), Some(b'<')),
            },)*
        ];
    };
}

directives! {
    c"WSGIScriptAlias", Server, c"URL-path file-or-directory [option=value ...]", mapping::script_alias;
    c"WSGIScriptAliasMatch", Server, c"regular-expression file-pattern [option=value ...]", mapping::script_alias_match;
    c"WSGIHandlerScript", Section, c"handler-name file [option=value ...]", mapping::handler_script;
    c"WSGIImportScript", Server, c"file process-group=name application-group=name", mapping::import_script;
    c"WSGIDispatchScript", Section, c"file [option=value ...]", mapping::dispatch_script;
    c"WSGICallableObject", FileInfo, c"name of the callable object in the script", mapping::callable_object;

    c"WSGIDaemonProcess", Server, c"name [option=value ...]", process::daemon_process;
    c"WSGIProcessGroup", Section, c"name of a process group", process::process_group;
    c"WSGIApplicationGroup", Section, c"name of an application group", process::application_group;
    c"WSGIRestrictProcess", Section, c"process groups that may be used here", process::restrict_process;
    c"WSGISocketPrefix", Global, c"path that the socket's name begins with", process::socket_prefix;
    c"WSGISocketRotation", Global, c"On or Off; without effect, the socket stays the same", process::socket_rotation;
    c"WSGIAcceptMutex", Global, c"name of a mutex; without effect, none is needed", process::accept_mutex;
    c"WSGIRestrictEmbedded", Global, c"On or Off: whether requests need a named process group", process::restrict_embedded;
    c"WSGISupervisorExecutable", Global, c"path of wsgid", process::supervisor_executable;
    c"WSGIDaemonSocket", Global, c"socket of a supervisor that runs on its own", process::daemon_socket;

    c"WSGIPythonHome", Global, c"prefix of the Python to run", python::home;
    c"WSGIPythonPath", Global, c"directories to add to sys.path", python::path;
    c"WSGIPythonEggs", Global, c"directory for PYTHON_EGG_CACHE", python::eggs;
    c"WSGIPythonOptimize", Global, c"0, 1 or 2", python::optimize;
    c"WSGIPythonWarnings", Global, c"warning filter", python::warnings;
    c"WSGIPythonHashSeed", Global, c"random or a number", python::hash_seed;
    c"WSGIDontWriteBytecode", Global, c"On or Off", python::dont_write_bytecode;
    c"WSGISwitchInterval", Global, c"seconds", python::switch_interval;
    c"WSGIDestroyInterpreter", Global, c"On or Off; without effect", python::destroy_interpreter;
    c"WSGIPerInterpreterGIL", Global, c"On or Off; without effect, each application group has processes of its own", python::per_interpreter_gil;
    c"WSGIFreeThreading", Global, c"On or Off", python::free_threading;
    c"<WSGIInterpreterOptions", Global, c"[process-group=name] [application-group=name]", python::interpreter_options;
    c"WSGIRestrictStdin", Global, c"On or Off", python::restrict_stdin;
    c"WSGIRestrictStdout", Global, c"On or Off", python::restrict_stdout;
    c"WSGIRestrictSignal", Global, c"On or Off", python::restrict_signal;
    c"WSGICaseSensitivity", Global, c"On or Off; without effect", python::case_sensitivity;

    c"WSGIPassAuthorization", FileInfo, c"On or Off: whether applications see Authorization", request::pass_authorization;
    c"WSGIScriptReloading", FileInfo, c"On or Off: whether a changed script is loaded again", request::script_reloading;
    c"WSGIChunkedRequest", FileInfo, c"On or Off: whether request bodies may be chunked", request::chunked_request;
    c"WSGIErrorOverride", FileInfo, c"On or Off: whether ErrorDocument replaces error pages of applications", request::error_override;
    c"WSGIMapHEADToGET", FileInfo, c"On, Off or Auto", request::map_head_to_get;
    c"WSGIIgnoreActivity", FileInfo, c"On or Off: whether requests leave inactivity-timeout alone", request::ignore_activity;
    c"WSGIEnableSendfile", FileInfo, c"On or Off: whether wsgi.file_wrapper may use sendfile", request::enable_sendfile;
    c"WSGIPassApacheRequest", Section, c"On or Off; without effect outside httpd", request::pass_apache_request;
    c"WSGITrustedProxyHeaders", FileInfo, c"names of headers", request::trusted_proxy_headers;
    c"WSGITrustedProxies", FileInfo, c"addresses and networks", request::trusted_proxies;

    c"WSGIAccessScript", Auth, c"file [option=value ...]", request::access_script;
    c"WSGIAuthUserScript", Auth, c"file [option=value ...]", request::auth_user_script;
    c"WSGIAuthGroupScript", Auth, c"file [option=value ...]", request::auth_group_script;
    c"WSGIGroupAuthoritative", Auth, c"On or Off; without effect", request::group_authoritative;

    c"WSGIServerMetrics", Global, c"On or Off", python::server_metrics;
    c"WSGITelemetryService", Global, c"unix:/path [interval=seconds]", python::telemetry_service;
    c"WSGITelemetryOptions", Global, c"options", python::telemetry_options;
    c"WSGISlowRequests", Global, c"seconds", python::slow_requests;
    c"WSGIVerboseDebugging", Global, c"On or Off; without effect", python::verbose_debugging;
}

/// Carries out directive number `index` with the rest of its line.
pub(crate) fn apply(directive: &'static Directive, cx: &mut Context<'_, '_>, line: &[u8]) -> Outcome {
    let mut words = Words::new(line);
    (directive.apply)(cx, &mut words)?;
    words.finish()
}
