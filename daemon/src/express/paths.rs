//! How paths of the command line are taken: from the directory in which it was
//! typed, without asking the file system. A leaf; all of this part calls it.

use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};

/// An absolute path. A path that cannot be made absolute stays as it is; the check
/// of the file then says that it is missing.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// The value of an option that names a file or directory.
pub(crate) fn absolute_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| absolute(&path))
}
