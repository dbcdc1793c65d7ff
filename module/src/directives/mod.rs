//! The directives: one table with name, place, arguments and what each does.
//! httpd's command table is made from it; `entry/commands.rs` calls
//! [`apply`]. Every wrong value is a configuration error that names it.

pub(crate) mod context;
pub(crate) mod handlers;
mod mapping;
mod process;
mod python;
mod request;

use std::ffi::CStr;

use crate::configuration::words::Words;
use crate::directives::context::{Applied, Context};
use crate::sys;

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DirectiveScope {
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

impl DirectiveScope {
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

/// What a directive means here, compared with mod_wsgi.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect {
    Same,
    /// The same but for this.
    Differs(
        #[cfg_attr(
            not(test),
            expect(dead_code, reason = "printed into the documentation")
        )]
        &'static str,
    ),
    /// It is accepted and does nothing, for this reason.
    Nothing(&'static str),
    /// Versions before mod_wsgi 6 had it; it does nothing, for this reason.
    Former(&'static str),
    /// mod_wsgi does not have it.
    Added,
}
use Effect::{Added, Differs, Former, Nothing, Same};

pub(crate) struct Directive {
    pub(crate) name: &'static CStr,
    pub(crate) scope: DirectiveScope,
    /// Shown by httpd where the directive is listed.
    pub(crate) usage: &'static CStr,
    pub(crate) apply: fn(&mut Context<'_, '_>, &mut Words<'_>) -> Applied,
    pub(crate) effect: Effect,
    /// Whether it is a section that holds others.
    pub(crate) container: bool,
}

macro_rules! directives {
    ($($name:literal, $scope:ident, $usage:literal, $apply:path, $effect:expr;)*) => {
        pub(crate) static TABLE: &[Directive] = &[
            $(Directive {
                name: $name, scope: DirectiveScope::$scope, usage: $usage, apply: $apply, effect: $effect,
                container: matches!($name.to_bytes().first(), Some(b'<')),
            },)*
        ];
    };
}

directives! {
    c"WSGIScriptAlias", Server, c"URL-path file-or-directory [option=value ...]", mapping::script_alias, Differs("a process group that is not defined or not reachable is a warning with file and line, and its requests get 500; the definition may follow later in the file");
    c"WSGIScriptAliasMatch", Server, c"regular-expression file-pattern [option=value ...]", mapping::script_alias_match, Differs("as WSGIScriptAlias");
    c"WSGIHandlerScript", Section, c"handler-name file [option=value ...]", mapping::handler_script, Same;
    c"WSGIImportScript", Server, c"file process-group=name application-group=name", mapping::import_script, Differs("`process-group=%{GLOBAL}` loads it in the implicit process group, for nothing runs inside httpd");
    c"WSGIDispatchScript", Section, c"file [option=value ...]", request::dispatch_script, Differs("it runs in a worker (`process-group=`, else the implicit group) and has 10 s; if it cannot be loaded the request ends with 500 instead of going on");
    c"WSGICallableObject", FileInfo, c"name of the callable object in the script", mapping::callable_object, Same;

    c"WSGIDaemonProcess", Server, c"name [option=value ...]", process::daemon_process, Differs("numbers and sizes are checked; a user or group that does not exist stops this process group alone; the same definition twice, as certbot makes it, is one group; see the options");
    c"WSGIProcessGroup", Section, c"name of a process group", process::process_group, Differs("`%{GLOBAL}` is an implicit process group with httpd's user, one process and 15 threads; with `%{ENV:...}` and without WSGIRestrictProcess the start warns");
    c"WSGIApplicationGroup", Section, c"name of an application group", process::application_group, Differs("an application group is processes of its own, never a sub-interpreter; ports are the listener's, and names that requests make are bounded");
    c"WSGIRestrictProcess", Section, c"process groups that may be used here", process::restrict_process, Same;
    c"WSGISocketPrefix", Global, c"path that the socket's name begins with", process::socket_prefix, Differs("the directory of the one socket to the supervisor");
    c"WSGISocketRotation", Global, c"On or Off; without effect, the socket stays the same", process::ignored_switch, Nothing("the socket is the same before and after a restart");
    c"WSGIAcceptMutex", Global, c"name of a mutex; without effect, none is needed", process::accept_mutex, Nothing("worker processes do not compete for connections");
    c"WSGIRestrictEmbedded", Global, c"On or Off: whether requests need a named process group", process::restrict_embedded, Differs("On: a request that names no process group fails; nothing is embedded either way");
    c"WSGISupervisorExecutable", Global, c"path of wsgid", process::supervisor_executable, Added;
    c"WSGILogFormat", Global, c"text or json", process::log_format, Added;
    c"WSGIDaemonSocket", Global, c"socket of a supervisor that runs on its own", process::daemon_socket, Added;

    c"WSGIPythonHome", Global, c"prefix of the Python to run", python::home, Differs("any Python 3.9 or newer; each process group may have its own");
    c"WSGIPythonPath", Global, c"directories to add to sys.path", python::path, Differs("outside of a container for the implicit process group, which takes the place of embedded mode");
    c"WSGIPythonEggs", Global, c"directory for PYTHON_EGG_CACHE", python::eggs, Same;
    c"WSGIPythonOptimize", Global, c"0, 1 or 2", python::optimize, Same;
    c"WSGIPythonWarnings", Global, c"warning filter", python::warnings, Same;
    c"WSGIPythonHashSeed", Global, c"random or a number", python::hash_seed, Differs("`random` is random");
    c"WSGIDontWriteBytecode", Global, c"On or Off", process::dont_write_bytecode, Same;
    c"WSGISwitchInterval", Global, c"seconds", python::switch_interval, Same;
    c"WSGIDestroyInterpreter", Global, c"On or Off; without effect", process::ignored_switch, Nothing("an interpreter ends with its process");
    c"WSGIPerInterpreterGIL", Global, c"On or Off; without effect, each application group has processes of its own", process::ignored_switch, Nothing("each application group has processes of its own");
    c"WSGIFreeThreading", Global, c"On or Off", process::ignored_switch, Nothing("free-threaded builds of Python are not supported; every worker has the lock");
    c"<WSGIInterpreterOptions", Global, c"[process-group=name] [application-group=name]", python::interpreter_options, Differs("what is for one application group holds for its processes, WSGISwitchInterval too");
    c"WSGIRestrictStdin", Global, c"On or Off", python::restrict_stdin, Same;
    c"WSGIRestrictStdout", Global, c"On or Off", python::restrict_stdout, Same;
    c"WSGIRestrictSignal", Global, c"On or Off", python::restrict_signal, Same;
    c"WSGICaseSensitivity", Global, c"On or Off; without effect", process::ignored_switch, Nothing("paths are told apart as the file system does");

    c"WSGIPassAuthorization", FileInfo, c"On or Off: whether applications see Authorization", request::pass_authorization, Same;
    c"WSGIScriptReloading", FileInfo, c"On or Off: whether a changed script is loaded again", request::script_reloading, Same;
    c"WSGIChunkedRequest", FileInfo, c"On or Off: whether request bodies may be chunked", request::chunked_request, Same;
    c"WSGIErrorOverride", FileInfo, c"On or Off: whether ErrorDocument replaces error pages of applications", request::error_override, Same;
    c"WSGIMapHEADToGET", FileInfo, c"On, Off or Auto", request::map_head_to_get, Same;
    c"WSGIIgnoreActivity", FileInfo, c"On or Off: whether requests leave inactivity-timeout alone", request::ignore_activity, Same;
    c"WSGIEnableSendfile", FileInfo, c"On or Off: whether wsgi.file_wrapper may use sendfile", request::enable_sendfile, Same;
    c"WSGIPassApacheRequest", Section, c"On or Off; without effect outside httpd", process::ignored_switch, Nothing("applications run outside httpd, where its request record does not exist");
    c"WSGITrustedProxyHeaders", FileInfo, c"names of headers", request::trusted_proxy_headers, Differs("only an address becomes REMOTE_ADDR, a port behind it is taken off; without WSGITrustedProxies the start warns");
    c"WSGITrustedProxies", FileInfo, c"addresses and networks", request::trusted_proxies, Same;

    c"WSGIAccessScript", Auth, c"file [option=value ...]", request::access_script, Differs("it runs in a worker (`process-group=`, else the implicit group) and has 10 s; whatever goes wrong refuses the request; in `.htaccess` it runs only in a process group that WSGIRestrictProcess lists or WSGIProcessGroup has set for the place, never as httpd's user");
    c"WSGIAuthUserScript", Auth, c"file [option=value ...]", request::auth_user_script, Differs("as WSGIAccessScript");
    c"WSGIAuthGroupScript", Auth, c"file [option=value ...]", request::auth_group_script, Differs("as WSGIAccessScript");
    c"WSGIGroupAuthoritative", Auth, c"On or Off; without effect", process::ignored_switch, Nothing("as in mod_wsgi for httpd 2.4; use RequireAny and RequireAll");

    c"WSGIServerMetrics", Global, c"On or Off", process::server_metrics, Differs("for the implicit process group; others have the option `server-metrics`");
    c"WSGITelemetryService", Global, c"unix:/path [interval=seconds]", python::telemetry_service, Nothing("no telemetry datagrams are sent; `wsgid status` has the figures");
    c"WSGITelemetryOptions", Global, c"options", python::telemetry_options, Nothing("no telemetry datagrams are sent");
    c"WSGISlowRequests", Global, c"seconds; 0 switches it off: after which a request is slow", python::slow_requests, Differs("each is a line in its error log, WSGID0090, not a telemetry record");
    c"WSGIVerboseDebugging", Global, c"On or Off; without effect", process::ignored_switch, Nothing("use LogLevel wsgi:trace1");

    c"WSGILazyInitialization", Global, c"On or Off; without effect", process::former, Former("there is never a Python inside httpd");
    c"WSGIPy3kWarningFlag", Global, c"On or Off; without effect", process::former, Former("Python 2 is not supported");
    c"WSGIReloadMechanism", FileInfo, c"Module or Process; without effect", process::former, Former("a changed script gets new processes");
    c"WSGINewRelicConfigFile", Global, c"file; without effect", process::former, Former("start the agent in the script");
    c"WSGINewRelicEnvironment", Global, c"name; without effect", process::former, Former("start the agent in the script");
}

/// Carries out a directive with the rest of its line.
pub(crate) fn apply(
    directive: &'static Directive,
    cx: &mut Context<'_, '_>,
    line: &[u8],
) -> Applied {
    let line = match line.strip_suffix(b">") {
        Some(inner) if directive.container => inner,
        _ => line,
    };
    let mut words = Words::new(line);
    (directive.apply)(cx, &mut words)?;
    words.finish()?;
    if let Effect::Nothing(why) | Effect::Former(why) = directive.effect {
        process::without_effect(cx, why);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
