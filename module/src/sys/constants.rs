//! Constants of httpd's and APR's headers. The layout test compares them.

use std::ffi::{c_int, c_long, c_uint, c_ulong};

use crate::sys::apr::apr_status_t;

/// `AP24`, what httpd 2.4 wants to see in a module.
pub(crate) const MODULE_MAGIC_COOKIE: c_ulong = 0x4150_3234;
pub(crate) const MODULE_MAGIC_NUMBER_MAJOR: c_int = 20_120_211;
/// The minor number of httpd 2.4.37, the oldest server that is supported. The
/// headers of a newer one have a higher number.
pub(crate) const MODULE_MAGIC_NUMBER_MINOR: c_int = 83;

macro_rules! constants {
    ($($name:ident: $ty:ty = $value:expr;)*) => {
        $(pub(crate) const $name: $ty = $value;)*
        /// The same as numbers, for the comparison with the headers.
        #[cfg(test)]
        pub(super) const CONSTANTS: &[(&str, i64)] = &[$((stringify!($name), $value as i64)),*];
    };
}

constants! {
    OK: c_int = 0;
    DECLINED: c_int = -1;
    AP_FILTER_ERROR: c_int = -102;
    M_GET: c_int = 0;

    APR_TIMEUP: apr_status_t = 70_007;
    APR_INCOMPLETE: apr_status_t = 70_008;
    APR_EAGAIN: apr_status_t = libc::EAGAIN;
    APR_BLOCK_READ: c_int = 0;
    APR_NONBLOCK_READ: c_int = 1;
    AP_MODE_READBYTES: c_int = 0;
    APR_NOFILE: c_int = 0;
    APR_REG: c_int = 1;
    APR_FINFO_MIN: c_int = 0x8170;
    APR_DIR: c_int = 2;
    APR_FOPEN_READ: i32 = 0x1;
    APR_FOPEN_BINARY: i32 = 0x20;
    APR_FOPEN_SENDFILE_ENABLED: i32 = 0x1000;
    APR_OC_REASON_DEATH: c_int = 0;
    MPM_CHILD_STARTED: c_int = 0;
    MPM_CHILD_EXITED: c_int = 1;
    APR_OC_REASON_LOST: c_int = 4;
    APR_HOOK_MIDDLE: c_int = 10;
    APR_HOOK_FIRST: c_int = 0;
    APR_HOOK_LAST: c_int = 20;

    AP_CONN_CLOSE: c_int = 1;
    AP_FTYPE_RESOURCE: c_int = 10;
    AP_FTYPE_PROTOCOL: c_int = 30;
    AP_FTYPE_CONNECTION: c_int = 50;
    AP_FTYPE_NETWORK: c_int = 60;
    AP_REQ_REJECT_PATH_INFO: c_int = 1;
    AP_MAX_REG_MATCH: usize = 10;
    OPT_EXECCGI: c_int = 8;

    AP_AUTH_INTERNAL_PER_CONF: c_int = 1;
    AP_EXPR_FLAG_STRING_RESULT: c_uint = 8;
    REMOTE_NAME: c_int = 1;
    SATISFY_ANY: c_int = 1;
    AP_STATUS_SHORT: c_int = 1;
    AUTH_DENIED: c_int = 0;
    AUTH_GRANTED: c_int = 1;
    AUTH_USER_FOUND: c_int = 2;
    AUTH_USER_NOT_FOUND: c_int = 3;
    AUTH_GENERAL_ERROR: c_int = 4;
    AUTHZ_DENIED: c_int = 0;
    AUTHZ_GRANTED: c_int = 1;
    AUTHZ_GENERAL_ERROR: c_int = 3;
    AUTHZ_DENIED_NO_USER: c_int = 4;

    RAW_ARGS: c_uint = 0;
    OR_OPTIONS: c_int = 2;
    OR_FILEINFO: c_int = 4;
    OR_AUTHCFG: c_int = 8;
    ACCESS_CONF: c_int = 64;
    RSRC_CONF: c_int = 128;
    GLOBAL_ONLY: c_uint = 0x5f;

    AP_SQ_MAIN_STATE: c_int = 0;
    AP_SQ_RUN_MODE: c_int = 1;
    AP_SQ_MS_CREATE_PRE_CONFIG: c_int = 2;
    AP_SQ_MS_EXITING: c_int = 6;
    AP_SQ_RM_CONFIG_TEST: c_int = 3;
    AP_SQ_RM_CONFIG_DUMP: c_int = 4;
    AP_MPMQ_MAX_THREADS: c_int = 6;
    AP_MPMQ_MAX_DAEMONS: c_int = 12;
    AP_MPMQ_MPM_STATE: c_int = 13;
    AP_MPMQ_IS_ASYNC: c_int = 14;
    AP_MPMQ_GENERATION: c_int = 15;
    AP_MPMQ_STOPPING: c_int = 2;

    APLOG_CRIT: c_int = 2;
    APLOG_ERR: c_int = 3;
    APLOG_WARNING: c_int = 4;
    APLOG_NOTICE: c_int = 5;
    APLOG_TRACE8: c_int = 15;
}

/// Functions that show files are an error; servers before 2.4.68 do not know it
/// and pass it over.
pub(crate) const AP_EXPR_FLAG_RESTRICTED_FILE_FUNC: c_uint = 16;

/// Where the bit-fields of `core_dir_config` lie that have no accessor:
/// byte, mask, and the value that means On.
#[derive(Clone, Copy)]
pub(crate) struct CoreBits {
    pub(crate) byte: usize,
    pub(crate) mask: u8,
    pub(crate) on: u8,
}

pub(crate) const CORE_ENABLE_SENDFILE: CoreBits = CoreBits {
    byte: 184,
    mask: 0x0c,
    on: 0x04,
};
pub(crate) const CORE_CGI_PASS_AUTH: CoreBits = CoreBits {
    byte: 248,
    mask: 0x03,
    on: 0x01,
};

/// Where the rules of CGIVar are in it; servers before 2.4.21 end before.
pub(crate) const CORE_CGI_VAR_RULES: usize = 264;

/// `long` holds every value above.
const _: () = assert!(
    size_of::<c_long>() == 8,
    "the layouts here are those of LP64 systems"
);
