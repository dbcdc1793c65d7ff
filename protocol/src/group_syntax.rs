//! How the fields of a group are written that several options share: what it may
//! run, and where its output goes. Used by the rows of `option.rs`; knows of no
//! option and of no group.

use crate::runs::Runs;
use crate::syntax::{Syntax, absolute, json, path_text};
use crate::values::LogTarget;

/// Directories of `runs`. Those with a colon in their name travel as scripts do.
pub(crate) struct ScriptDirectories;

impl Syntax for ScriptDirectories {
    type Value = Runs;

    fn set(&self, field: &mut Runs, text: &str) -> Result<(), String> {
        for part in text.split(':').filter(|part| !part.is_empty()) {
            absolute(part)?;
            if part.split('/').any(|component| component == "..") {
                return Err(format!(
                    "`{part}` has `..` in it; name the directory itself"
                ));
            }
            field.add_directory(part);
        }
        Ok(())
    }

    fn texts(&self, field: &Runs) -> Result<Vec<String>, String> {
        Ok(field
            .directories
            .iter()
            .filter(|path| !path.contains(':'))
            .cloned()
            .collect())
    }
}

/// The rest of `runs`.
pub(crate) struct NamedScript;

impl Syntax for NamedScript {
    type Value = Runs;

    fn set(&self, field: &mut Runs, text: &str) -> Result<(), String> {
        if text.ends_with('/') {
            field.add_directory(text);
        } else {
            field.add_file(text);
        }
        Ok(())
    }

    fn texts(&self, field: &Runs) -> Result<Vec<String>, String> {
        let directories = field.directories.iter().filter(|path| path.contains(':'));
        Ok(field
            .files
            .iter()
            .cloned()
            .chain(directories.map(|path| format!("{path}/")))
            .collect())
    }
}

/// A log that is a file of the group's user.
pub(crate) struct LogFile;

impl Syntax for LogFile {
    type Value = LogTarget;

    fn set(&self, field: &mut LogTarget, text: &str) -> Result<(), String> {
        *field = LogTarget::File(absolute(text)?);
        Ok(())
    }

    fn texts(&self, field: &LogTarget) -> Result<Vec<String>, String> {
        match field {
            LogTarget::File(path) => Ok(vec![path_text(path)?]),
            _ => Ok(Vec::new()),
        }
    }
}

/// Any other log.
pub(crate) struct OtherLog;

impl Syntax for OtherLog {
    type Value = LogTarget;

    fn set(&self, field: &mut LogTarget, text: &str) -> Result<(), String> {
        json().set(field, text)
    }

    fn texts(&self, field: &LogTarget) -> Result<Vec<String>, String> {
        match field {
            LogTarget::Supervisor | LogTarget::File(_) => Ok(Vec::new()),
            log => Ok(vec![
                serde_json::to_string(log).map_err(|error| error.to_string())?,
            ]),
        }
    }
}
