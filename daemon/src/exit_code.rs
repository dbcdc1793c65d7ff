//! The exit codes of `wsgid`: documented constants, one per cause. The launcher
//! uses them too, so that the supervisor can say in words why a worker did not
//! start.

pub(crate) const OK: u8 = 0;
/// The request was understood and failed.
pub(crate) const FAILURE: u8 = 1;
/// The command line is wrong; clap ends with it by itself.
pub(crate) const USAGE: u8 = 2;
/// The supervisor's control socket cannot be reached.
pub(crate) const UNREACHABLE: u8 = 3;
/// The peer may not do this.
pub(crate) const DENIED: u8 = 4;
pub(crate) const NO_SUCH_GROUP: u8 = 5;
/// The supervisor's own start failed: descriptors, sockets, runtime.
pub(crate) const STARTUP: u8 = 6;
pub(crate) const CONFIGURATION: u8 = 7;
/// The configuration works, and something in it means something else here.
pub(crate) const DIFFERENT: u8 = 8;
/// The workers that a command has begun do not serve what they should: they were given
/// up, do not start, or a script fails to load in them.
pub(crate) const NOT_SERVING: u8 = 9;
/// What a command has begun was still under way at `--timeout`.
pub(crate) const UNDER_WAY: u8 = 10;

/// The launcher's stages (`wsgid worker-exec`): 100 to 119, decision of the
/// protocol; 120 belongs to the bootstrap inside Python. `text` says what each means.
pub(crate) mod launcher {
    pub(crate) const SPEC: u8 = 100;
    pub(crate) const DESCRIPTORS: u8 = 101;
    pub(crate) const SESSION: u8 = 102;
    pub(crate) const LIMITS: u8 = 103;
    pub(crate) const PRIORITY: u8 = 104;
    pub(crate) const CHROOT: u8 = 105;
    pub(crate) const ROOT_REFUSED: u8 = 106;
    pub(crate) const IDENTITY: u8 = 107;
    pub(crate) const STILL_PRIVILEGED: u8 = 108;
    pub(crate) const ATTRIBUTES: u8 = 109;
    pub(crate) const ENVIRONMENT: u8 = 110;
    pub(crate) const HOME: u8 = 111;
    pub(crate) const NO_PYTHON: u8 = 112;
    pub(crate) const EXEC: u8 = 113;
    pub(crate) const ISOLATION: u8 = 114;
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
            ISOLATION => "it could not be isolated as its definition says",
            BOOTSTRAP => "Python could not load the worker extension",
            _ => return None,
        })
    }
}
