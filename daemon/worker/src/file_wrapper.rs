//! `wsgi.file_wrapper`: where the application returned a real file, httpd gets
//! its descriptor and sends it itself. Called by `application`; anything that
//! is no regular file is iterated like every other response.

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
