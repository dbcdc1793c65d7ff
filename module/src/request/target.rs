//! What a request, or a call about it, asks for: which script, in which groups, under
//! which names. Whether that group may be used is `group_access.rs`'s.

use std::borrow::Cow;
use std::ffi::CStr;

use wsgid_protocol::request::Call;

use crate::configuration::config::{DirConfig, HandlerScript, MapHead, ScriptRef, ServerConfig};
use crate::configuration::groups::{self, ApplicationGroup};
use crate::configuration::names::{self, Host, NameSources};
use crate::httpd::request::{FoundFile, Request};
use crate::request::mapping::note;
use crate::workers::child;

/// The application object's name unless WSGICallableObject gives another.
const CALLABLE: &CStr = c"application";

/// What a request asks for.
pub(crate) struct ScriptTarget<'r> {
    pub(crate) call: Call<'r>,
    pub(crate) script: &'r CStr,
    /// Set for WSGIHandlerScript.
    pub(crate) handler_script: Option<&'r CStr>,
    pub(crate) callable: &'r CStr,
    pub(crate) script_name: &'r [u8],
    pub(crate) path_info: &'r [u8],
    pub(crate) method: &'r CStr,
    pub(crate) pass_authorization: bool,
    pub(crate) group: String,
    /// A variable of the request named the group, which `.htaccess` may set.
    pub(crate) by_variable: bool,
    pub(crate) application_group: ApplicationGroup,
}

impl ScriptTarget<'_> {
    /// Whether a script is asked about the client instead of for a response.
    pub(crate) fn is_about_access(&self) -> bool {
        self.call.is_about_access()
    }
}

/// Several slashes in a row are one.
fn collapse_slashes<'r>(r: Request<'r>, path: &'r [u8]) -> &'r [u8] {
    if !path.windows(2).any(|pair| pair == b"//") {
        return path;
    }
    let mut single = path.to_vec();
    single.dedup_by(|byte, before| *byte == b'/' && *before == b'/');
    r.pool().join(&[&single])
}

/// SCRIPT_NAME and PATH_INFO.
fn split_path<'r>(r: Request<'r>) -> (&'r [u8], &'r [u8]) {
    let uri = r.uri().unwrap_or_default();
    let path_info = r.path_info().unwrap_or_default();
    let end = if path_info.is_empty() {
        uri.count_bytes()
    } else {
        Request::find_path_info(uri, path_info)
    };
    let script_name = uri.to_bytes().get(..end).unwrap_or_default();
    (
        collapse_slashes(r, script_name),
        collapse_slashes(r, path_info.to_bytes()),
    )
}

/// What is asked of a script for access, authentication or dispatch: such a
/// script runs in the implicit group's main application group unless its
/// directive says otherwise.
pub(crate) fn of_script_call<'r>(
    r: Request<'r>,
    script: &ScriptRef<'r>,
    call: Call<'r>,
) -> ScriptTarget<'r> {
    let (script_name, path_info) = split_path(r);
    // The file that is asked for is not the script that is asked.
    let facts = RequestNames::new(r, script_name, false);
    let global = c"%{GLOBAL}";
    let options = script.options;
    let process_group = options
        .process_group
        .or_else(|| script.htaccess.and_then(|_| group_of_place(r)));
    ScriptTarget {
        call,
        script: script.file,
        handler_script: None,
        callable: c"",
        script_name,
        path_info,
        method: r.method().unwrap_or(c"GET"),
        pass_authorization: false,
        group: process_group_named(process_group.unwrap_or(global), &facts),
        by_variable: false,
        application_group: named(options.application_group.unwrap_or(global), &facts),
    }
}

/// The process group that the server's configuration has set for requests here,
/// unless it depends on the request.
fn group_of_place(r: Request<'_>) -> Option<&CStr> {
    let group = r
        .notes()
        .get(note::PROCESS_GROUP)
        .or(DirConfig::of(r).process_group);
    group.filter(|name| !name.to_bytes().starts_with(b"%{"))
}

