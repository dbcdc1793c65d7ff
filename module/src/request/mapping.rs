//! From URL to script: WSGIScriptAlias and WSGIScriptAliasMatch. Runs while
//! httpd translates names; the handler learns the alias's options from notes,
//! which survive what mod_dir and mod_rewrite do to a request.

use std::ffi::CStr;

use crate::configuration::config::{Mount, ScriptAlias, ServerConfig};
use crate::httpd::request::Request;
use crate::httpd::walk;
use crate::sys;

/// The handler's name for scripts.
pub(crate) const HANDLER: &CStr = c"wsgi-script";

/// The content type that older configurations use as a handler.
pub(crate) const OLD_HANDLER: &CStr = c"application/x-httpd-wsgi";

/// Notes from here to the handler.
pub(crate) mod note {
    use std::ffi::CStr;

    /// The URL came through an alias, which implies ExecCGI.
    pub(crate) const FORCED: &CStr = c"alias-forced-type";
    pub(crate) const PROCESS_GROUP: &CStr = c"mod_wsgi.alias.process-group";
    pub(crate) const APPLICATION_GROUP: &CStr = c"mod_wsgi.alias.application-group";
    pub(crate) const CALLABLE: &CStr = c"mod_wsgi.alias.callable-object";
    pub(crate) const PASS_AUTHORIZATION: &CStr = c"mod_wsgi.alias.pass-authorization";
    /// What follows the script in the URL, until the walk.
    pub(super) const REST: &CStr = c"mod_wsgi.alias.rest";
}

/// httpd's translate_name hook.
pub(crate) fn translate(r: Request<'_>) -> i32 {
    let Some(uri) = r.uri().filter(|uri| uri.to_bytes().first() == Some(&b'/')) else {
        return sys::DECLINED;
    };
    for alias in ServerConfig::of(r.server()).all_aliases() {
        if let Some((file, rest)) = target(r, alias, uri) {
            apply(r, alias, file, rest);
            return sys::OK;
        }
    }
    sys::DECLINED
}

/// httpd's map_to_storage hook.
pub(crate) fn walk(r: Request<'_>) -> i32 {
    let (Some(file), Some(rest)) = (r.filename(), r.notes().get(note::REST)) else {
        return sys::DECLINED;
    };
    r.notes().unset(note::REST);
    if walk::look(r) {
        return walk::walk(r, rest);
    }
    // A directory, whose files are what is meant, or nothing at all.
    let path = r.pool().join(&[file.to_bytes(), rest.to_bytes()]);
    r.set_filename(r.pool().string(path));
    sys::DECLINED
}

/// Whether the request came through an alias of the server's configuration, and
/// the file is one that such an alias leads to.
pub(crate) fn is_aliased(r: Request<'_>, file: &CStr) -> bool {
    let leads_to = |alias: &ScriptAlias<'_>| {
        let target = alias.target.to_bytes();
        match alias.mount {
            Mount::Prefix(_) if target.ends_with(b"/") => file.to_bytes().starts_with(target),
            // A target may go on behind the script: `…/wsgi.py/api`.
            Mount::Prefix(_) => {
                let file = file.to_bytes();
                file == target || is_below(file, target) || is_below(target, file)
            }
            // The part before what a pattern puts in.
            Mount::Pattern(_) => {
                let fixed = target
                    .iter()
                    .position(|byte| matches!(byte, b'$' | b'&'))
                    .unwrap_or(target.len());
                file.to_bytes().starts_with(&target[..fixed])
            }
        }
    };
    r.notes().get(note::FORCED) == Some(HANDLER)
        && ServerConfig::of(r.server()).all_aliases().any(leads_to)
}

fn is_below(file: &[u8], directory: &[u8]) -> bool {
    file.strip_prefix(directory)
        .is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// Whether one of the extensions behind the first dot of a file's name, as httpd
/// looks for them, is among these.
pub(crate) fn has_extension(file: &CStr, known: &[&CStr]) -> bool {
    let name = file
        .to_bytes()
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or_default();
    let mut extensions = name.split(|byte| *byte == b'.').skip(1);
    extensions.any(|found| {
        known
            .iter()
            .any(|known| known.to_bytes().eq_ignore_ascii_case(found))
    })
}

/// The script's path, and what follows it in the URL.
fn target<'r>(
    r: Request<'r>,
    alias: &ScriptAlias<'r>,
    uri: &'r CStr,
) -> Option<(&'r CStr, &'r [u8])> {
    let bytes = uri.to_bytes();
    match alias.mount {
        Mount::Prefix(prefix) => {
            let rest = rest_behind(bytes, prefix.to_bytes(), alias.target.to_bytes())?;
            Some((alias.target, rest))
        }
        Mount::Pattern(regex) => {
            let (target, end) = regex.substitute(r.pool(), uri, alias.target)?;
            Some((target, bytes.get(end..).unwrap_or_default()))
        }
    }
}

