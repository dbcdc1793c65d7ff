//! `wsgi.file_wrapper`: where the application returned a real file, httpd gets
//! its descriptor and sends it itself. Called by `application`; anything that
//! is no regular file, or is read otherwise than by its descriptor, is iterated like
//! every other response.

use std::fs::File;
use std::os::fd::{AsFd, RawFd};
use std::os::unix::fs::MetadataExt;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::major;
use nix::sys::statfs::{FUSE_SUPER_MAGIC, fstatfs};
use pyo3::intern;
use pyo3::prelude::*;
use serde_bytes::Bytes;

use wsgid_protocol::payload::{decode, encode};
use wsgid_protocol::response::{FilePart, ResponseHead};

use crate::exchange::Exchange;
use crate::output::{HeadStage, ResponseOutput};
use crate::{lock, response, sys};

/// Sends the file that `result` wraps, if it is one. False if the response has
/// to be iterated.
pub(crate) fn send(
    py: Python<'_>,
    exchange: &Exchange,
    result: &Bound<'_, PyAny>,
    file_wrapper: &Py<PyAny>,
) -> PyResult<bool> {
    if !exchange.file_frames || !result.get_type().is(file_wrapper) {
        return Ok(false);
    }
    let mut guard = lock::attached(py, &exchange.output);
    let output = &mut *guard;
    if output.stage != HeadStage::Started || output.has_ended() {
        return Ok(false);
    }
    let Some((file, mut part)) = regular(result) else {
        return Ok(false);
    };
    match output.head.length {
        Some(length) => part.len = part.len.min(length),
        None => announce(output, part.len),
    }
    if exchange.head_only || part.len == 0 {
        return Ok(true);
    }
    match py.detach(|| output.file(part, file.as_fd())) {
        Ok(sent) => Ok(sent),
        Err(error) if !output.is_broken() => Err(response::failed(&error)),
        Err(_) => Ok(true),
    }
}

/// From the current position of the wrapped object to the end of the file.
fn regular(result: &Bound<'_, PyAny>) -> Option<(File, FilePart)> {
    let py = result.py();
    let wrapped = result.getattr(intern!(py, "filelike")).ok()?;
    if !is_read_by_descriptor(&wrapped).unwrap_or(false) {
        return None;
    }
    let number = wrapped.call_method0(intern!(py, "fileno")).ok()?;
    let number: RawFd = number.extract().ok()?;
    let offset = wrapped.call_method0(intern!(py, "tell")).ok()?;
    let offset: u64 = offset.extract().ok()?;
    let file = File::from(sys::duplicate(number)?);
    let data = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    // A file that is open for writing alone is iterated: Python says what is wrong with it.
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL).ok()?);
    if flags & OFlag::O_ACCMODE == OFlag::O_WRONLY
        || flags.intersects(OFlag::O_PATH | OFlag::O_DIRECT)
    {
        return None;
    }
    if major(data.dev()) == 0 && is_of_a_program(&file) {
        return None;
    }
    let len = data.len().saturating_sub(offset);
    Some((file, FilePart { offset, len }))
}

/// What reading from a file of Python's comes from. A class of its own that has one of
/// these may give something else than what is in the file.
const READING: [&str; 5] = ["read", "tell", "fileno", "__getattribute__", "__getattr__"];

/// Whether `read` gives what the descriptor gives: a file as `open` makes it, through
/// all of its layers, or the one of `tempfile.NamedTemporaryFile`.
fn is_read_by_descriptor(file: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = file.py();
    let io = py.import(intern!(py, "io"))?;
    let reads_as = |name: &str| reads_as(file, &io.getattr(name)?);
    if reads_as("BufferedReader")? || reads_as("BufferedRandom")? {
        return is_read_by_descriptor(&file.getattr(intern!(py, "raw"))?);
    }
    if reads_as("FileIO")? {
        return Ok(true);
    }
    // Text is not what PEP 3333 wraps, but mod_wsgi sends its file.
    if reads_as("TextIOWrapper")? {
        return is_read_by_descriptor(&file.getattr(intern!(py, "buffer"))?);
    }
    if is_named_temporary(file)? {
        return is_read_by_descriptor(&file.getattr(intern!(py, "file"))?);
    }
    Ok(false)
}

/// Whether an object is of this class, and neither it nor a class between has changed
/// how it is read.
fn reads_as(file: &Bound<'_, PyAny>, class: &Bound<'_, PyAny>) -> PyResult<bool> {
    if !file.get_type().is_subclass(class)? || has_own(file, READING[0])? {
        return Ok(false);
    }
    if file.get_type().is(class) {
        return Ok(true);
    }
    for name in READING {
        let (own, usual) = (file.get_type().getattr_opt(name)?, class.getattr_opt(name)?);
        let same = match (own, usual) {
            (Some(own), Some(usual)) => own.is(&usual),
            (own, usual) => own.is_none() && usual.is_none(),
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether it is what `tempfile` makes, read by nothing else yet: it keeps the methods
/// that were asked for.
fn is_named_temporary(file: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = file.py();
    let modules = py.import(intern!(py, "sys"))?.getattr("modules")?;
    let Ok(tempfile) = modules.get_item("tempfile") else {
        return Ok(false);
    };
    let class = tempfile.getattr_opt("_TemporaryFileWrapper")?;
    Ok(class.is_some_and(|class| file.get_type().is(&class)) && !has_own(file, READING[0])?)
}

/// Whether the object itself, and not its class, has this attribute.
fn has_own(file: &Bound<'_, PyAny>, name: &str) -> PyResult<bool> {
    match file.getattr_opt("__dict__")? {
        Some(own) => own.contains(name),
        None => Ok(false),
    }
}

/// Whether a program makes its file system (FUSE): httpd does not read such a file,
/// which may never answer.
fn is_of_a_program(file: &File) -> bool {
    fstatfs(file).is_ok_and(|found| found.filesystem_type() == FUSE_SUPER_MAGIC)
}

/// Adds a Content-Length, which the application left out.
fn announce(output: &mut ResponseOutput, len: u64) {
    let Ok(mut head) = decode::<ResponseHead<'_>>(&output.head.payload) else {
        return;
    };
    let digits = len.to_string();
    head.headers
        .push((Bytes::new(b"Content-Length"), Bytes::new(digits.as_bytes())));
    if let Ok(payload) = encode(&head) {
        output.head.payload = payload;
        output.head.length = Some(len);
    }
}