/// Puts what a dispatch script chose in the place of what was configured.
pub(crate) fn redirect<'r>(r: Request<'r>, target: &mut ScriptTarget<'r>, choice: &DispatchChoice) {
    let is_script = target.handler_script.is_none();
    let facts = RequestNames::new(r, target.script_name, is_script);
    if let Some(group) = &choice.process_group {
        target.group = process_group_named(facts.r.pool().string(group.as_bytes()), &facts);
        target.by_variable = is_variable(group.as_bytes());
    }
    if let Some(group) = &choice.application_group {
        let mut chosen = named(r.pool().string(group.as_bytes()), &facts);
        // A name in plain words is what the script made of this request.
        chosen.from_request |= chosen.name == *group;
        target.application_group = chosen;
    }
    if let (Some(callable), Call::Application) = (&choice.callable, target.call) {
        target.callable = callable_named(callable, &facts);
    }
}

/// What a dispatch script chose.
pub(crate) struct DispatchChoice {
    pub(crate) process_group: Option<String>,
    pub(crate) application_group: Option<String>,
    pub(crate) callable: Option<String>,
}

/// What a request that reached the handler asks for.
pub(crate) fn of_request<'r>(
    r: Request<'r>,
    config: &DirConfig<'r>,
    handler_script: Option<&HandlerScript<'r>>,
) -> ScriptTarget<'r> {
    let (script_name, path_info) = split_path(r);
    let notes = r.notes();
    let facts = RequestNames::new(r, script_name, handler_script.is_none());
    let own = handler_script.map(|known| &known.script);
    let options = own.map(|own| own.options).unwrap_or_default();
    let group = options
        .process_group
        .or_else(|| notes.get(note::PROCESS_GROUP))
        .or(config.process_group);
    let application = options
        .application_group
        .or_else(|| notes.get(note::APPLICATION_GROUP))
        .or(config.application_group);
    let group = group.unwrap_or(c"%{GLOBAL}");
    let by_variable = is_variable(group.to_bytes());
    let group = process_group_named(group, &facts);
    let application_group = named(application.unwrap_or(c"%{RESOURCE}"), &facts);
    let callable = match handler_script {
        Some(_) => c"handle_request",
        None => {
            let name = notes.get(note::CALLABLE).or(config.callable);
            callable_named(&name.unwrap_or(CALLABLE).to_string_lossy(), &facts)
        }
    };
    let from_alias = notes
        .get(note::PASS_AUTHORIZATION)
        .map(|value| value == c"1");
    let pass_authorization = options
        .pass_authorization
        .or(from_alias)
        .or(config.pass_authorization);
    ScriptTarget {
        call: if handler_script.is_some() {
            Call::Handler
        } else {
            Call::Application
        },
        script: own.map_or(r.filename().unwrap_or_default(), |own| own.file),
        handler_script: own.map(|own| own.file),
        callable,
        script_name,
        path_info,
        method: method(r, config),
        pass_authorization: pass_authorization.unwrap_or(false),
        group,
        by_variable,
        application_group,
    }
}

fn is_variable(name: &[u8]) -> bool {
    name.starts_with(b"%{ENV:")
}

fn named(name: &CStr, facts: &RequestNames<'_>) -> ApplicationGroup {
    let name = name.to_string_lossy();
    let mut group: ApplicationGroup = names::resolve(&name, facts).into();
    if let Some(seen_as) = facts
        .without_port(&name)
        .filter(|seen_as| *seen_as != group.name)
    {
        // What the configuration says about it is meant for these requests.
        if child::get().is_some_and(|child| child.plan.application_groups.contains(&seen_as)) {
            group.name = seen_as;
        } else {
            group.seen_as = Some(seen_as);
        }
    }
    group
}

/// The process group that a directive means.
fn process_group_named(name: &CStr, facts: &RequestNames<'_>) -> String {
    let name = name.to_string_lossy();
    let is_defined =
        |name: &String| child::get().is_some_and(|child| child.plan.groups.contains_key(name));
    let found = facts.without_port(&name).filter(is_defined);
    let found = found.unwrap_or_else(|| names::resolve(&name, facts).text.into_owned());
    groups::resolve(&found).to_owned()
}

