//! Files that are served by another URL path than their own, and those that a WSGI
//! script handles. Called by `render`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::options::pairs;
use super::paths::absolute;

/// A file or directory under a URL path.
#[derive(Debug, Serialize)]
pub(crate) struct AliasedPath<'a> {
    url: &'a str,
    path: String,
    directory: PathBuf,
    /// Its name in the directory, if it is a file.
    file: Option<String>,
}

/// A WSGI script for all files with an extension.
#[derive(Debug, Serialize)]
pub(crate) struct Handler {
    name: String,
    extension: String,
    script: PathBuf,
    directory: PathBuf,
    file: String,
}

/// Longer URL paths first: httpd takes the first alias that fits.
pub(crate) fn aliases(url_alias: &[String]) -> Vec<AliasedPath<'_>> {
    let mut aliases: Vec<AliasedPath<'_>> = pairs(url_alias)
        .map(|(url, path)| alias(url, absolute(Path::new(path))))
        .collect();
    aliases.sort_by(|one, other| other.url.cmp(one.url));
    aliases
}

fn alias(url: &str, path: PathBuf) -> AliasedPath<'_> {
    if !path.is_dir() {
        return AliasedPath {
            url,
            path: path.display().to_string(),
            directory: directory_of(&path),
            file: path.file_name().map(name_text),
        };
    }
    // `Alias /a/ /dir/` needs the slash on both or on none.
    let slash = if url.ends_with('/') { "/" } else { "" };
    AliasedPath {
        url,
        path: format!("{}{slash}", path.display()),
        directory: path,
        file: None,
    }
}

pub(crate) fn handlers(add_handler: &[String]) -> Vec<Handler> {
    let mut handlers = Vec::new();
    for (at, (extension, script)) in pairs(add_handler).enumerate() {
        let script = absolute(Path::new(script));
        handlers.push(Handler {
            name: format!("wsgi-resource-{at}"),
            extension: format!(".{}", extension.trim_start_matches('.')),
            directory: directory_of(&script),
            file: script.file_name().map(name_text).unwrap_or_default(),
            script,
        });
    }
    handlers
}

fn directory_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_path_buf()
}

fn name_text(name: &std::ffi::OsStr) -> String {
    name.to_string_lossy().into_owned()
}
