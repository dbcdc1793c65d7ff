//! The WSGI environ of a request: the prepared dictionary and the CGI variables.
//! Called by `serve`. Clients send the same variables again and again, so the
//! process remembers the last few layouts (`layout`) and copies; a request
//! unlike them has its variables set one by one.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Mutex, TryLockError};
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use wsgid_protocol::clock::since_1970;
use wsgid_protocol::request::RequestHead;

use crate::layout::Layout;
use crate::meter::micros;
use crate::strings::{VariableNames, latin1, text};

/// Layouts that are remembered: browsers differ in what they send.
const LAYOUTS_MAX: usize = 16;

/// A layout is made for the second request like it, if no more than so many
/// others came between: one that never comes again would cost more than it saves.
const ONCE_MAX: usize = 32;

#[derive(Default)]
pub(crate) struct Variables {
    /// The one that was used last in front.
    layouts: Vec<Layout>,
    /// Hashes of the names of requests that no layout fitted.
    once: VecDeque<u64>,
    names: VariableNames,
}

/// The environ of a request for the thread in this slot, which took it at `taken_us`,
/// except what needs the exchange: a copy of the template, with the request's variables.
pub(crate) fn environ<'py>(
    py: Python<'py>,
    remembered: &Mutex<Variables>,
    template: &Py<PyDict>,
    slot: usize,
    head: &RequestHead<'_>,
    taken_us: u64,
) -> PyResult<Bound<'py, PyDict>> {
    let base = template.bind(py);
    let environ = with(remembered, |variables| {
        variables.environ(py, base, slot + 1, head)
    })?;
    let request_start = seconds(head.request_start_us);
    let queue_start = seconds(head.queue_start_us);
    environ.set_item(intern!(py, "mod_wsgi.request_start"), request_start)?;
    environ.set_item(intern!(py, "mod_wsgi.queue_start"), queue_start)?;
    let daemon_start = seconds(taken_us);
    environ.set_item(intern!(py, "mod_wsgi.daemon_start"), daemon_start)?;
    if !head.options.interim {
        environ.del_item(intern!(py, "wsgi.early_hints"))?;
    }
    Ok(environ)
}

/// Works with the remembered layouts, or with none while another thread has them:
/// that thread may wait for the interpreter in a finalizer, so no other waits for it.
fn with<T>(remembered: &Mutex<Variables>, work: impl FnOnce(&mut Variables) -> T) -> T {
    match remembered.try_lock() {
        Ok(mut variables) => work(&mut variables),
        Err(TryLockError::WouldBlock) => work(&mut Variables::default()),
        Err(TryLockError::Poisoned(error)) => {
            // What a panic has left behind is not to be trusted.
            let mut variables = error.into_inner();
            *variables = Variables::default();
            remembered.clear_poison();
            work(&mut variables)
        }
    }
}

impl Variables {
    fn environ<'py>(
        &mut self,
        py: Python<'py>,
        base: &Bound<'py, PyDict>,
        thread: usize,
        head: &RequestHead<'_>,
    ) -> PyResult<Bound<'py, PyDict>> {
        if let Some(at) = self.layouts.iter().position(|layout| layout.fits(head)) {
            if let Some(newer) = self.layouts.get_mut(..=at).filter(|_| at > 0) {
                newer.rotate_right(1);
            }
        } else if self.came_before(head)
            && let Some(layout) = Layout::new(py, base, head, &mut self.names)?
        {
            self.layouts.truncate(LAYOUTS_MAX - 1);
            self.layouts.insert(0, layout);
        } else {
            return self.one_by_one(py, base, thread, head);
        }
        match self.layouts.first_mut() {
            Some(layout) => layout.environ(py, head, thread),
            None => self.one_by_one(py, base, thread, head),
        }
    }

    /// Whether a request with the same names came lately; remembers this one.
    fn came_before(&mut self, head: &RequestHead<'_>) -> bool {
        let mut hasher = DefaultHasher::new();
        for (name, _) in &head.environ {
            hasher.write(name);
            hasher.write_u8(0);
        }
        let hash = hasher.finish();
        if let Some(at) = self.once.iter().position(|known| *known == hash) {
            self.once.remove(at);
            return true;
        }
        self.once.truncate(ONCE_MAX - 1);
        self.once.push_front(hash);
        false
    }

    fn one_by_one<'py>(
        &mut self,
        py: Python<'py>,
        base: &Bound<'py, PyDict>,
        thread: usize,
        head: &RequestHead<'_>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let environ = base.copy()?;
        for (name, value) in &head.environ {
            if name.as_ref() == b"HTTPS" {
                environ.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "https"))?;
            } else {
                environ.set_item(self.names.name(py, name)?, text(py, name, value)?)?;
            }
        }
        environ.set_item(intern!(py, "mod_wsgi.thread_id"), thread)?;
        let callable = latin1(py, head.callable);
        environ.set_item(intern!(py, "mod_wsgi.callable_object"), callable)?;
        Ok(environ)
    }
}

/// Seconds since the epoch, as mod_wsgi's times are.
pub(crate) fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

pub(crate) fn now() -> f64 {
    since_1970().as_secs_f64()
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    micros(since_1970())
}
