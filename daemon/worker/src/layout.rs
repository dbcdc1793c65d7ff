//! The environ of requests with the same variables: a dictionary that has them
//! all, brought up to date where a value has changed, and copied. Most values
//! repeat from request to request, and a copy costs less than filling in a few of
//! them. Called by `environ`, which knows when a layout is worth keeping.

use std::collections::HashSet;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use wsgid_protocol::request::RequestHead;

use crate::strings::{VariableNames, latin1, text};

/// Values up to this length are kept until the next request.
const VALUE_MAX: usize = 256;

/// What is set for each request, not by httpd.
const OWN: [&str; 8] = [
    "wsgi.input",
    "wsgi.errors",
    "mod_wsgi.request_start",
    "mod_wsgi.queue_start",
    "mod_wsgi.daemon_start",
    "mod_wsgi.application_start",
    "mod_wsgi.thread_id",
    "mod_wsgi.callable_object",
];

/// Whether the value seldom repeats, and is nobody else's business: it is not
/// kept beyond its request.
fn is_private(name: &[u8]) -> bool {
    matches!(
        name,
        b"HTTP_COOKIE" | b"HTTP_AUTHORIZATION" | b"HTTP_PROXY_AUTHORIZATION"
    )
}

/// A sequence of names, and the values that came with them last.
pub(crate) struct Layout {
    variables: Vec<LayoutVariable>,
    template: Py<PyDict>,
    callable: Option<Vec<u8>>,
    thread: Option<usize>,
}

struct LayoutVariable {
    name: Box<[u8]>,
    /// `None`: it only selects the scheme.
    key: Option<Py<PyString>>,
    /// The value in the template, if it is kept there.
    value: Option<Vec<u8>>,
    is_private: bool,
}

impl Layout {
    /// The layout of such a request. `None` if a name comes twice: then the order
    /// of setting them matters, and values are not independent.
    pub(crate) fn new(
        py: Python<'_>,
        base: &Bound<'_, PyDict>,
        head: &RequestHead<'_>,
        names: &mut VariableNames,
    ) -> PyResult<Option<Self>> {
        let mut seen: HashSet<&[u8]> = OWN.iter().map(|name| name.as_bytes()).collect();
        let template = base.copy()?;
        let mut variables = Vec::with_capacity(head.environ.len());
        for (name, _) in &head.environ {
            let scheme = name.as_ref() == b"HTTPS";
            if !seen.insert(if scheme { b"wsgi.url_scheme" } else { name }) {
                return Ok(None);
            }
            let key = if scheme {
                template.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "https"))?;
                None
            } else {
                let key = names.name(py, name)?;
                template.set_item(&key, intern!(py, ""))?;
                Some(key.unbind())
            };
            variables.push(LayoutVariable {
                name: name.as_ref().into(),
                key,
                value: None,
                is_private: is_private(name),
            });
        }
        for name in OWN {
            template.set_item(name, py.None())?;
        }
        Ok(Some(Self {
            variables,
            template: template.unbind(),
            callable: None,
            thread: None,
        }))
    }

    /// Whether the request has these variables, in this order.
    pub(crate) fn fits(&self, head: &RequestHead<'_>) -> bool {
        let mut pairs = self.variables.iter().zip(&head.environ);
        self.variables.len() == head.environ.len()
            && pairs.all(|(variable, (name, _))| *variable.name == ***name)
    }

    /// The environ of a request that fits, for the thread with this number; the
    /// other own keys are still `None`.
    pub(crate) fn environ<'py>(
        &mut self,
        py: Python<'py>,
        head: &RequestHead<'_>,
        thread: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let template = self.template.bind(py);
        // What is not kept is set in the copy.
        let mut others = Vec::new();
        for (variable, (_, value)) in self.variables.iter_mut().zip(&head.environ) {
            let value: &[u8] = value;
            let Some(key) = &variable.key else { continue };
            if variable.value.as_deref() == Some(value) {
                continue;
            }
            let object = text(py, &variable.name, value)?;
            if variable.is_private || value.len() > VALUE_MAX {
                variable.value = None;
                others.push((key, object));
                continue;
            }
            template.set_item(key, object)?;
            let kept = variable.value.get_or_insert_default();
            kept.clear();
            kept.extend_from_slice(value);
        }
        if self.callable.as_deref() != Some(head.callable) {
            let callable = latin1(py, head.callable);
            template.set_item(intern!(py, "mod_wsgi.callable_object"), callable)?;
            self.callable = Some(head.callable.to_vec());
        }
        if self.thread != Some(thread) {
            template.set_item(intern!(py, "mod_wsgi.thread_id"), thread)?;
            self.thread = Some(thread);
        }
        let environ = template.copy()?;
        for (key, object) in others {
            environ.set_item(key, object)?;
        }
        Ok(environ)
    }
}
