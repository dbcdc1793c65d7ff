//! A part of an isolation, and whether it is in force. What each step gives back to the
//! process that isolates itself.

/// Why a restriction is not in force.
#[derive(Debug)]
pub(super) enum Lack {
    /// The kernel does not have it, or this process may not use it.
    Kernel(String),
    /// The site's definition asks for what cannot be.
    Definition(String),
}

impl From<nix::Error> for Lack {
    fn from(errno: nix::Error) -> Self {
        Self::Kernel(errno.to_string())
    }
}

impl From<std::io::Error> for Lack {
    fn from(error: std::io::Error) -> Self {
        Self::Kernel(error.to_string())
    }
}

/// The name of a part, and whether it is in force.
pub(super) type Part = (&'static str, Result<(), Lack>);
