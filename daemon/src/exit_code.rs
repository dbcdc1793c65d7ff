//! The exit codes of `wsgid`: documented constants, one per cause. The launcher
//! uses them too, so that the supervisor can say in words why a worker did not
//! start.

/// Everything went as asked.
pub(crate) const OK: u8 = 0;
/// The request was understood and failed.
pub(crate) const FAILURE: u8 = 1;
/// The command line is wrong; clap ends with it by itself.
pub(crate) const USAGE: u8 = 2;
/// The supervisor's control socket cannot be reached.
pub(crate) const UNREACHABLE: u8 = 3;
/// The peer may not do this.
pub(crate) const DENIED: u8 = 4;
/// No such process group.
pub(crate) const NO_SUCH_GROUP: u8 = 5;
/// The supervisor's own start failed: descriptors, sockets, runtime.
pub(crate) const STARTUP: u8 = 6;
/// The configuration is wrong.
pub(crate) const CONFIGURATION: u8 = 7;
/// The configuration works, and something in it means something else here.
pub(crate) const DIFFERENT: u8 = 8;

/// The launcher's stages (`wsgid worker-exec`): 100 to 119, decision of the
/// protocol; 120 belongs to the bootstrap inside Python.
pub(crate) mod launcher {
    /// The specification could not be read from descriptor 3.
    pub(crate) const SPEC: u8 = 100;
    /// The descriptors are not where they should be.
    pub(crate) const DESCRIPTORS: u8 = 101;
    /// `setpgid` or `setsid` failed.
    pub(crate) const SESSION: u8 = 102;
    /// A resource limit could not be set.
    pub(crate) const LIMITS: u8 = 103;
    /// `cpu-priority` could not be set.
    pub(crate) const PRIORITY: u8 = 104;
    /// `chroot` failed.
    pub(crate) const CHROOT: u8 = 105;
    /// The target is root, which is refused.
    pub(crate) const ROOT_REFUSED: u8 = 106;
    /// User or groups could not be changed.
    pub(crate) const IDENTITY: u8 = 107;
    /// The way back to the old user is still open.
    pub(crate) const STILL_PRIVILEGED: u8 = 108;
    /// `no_new_privs` or another process attribute was refused.
    pub(crate) const ATTRIBUTES: u8 = 109;
    /// `env-file` could not be read.
    pub(crate) const ENVIRONMENT: u8 = 110;
    /// The working directory cannot be entered.
    pub(crate) const HOME: u8 = 111;
    /// No Python interpreter was found.
    pub(crate) const NO_PYTHON: u8 = 112;
    /// The Python interpreter could not be executed.
    pub(crate) const EXEC: u8 = 113;
    /// The bootstrap inside Python could not load the extension.
    pub(crate) const BOOTSTRAP: u8 = 120;

    /// What a code means, or `None` if it is not one of the launcher's.
    pub(crate) fn text(code: i32) -> Option<&'static str> {
        Some(match u8::try_from(code).ok()? {
            SPEC => "its specification could not be read",
            DESCRIPTORS => "its descriptors were not in place",
            SESSION => "it could not make a process group of its own",
            LIMITS => "a resource limit could not be set",
            PRIORITY => "cpu-priority could not be set",
            CHROOT => "chroot failed",
            ROOT_REFUSED => "running as root is refused",
            IDENTITY => "it could not change to its user and groups",
            STILL_PRIVILEGED => "privileges could not be given up for good",
            ATTRIBUTES => "a process attribute could not be set",
            ENVIRONMENT => "its environment could not be built",
            HOME => "its working directory cannot be entered",
            NO_PYTHON => "no Python interpreter was found",
            EXEC => "the Python interpreter could not be executed",
            BOOTSTRAP => "Python could not load the worker extension",
            _ => return None,
        })
    }
}
