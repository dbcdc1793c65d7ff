//! What the entry point names: a script, a module, or one of both with its callable, as
//! people write it for mod_wsgi-express or gunicorn. Called by `plan`; it looks at files
//! and settles the options accordingly.

use std::env;
use std::path::Path;

use super::options::{ApplicationType, ServerOptions};
use super::paths::absolute;
use super::plan::{PlanError, look};

/// What is served: the absolute path of a file, the name of a module, or nothing. The
/// options then say what that is, which object in it is the application, and for static
/// files which directory is served.
pub(crate) fn settle(options: &mut ServerOptions) -> Result<Option<String>, PlanError> {
    let application = &options.application;
    let given = application.entry.as_ref();
    let given = given.or(application.entry_point.as_ref()).cloned();
    let Some(given) = given else {
        return match application.application_type {
            ApplicationType::Script | ApplicationType::Static => Ok(None),
            ApplicationType::Paste => Err(PlanError::NoEntry("paste")),
            ApplicationType::Module => Err(PlanError::NoEntry("module")),
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
fn script(options: &mut ServerOptions, given: &str) -> Result<String, PlanError> {
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

fn module(options: &mut ServerOptions, given: &str) -> Result<String, PlanError> {
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
        Err(PlanError::ModuleName(name.to_owned()))
    }
}

/// `module:callable` in its two parts.
fn with_callable(given: &str) -> Result<Option<(&str, &str)>, PlanError> {
    let Some((place, callable)) = given.split_once(':') else {
        return Ok(None);
    };
    if callable.contains('(') {
        return Err(PlanError::Call(given.to_owned()));
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

fn file(what: &'static str, path: &str, missing: &str) -> Result<String, PlanError> {
    let path = absolute(Path::new(path));
    let misfit = "it is a directory; name the file in it";
    look(what, &path, |found| !found.is_dir(), missing, misfit)?;
    let text = path.into_os_string().into_string();
    text.map_err(|name| PlanError::File {
        what,
        path: name.into(),
        reason: "its name is not UTF-8".to_owned(),
    })
}
