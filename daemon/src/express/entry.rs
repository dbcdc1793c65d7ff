//! What the entry point names: a script, a module, or one of both with its callable, as
//! people write it for mod_wsgi-express or gunicorn. Called by `plan`; it looks at files
//! and settles the options accordingly.

use std::env;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::options::{ApplicationType, ServerOptions};
use super::paths::absolute;

/// Why an entry point names nothing that can be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("--application-type {0} needs an entry point")]
    Missing(&'static str),
    #[error("`{0}` is not the name of a module; write it as package.module")]
    ModuleName(String),
    #[error(
        "`{0}` is a call; write a file that makes the application, `application = …`, and name the file"
    )]
    Call(String),
    #[error("{0} `{1}`: {2}")]
    File(&'static str, PathBuf, String),
}

/// What is served: the absolute path of a file, the name of a module, or nothing. The
/// options then say what that is, which object in it is the application, and for static
/// files which directory is served.
pub(crate) fn settle(options: &mut ServerOptions) -> Result<Option<String>, EntryError> {
    let application = &options.application;
    let given = application.entry.as_ref();
    let given = given.or(application.entry_point.as_ref()).cloned();
    let Some(given) = given else {
        return match application.application_type {
            ApplicationType::Script | ApplicationType::Static => Ok(None),
            ApplicationType::Paste => Err(EntryError::Missing("paste")),
            ApplicationType::Module => Err(EntryError::Missing("module")),
        };
    };
    match application.application_type {
        ApplicationType::Static => {
            let root = &mut options.files.document_root;
            root.get_or_insert_with(|| absolute(Path::new(&given)));
            Ok(None)
        }
        ApplicationType::Paste => file("PasteDeploy file", &given, "no such file").map(Some),
        ApplicationType::Module => module(options, &given).map(Some),
        ApplicationType::Script => script(options, &given).map(Some),
    }
}

/// A file's own name counts before any other meaning of it.
fn script(options: &mut ServerOptions, given: &str) -> Result<String, EntryError> {
    let script = |path| {
        file(
            "WSGI script",
            path,
            "no such file, and no module of this name",
        )
    };
    if Path::new(given).is_file() {
        return script(given);
    }
    if let Some((place, callable)) = with_callable(given)? {
        if Path::new(place).is_file() || !is_module_name(place) {
            let path = script(place)?;
            options.application.callable_object = callable.to_owned();
            return Ok(path);
        }
        options.application.application_type = ApplicationType::Module;
        return module(options, given);
    }
    if is_module(options, given) {
        options.application.application_type = ApplicationType::Module;
        return Ok(given.to_owned());
    }
    script(given)
}

fn module(options: &mut ServerOptions, given: &str) -> Result<String, EntryError> {
    let name = match with_callable(given)? {
        Some((name, callable)) => {
            options.application.callable_object = callable.to_owned();
            name
        }
        None => given,
    };
    if is_module_name(name) {
        Ok(name.to_owned())
    } else {
        Err(EntryError::ModuleName(name.to_owned()))
    }
}

/// `module:callable` in its two parts.
fn with_callable(given: &str) -> Result<Option<(&str, &str)>, EntryError> {
    let Some((place, callable)) = given.split_once(':') else {
        return Ok(None);
    };
    if callable.contains('(') {
        return Err(EntryError::Call(given.to_owned()));
    }
    Ok(is_module_name(callable).then_some((place, callable)))
}

/// Names with dots between them, of modules or of objects.
fn is_module_name(text: &str) -> bool {
    text.split('.').all(is_identifier)
}

fn is_identifier(part: &str) -> bool {
    !part.is_empty()
        && part.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !part.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether the project has a module of this name: where the application will look first.
fn is_module(options: &ServerOptions, name: &str) -> bool {
    if !is_module_name(name) {
        return false;
    }
    let current = options.application.working_directory.clone();
    let current = current.or_else(|| env::current_dir().ok());
    let paths = options.environment.python_path.iter().cloned();
    let relative = name.replace('.', "/");
    paths.chain(current).any(|path| {
        let path = path.join(&relative);
        path.join("__init__.py").is_file() || path.with_extension("py").is_file()
    })
}

fn file(what: &'static str, path: &str, missing: &str) -> Result<String, EntryError> {
    let path = absolute(Path::new(path));
    let reason = match (path.metadata(), path.to_str()) {
        (Ok(found), _) if found.is_dir() => "it is a directory; name the file in it".to_owned(),
        (Ok(_), Some(text)) => return Ok(text.to_owned()),
        (Ok(_), None) => "its name is not UTF-8".to_owned(),
        (Err(error), _) if error.kind() == ErrorKind::NotFound => missing.to_owned(),
        (Err(error), _) => error.to_string(),
    };
    Err(EntryError::File(what, path, reason))
}
