//! The WSGI environ: a copy of a prepared dictionary, completed with the CGI
//! variables of the request.
//!
//! Most variables repeat from request to request in the same place, with the
//! same value. Each thread remembers names and short values by place, so that
//! filling in a usual environ makes hardly any new string.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use wsgid_protocol::request::RequestHead;

/// Values up to this length are remembered.
const VALUE_MAX: usize = 64;

/// Names that are remembered beside those by place: header names come from
/// clients, who must not fill the memory with them.
const NAMES_MAX: usize = 512;

/// Names of this length or more are not remembered.
const NAME_MAX: usize = 128;

/// What a thread remembers of earlier requests.
#[derive(Default)]
pub(crate) struct Variables {
    places: Vec<Place>,
    names: HashMap<Box<[u8]>, Py<PyString>>,
}

struct Place {
    name: Vec<u8>,
    name_object: Py<PyString>,
    value: Vec<u8>,
    value_object: Option<Py<PyString>>,
}

impl Variables {
    /// Adds the request's variables.
    pub(crate) fn fill(&mut self, py: Python<'_>, head: &RequestHead<'_>, environ: &Bound<'_, PyDict>) -> PyResult<()> {
        for (at, (name, value)) in head.environ.iter().enumerate() {
            if name.as_ref() == b"HTTPS" {
                environ.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "https"))?;
                continue;
            }
            self.set(py, at, name, value, environ)?;
        }
        Ok(())
    }

    fn set(
        &mut self,
        py: Python<'_>,
        at: usize,
        name: &[u8],
        value: &[u8],
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        match self.places.get_mut(at) {
            Some(place) if place.name == name => {
                if let Some(object) = place.value_object.as_ref().filter(|_| place.value == value) {
                    return environ.set_item(&place.name_object, object);
                }
                let object = text(py, name, value)?;
                environ.set_item(&place.name_object, &object)?;
                place.remember(value, object);
                Ok(())
            }
            _ => {
                let name_object = self.name(py, name)?;
                let object = text(py, name, value)?;
                environ.set_item(&name_object, &object)?;
                let mut place = Place {
                    name: name.to_vec(),
                    name_object: name_object.unbind(),
                    value: Vec::new(),
                    value_object: None,
                };
                place.remember(value, object);
                if let Some(old) = self.places.get_mut(at) {
                    *old = place;
                } else if self.places.len() == at {
                    self.places.push(place);
                }
                Ok(())
            }
        }
    }

    fn name<'py>(&mut self, py: Python<'py>, name: &[u8]) -> PyResult<Bound<'py, PyString>> {
        if let Some(object) = self.names.get(name) {
            return Ok(object.bind(py).clone());
        }
        let object = latin1(py, name);
        if self.names.len() < NAMES_MAX && name.len() < NAME_MAX {
            let object = PyString::intern(py, &object.to_cow()?);
            self.names.insert(name.into(), object.clone().unbind());
            return Ok(object);
        }
        Ok(object)
    }
}

impl Place {
    fn remember(&mut self, value: &[u8], object: Bound<'_, PyString>) {
        self.value.clear();
        self.value_object = None;
        if value.len() <= VALUE_MAX {
            self.value.extend_from_slice(value);
            self.value_object = Some(object.unbind());
        }
    }
}

/// Paths are in the file system's encoding; all else is latin-1 (PEP 3333).
fn text<'py>(py: Python<'py>, name: &[u8], value: &[u8]) -> PyResult<Bound<'py, PyString>> {
    if !value.is_ascii() && matches!(name, b"SCRIPT_FILENAME" | b"DOCUMENT_ROOT") {
        let decoded = py.import("os")?.call_method1("fsdecode", (PyBytes::new(py, value),))?;
        return Ok(decoded.cast_into::<PyString>()?);
    }
    Ok(latin1(py, value))
}

/// Each byte becomes the character with its number.
pub(crate) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => PyString::new(py, text),
        _ => PyString::new(py, &bytes.iter().map(|byte| char::from(*byte)).collect::<String>()),
    }
}

/// Seconds since the epoch, as mod_wsgi's times are.
pub(crate) fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

/// The time now, in seconds since the epoch.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
