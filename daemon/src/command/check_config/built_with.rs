//! The Python that the mod_wsgi of a configuration was built with, as the names of
//! libraries in its file tell, or a line that loads one beforehand. Asked by `mod`;
//! nothing of the file is run.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use wsgid_protocol::report::Remark;

use super::words::words;

/// More bytes than any mod_wsgi has.
const FILE_MAX: u64 = 64 << 20;

/// Its version, if a file tells. `loading`: the lines that load it.
pub(super) fn python(loading: &[Remark]) -> Option<(u32, u32)> {
    loading
        .iter()
        .find_map(|line| named_in(line.text.as_bytes()).or_else(|| of_module(line)))
}

fn of_module(line: &Remark) -> Option<(u32, u32)> {
    let words = words(&line.text);
    let path = Path::new(words.get(2)?);
    if !path.is_absolute() || !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
    named_in(&bytes)
}

/// Of `libpython3.11.so.1.0`.
fn named_in(bytes: &[u8]) -> Option<(u32, u32)> {
    const FRONT: &[u8] = b"libpython";
    let mut names = bytes
        .windows(FRONT.len())
        .enumerate()
        .filter(|(_, window)| *window == FRONT);
    names.find_map(|(at, _)| {
        let behind = bytes.get(at + FRONT.len()..)?;
        let behind = behind.get(..16).unwrap_or(behind);
        let text = String::from_utf8_lossy(behind);
        let (major, minor) = text.split_once(".so")?.0.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_name_of_the_library() {
        let front = b"\0libpython3.so\0libpythonic\0libapr-1.so.0\0";
        assert_eq!(named_in(front), None);
        let whole = [front.as_slice(), b"libpython3.11.so.1.0\0libc.so.6\0"].concat();
        assert_eq!(named_in(&whole), Some((3, 11)));
        assert_eq!(named_in(b"LoadFile /opt/lib/libpython3.9.so"), Some((3, 9)));
        assert_eq!(named_in(b"libpython"), None);
    }
}
