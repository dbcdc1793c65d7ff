//! Python strings of what comes as bytes: names of variables, their values, and
//! whatever is latin-1. Used by `environ`, `layout`, `script` and `script_call`; knows no
//! request.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// Names that are remembered: header names come from clients, who must not fill
/// the memory with them.
const NAMES_MAX: usize = 512;

/// Names of this length or more are not remembered.
const NAME_MAX: usize = 128;

#[derive(Default)]
pub(crate) struct VariableNames {
    known: HashMap<Box<[u8]>, Py<PyString>>,
}

impl VariableNames {
    pub(crate) fn name<'py>(
        &mut self,
        py: Python<'py>,
        name: &[u8],
    ) -> PyResult<Bound<'py, PyString>> {
        if let Some(object) = self.known.get(name) {
            return Ok(object.bind(py).clone());
        }
        let object = latin1(py, name);
        if self.known.len() < NAMES_MAX && name.len() < NAME_MAX {
            let object = PyString::intern(py, &object.to_cow()?);
            self.known.insert(name.into(), object.clone().unbind());
            return Ok(object);
        }
        Ok(object)
    }
}

/// Paths are in the file system's encoding; all else is latin-1 (PEP 3333).
pub(crate) fn text<'py>(
    py: Python<'py>,
    name: &[u8],
    value: &[u8],
) -> PyResult<Bound<'py, PyString>> {
    if !value.is_ascii() && matches!(name, b"SCRIPT_FILENAME" | b"DOCUMENT_ROOT") {
        let os = py.import("os")?;
        let decoded = os.call_method1("fsdecode", (PyBytes::new(py, value),))?;
        return Ok(decoded.cast_into()?);
    }
    Ok(latin1(py, value))
}

/// Each byte becomes the character with its number.
pub(crate) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => PyString::new(py, text),
        _ => {
            let text: String = bytes.iter().copied().map(char::from).collect();
            PyString::new(py, &text)
        }
    }
}
