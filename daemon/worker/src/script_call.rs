//! Calls of scripts that are no applications: they tell httpd about passwords,
//! realm hashes, groups, access and dispatch. What they may return is in the
//! reference; anything else is an error, and an error denies.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyString, PyTuple};
use serde_bytes::ByteBuf;

use wsgid_protocol::request::Call;
use wsgid_protocol::response::Answer;

use crate::strings::latin1;

/// Calls what a script has under the name of a function, and says what the result means.
type Caller = fn(&Bound<'_, PyAny>, &Bound<'_, PyTuple>) -> PyResult<Answer>;

/// A function of a script; the arguments, which follow environ, are owned because the
/// frame is gone by then.
pub(crate) struct ScriptFunction {
    pub(crate) name: &'static str,
    arguments: Vec<WipedBytes>,
    caller: Caller,
}

/// Bytes that are overwritten when they are no longer needed.
struct WipedBytes(Vec<u8>);

impl Drop for WipedBytes {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from leaving the line above out.
        std::hint::black_box(&self.0);
    }
}

impl ScriptFunction {
    /// What a request head asks to be called; `None` if that is an application.
    pub(crate) fn new(call: &Call<'_>) -> Option<Self> {
        Some(match call {
            Call::Application | Call::Handler => return None,
            Call::CheckPassword { user, password } => {
                Self::of("check_password", [user, password], check_password)
            }
            Call::RealmHash { user, realm } => {
                Self::of("get_realm_hash", [user, realm], get_realm_hash)
            }
            Call::GroupsForUser { user } => Self::of("groups_for_user", [user], groups_for_user),
            Call::AllowAccess { host } => Self::of("allow_access", [host], allow_access),
            // The names of the callables are in the script.
            Call::Dispatch => Self::of("__dict__", [], dispatch),
        })
    }

    fn of<const N: usize>(name: &'static str, arguments: [&[u8]; N], caller: Caller) -> Self {
        Self {
            name,
            arguments: arguments.map(|bytes| WipedBytes(bytes.to_vec())).into(),
            caller,
        }
    }

    pub(crate) fn call(
        &self,
        callable: &Bound<'_, PyAny>,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<Answer> {
        let py = callable.py();
        let mut arguments = vec![environ.clone().into_any()];
        arguments.extend(
            self.arguments
                .iter()
                .map(|WipedBytes(bytes)| latin1(py, bytes).into_any()),
        );
        (self.caller)(callable, &PyTuple::new(py, arguments)?)
    }
}

fn check_password(callable: &Bound<'_, PyAny>, arguments: &Bound<'_, PyTuple>) -> PyResult<Answer> {
    let result = callable.call1(arguments)?;
    if let Some(answer) = plain_answer(&result) {
        return Ok(answer);
    }
    let user = name(&result, "check_password")?;
    if user.is_empty() {
        let text = "check_password returned an empty user name";
        return Err(PyValueError::new_err(text));
    }
    Ok(Answer::GrantedAs(user))
}

fn allow_access(callable: &Bound<'_, PyAny>, arguments: &Bound<'_, PyTuple>) -> PyResult<Answer> {
    plain_answer(&callable.call1(arguments)?)
        .ok_or_else(|| PyTypeError::new_err("allow_access must return True, False or None"))
}

fn plain_answer(result: &Bound<'_, PyAny>) -> Option<Answer> {
    if result.is_none() {
        return Some(Answer::Neutral);
    }
    result.cast::<PyBool>().ok().map(|granted| {
        if granted.is_true() {
            Answer::Granted
        } else {
            Answer::Denied
        }
    })
}

fn get_realm_hash(callable: &Bound<'_, PyAny>, arguments: &Bound<'_, PyTuple>) -> PyResult<Answer> {
    let result = callable.call1(arguments)?;
    if result.is_none() {
        return Ok(Answer::Neutral);
    }
    name(&result, "get_realm_hash").map(Answer::RealmHash)
}

fn groups_for_user(
    callable: &Bound<'_, PyAny>,
    arguments: &Bound<'_, PyTuple>,
) -> PyResult<Answer> {
    let result = callable.call1(arguments)?;
    let groups = result
        .try_iter()?
        .map(|group| name(&group?, "groups_for_user"));
    groups.collect::<PyResult<_>>().map(Answer::Groups)
}

fn dispatch(script: &Bound<'_, PyAny>, arguments: &Bound<'_, PyTuple>) -> PyResult<Answer> {
    let script = script.cast::<PyDict>()?;
    Ok(Answer::Dispatch {
        process_group: dispatched(script, "process_group", arguments)?,
        application_group: dispatched(script, "application_group", arguments)?,
        callable: dispatched(script, "callable_object", arguments)?,
    })
}

/// What one function of a dispatch script chooses, if the script has it.
fn dispatched(
    script: &Bound<'_, PyDict>,
    function: &str,
    arguments: &Bound<'_, PyTuple>,
) -> PyResult<Option<ByteBuf>> {
    let Some(callable) = script.get_item(function)? else {
        return Ok(None);
    };
    let result = callable.call1(arguments)?;
    if result.is_none() {
        return Ok(None);
    }
    name(&result, function).map(Some)
}

/// A `str` of latin-1 characters, or `bytes`.
fn name(value: &Bound<'_, PyAny>, function: &str) -> PyResult<ByteBuf> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(ByteBuf::from(bytes.as_bytes()));
    }
    let text = value
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err(format!("{function} returned neither str nor bytes")))?
        .to_cow()?;
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    bytes.map(ByteBuf::from).map_err(|_| {
        PyValueError::new_err(format!("{function} returned a text outside of latin-1"))
    })
}