/// The name of the callable; a variable that nobody set leaves the usual one.
fn callable_named<'r>(name: &str, facts: &RequestNames<'r>) -> &'r CStr {
    match names::resolve(name, facts).text {
        Cow::Borrowed(name) if name.starts_with("%{ENV:") => CALLABLE,
        found => facts.r.pool().string(found.as_bytes()),
    }
}

/// HEAD as GET where a filter needs the body to write the right headers.
fn method<'r>(r: Request<'r>, config: &DirConfig<'_>) -> &'r CStr {
    let method = r.method().unwrap_or(c"GET");
    let get = match config.map_head_to_get.unwrap_or(MapHead::Auto) {
        MapHead::Off => false,
        MapHead::On => true,
        MapHead::Auto => r.header_only() && r.content_is_filtered(),
    };
    if get && method == c"HEAD" {
        c"GET"
    } else {
        method
    }
}

/// What names in directives may refer to.
#[derive(Clone, Copy)]
struct RequestNames<'r> {
    r: Request<'r>,
    script_name: &'r [u8],
    /// Whether the file that the URL means is the script.
    is_script: bool,
    port: u16,
}

impl<'r> RequestNames<'r> {
    fn new(r: Request<'r>, script_name: &'r [u8], is_script: bool) -> Self {
        Self {
            r,
            script_name,
            is_script,
            port: r.local_port().unwrap_or_default(),
        }
    }

    /// The name with the usual port in the place of the listener's, if the client
    /// names no port.
    fn without_port(&self, name: &str) -> Option<String> {
        let is_usual = |port: u16| matches!(port, 0 | 80 | 443);
        let applies =
            name.starts_with("%{") && !is_usual(self.port) && is_usual(self.r.server_port());
        applies.then(|| {
            names::resolve(name, &Self { port: 80, ..*self })
                .text
                .into_owned()
        })
    }

    /// Whether an alias says that this URL path is this file.
    fn is_aliased(&self, file: &[u8]) -> bool {
        ServerConfig::of(self.r.server())
            .all_aliases()
            .any(|alias| {
                let path = alias.fixed_path.map(CStr::to_bytes);
                path.is_some_and(|path| {
                    names::is_mapped(self.script_name, path, file, alias.target.to_bytes())
                })
            })
    }

    /// Whether it is a file of the document root, or of a directory that Alias names.
    fn is_below_a_root(&self, file: &[u8]) -> bool {
        let prefix = self.r.context_prefix().unwrap_or_default();
        let root = self.r.context_document_root();
        let is_file = self.r.found_file() == FoundFile::File;
        is_file
            && root.is_some_and(|root| {
                names::is_mapped(self.script_name, prefix.to_bytes(), file, root.to_bytes())
            })
    }
}

impl NameSources for RequestNames<'_> {
    fn server(&self) -> Cow<'_, str> {
        let hostname = self.r.server().hostname();
        hostname.unwrap_or_default().to_string_lossy()
    }

    fn host(&self) -> Host<'_> {
        let Some(said) = self.r.hostname() else {
            return Host {
                name: self.server(),
                is_configured: true,
            };
        };
        let said = said.to_bytes();
        let said = said.strip_suffix(b".").unwrap_or(said);
        Host {
            name: String::from_utf8_lossy(said).to_ascii_lowercase().into(),
            is_configured: self.r.server().is_named(said),
        }
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn script_name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.script_name)
    }

    fn is_script_name_configured(&self) -> bool {
        let file = self.r.filename().unwrap_or_default().to_bytes();
        self.is_aliased(file) || (self.is_script && self.is_below_a_root(file))
    }

    fn variable(&self, name: &str) -> Option<String> {
        let key = self.r.pool().string(name.as_bytes());
        let note = self.r.notes().get(key);
        match note.or_else(|| self.r.subprocess_env().get(key)) {
            Some(value) => Some(value.to_string_lossy().into_owned()),
            None => std::env::var(name).ok(),
        }
    }
}