fn apply<'r>(r: Request<'r>, alias: &ScriptAlias<'r>, file: &'r CStr, rest: &'r [u8]) {
    let notes = r.notes();
    // Where slashes are not merged, only httpd's walk knows what it makes of several.
    let is_plain = rest.first() == Some(&b'/') && !rest.windows(2).any(|pair| pair == b"//");
    let pool = r.pool();
    if is_plain && !file.to_bytes().ends_with(b"/") {
        // A copy: httpd may write to a request's strings.
        r.set_target(pool.string(file.to_bytes()), HANDLER);
        notes.set(note::REST, pool.string(rest));
    } else {
        r.set_target(pool.string(pool.join(&[file.to_bytes(), rest])), HANDLER);
    }
    notes.set(note::FORCED, HANDLER);
    let options = alias.options;
    let authorization = options
        .pass_authorization
        .map(|on| if on { c"1" } else { c"0" });
    let options = [
        (note::PROCESS_GROUP, options.process_group),
        (note::APPLICATION_GROUP, options.application_group),
        (note::CALLABLE, options.callable),
        (note::PASS_AUTHORIZATION, authorization),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            notes.set(name, value);
        }
    }
}

/// What follows the alias in the URL, as it is to be put behind the target.
/// `/` takes the whole path with its slash, unless the target has one.
fn rest_behind<'u>(uri: &'u [u8], prefix: &[u8], target: &[u8]) -> Option<&'u [u8]> {
    let used = match_prefix(uri, prefix)?;
    if prefix == b"/" && !target.ends_with(b"/") {
        return Some(uri);
    }
    uri.get(used..)
}

/// How much of `uri` the alias takes, if it matches: it must end at a slash or
/// at the end, and several slashes count as one.
fn match_prefix(uri: &[u8], prefix: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut rest = prefix;
    while let Some((&wanted, tail)) = rest.split_first() {
        if uri.get(at) != Some(&wanted) {
            return None;
        }
        if wanted == b'/' {
            at += count_slashes(&uri[at..]);
            rest = &rest[count_slashes(rest)..];
        } else {
            at += 1;
            rest = tail;
        }
    }
    let whole = prefix.ends_with(b"/") || matches!(uri.get(at), None | Some(b'/'));
    whole.then_some(at)
}

fn count_slashes(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| **byte == b'/').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(uri: &str, prefix: &str, target: &str) -> Option<String> {
        rest_behind(uri.as_bytes(), prefix.as_bytes(), target.as_bytes())
            .map(|rest| String::from_utf8_lossy(rest).into_owned())
    }

    #[test]
    fn every_extension_of_a_name_counts() {
        let known = [c"wsgi", c"PY"];
        for (file, expected) in [
            (c"/srv/app.wsgi", true),
            (c"/srv/app.wsgi.en", true),
            (c"/srv/app.py", true),
            (c"/srv.wsgi/app", false),
            (c"/srv/wsgi", false),
            (c"/srv/app.txt", false),
        ] {
            assert_eq!(
                has_extension(file, &known),
                expected,
                "{}",
                file.to_string_lossy()
            );
        }
        assert!(!has_extension(c"/srv/app.wsgi", &[]));
    }

    #[test]
    fn an_alias_ends_at_a_slash() {
        let script = "/srv/app.wsgi";
        for (uri, prefix, expected) in [
            ("/app", "/app", Some("")),
            ("/app/x", "/app", Some("/x")),
            ("/app//x", "/app", Some("//x")),
            ("//app/x", "/app", Some("/x")),
            ("/a//b/c", "/a/b", Some("/c")),
            ("/apple", "/app", None),
            ("/ap", "/app", None),
            ("/", "/app", None),
            ("/", "/", Some("/")),
            ("/x/y", "/", Some("/x/y")),
        ] {
            assert_eq!(
                rest(uri, prefix, script).as_deref(),
                expected,
                "{uri} under {prefix}"
            );
        }
    }

    #[test]
    fn a_directory_is_followed_by_the_file() {
        assert_eq!(
            rest("/wsgi/a.wsgi/x", "/wsgi/", "/srv/wsgi/").as_deref(),
            Some("a.wsgi/x")
        );
        assert_eq!(rest("/wsgi", "/wsgi/", "/srv/wsgi/"), None);
        assert_eq!(
            rest("/a.wsgi", "/", "/srv/wsgi/").as_deref(),
            Some("a.wsgi")
        );
    }
}
