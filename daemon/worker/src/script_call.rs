//! Calls of scripts that are no applications: they tell httpd about passwords,
//! realm hashes, groups, access and dispatch. What they may return is in the
//! reference; anything else is an error, and an error denies.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyString};
use serde_bytes::ByteBuf;

use wsgid_protocol::request::Call;
use wsgid_protocol::response::Answer;

use crate::strings::latin1;

/// The function that is called, with its arguments; owned because the frame is gone by then.
#[derive(Clone)]
pub(crate) enum ScriptFunction {
    /// `check_password(environ, user, password)`.
    CheckPassword(WipedBytes, WipedBytes),
    /// `get_realm_hash(environ, user, realm)`.
    RealmHash(WipedBytes, WipedBytes),
    /// `groups_for_user(environ, user)`.
    Groups(WipedBytes),
    /// `allow_access(environ, host)`.
    Access(WipedBytes),
    /// `process_group`, `application_group`, `callable_object`.
    Dispatch,
}

/// Bytes that are overwritten when they are no longer needed.
#[derive(Clone)]
pub(crate) struct WipedBytes(Vec<u8>);

impl From<&&serde_bytes::Bytes> for WipedBytes {
    fn from(bytes: &&serde_bytes::Bytes) -> Self {
        Self(bytes.to_vec())
    }
}

impl WipedBytes {
    fn text<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        latin1(py, &self.0)
    }
}

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
        match call {
            Call::Application | Call::Handler => None,
            Call::CheckPassword { user, password } => {
                Some(Self::CheckPassword(user.into(), password.into()))
            }
            Call::RealmHash { user, realm } => Some(Self::RealmHash(user.into(), realm.into())),
            Call::GroupsForUser { user } => Some(Self::Groups(user.into())),
            Call::AllowAccess { host } => Some(Self::Access(host.into())),
            Call::Dispatch => Some(Self::Dispatch),
        }
    }

    /// Names of the callables in the script; a dispatch script may have any.
    pub(crate) fn callable(&self) -> &'static [u8] {
        match self {
            Self::CheckPassword(..) => b"check_password",
            Self::RealmHash(..) => b"get_realm_hash",
            Self::Groups(_) => b"groups_for_user",
            Self::Access(_) => b"allow_access",
            Self::Dispatch => b"__dict__",
        }
    }

    /// Calls it. `callable` is what the script has under that name.
    pub(crate) fn call(
        &self,
        callable: &Bound<'_, PyAny>,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<Answer> {
        let py = callable.py();
        match self {
            Self::CheckPassword(user, password) => {
                password_answer(&callable.call1((environ, user.text(py), password.text(py)))?)
            }
            Self::RealmHash(user, realm) => {
                hash_answer(&callable.call1((environ, user.text(py), realm.text(py)))?)
            }
            Self::Groups(user) => groups_answer(&callable.call1((environ, user.text(py)))?),
            Self::Access(host) => access_answer(&callable.call1((environ, host.text(py)))?),
            Self::Dispatch => dispatch_answer(callable.cast::<PyDict>()?, environ),
        }
    }
}

fn password_answer(result: &Bound<'_, PyAny>) -> PyResult<Answer> {
    if let Some(answer) = plain_answer(result) {
        return Ok(answer);
    }
    match name(result, "check_password")? {
        name if name.is_empty() => Err(PyValueError::new_err(
            "check_password returned an empty user name",
        )),
        name => Ok(Answer::GrantedAs(name)),
    }
}

fn access_answer(result: &Bound<'_, PyAny>) -> PyResult<Answer> {
    plain_answer(result)
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

fn hash_answer(result: &Bound<'_, PyAny>) -> PyResult<Answer> {
    if result.is_none() {
        return Ok(Answer::Neutral);
    }
    name(result, "get_realm_hash").map(Answer::RealmHash)
}

fn groups_answer(result: &Bound<'_, PyAny>) -> PyResult<Answer> {
    result
        .try_iter()?
        .map(|group| name(&group?, "groups_for_user"))
        .collect::<PyResult<_>>()
        .map(Answer::Groups)
}

fn dispatch_answer(script: &Bound<'_, PyDict>, environ: &Bound<'_, PyDict>) -> PyResult<Answer> {
    Ok(Answer::Dispatch {
        process_group: dispatched(script, "process_group", environ)?,
        application_group: dispatched(script, "application_group", environ)?,
        callable: dispatched(script, "callable_object", environ)?,
    })
}

/// What one function of a dispatch script chooses, if the script has it.
fn dispatched(
    script: &Bound<'_, PyDict>,
    function: &str,
    environ: &Bound<'_, PyDict>,
) -> PyResult<Option<ByteBuf>> {
    let Some(callable) = script.get_item(function)? else {
        return Ok(None);
    };
    let result = callable.call1((environ,))?;
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
