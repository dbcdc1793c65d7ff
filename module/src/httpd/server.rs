//! A virtual host or the main server, and facts about the whole of httpd.

#![expect(unsafe_code, reason = "wraps server_rec")]

use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::time::Duration;

use nix::unistd::{getegid, geteuid};

use crate::apr::foreign::Foreign;
use crate::apr::pool::AprPool;
use crate::apr::table::elements;
use crate::apr::text::{optional, owned};
use crate::httpd::record;
use crate::sys;

/// A server of a configuration that is alive during `'s`.
pub(crate) type Server<'s> = Foreign<'s, sys::server_rec>;

impl<'s> Server<'s> {
    fn get(&self) -> &sys::server_rec {
        // SAFETY: alive for 's; written to while the configuration is read only.
        unsafe { &*self.as_raw() }
    }

    /// Tells servers of one configuration apart.
    pub(crate) fn id(self) -> usize {
        self.as_raw() as usize
    }

    pub(crate) fn is_virtual(self) -> bool {
        self.get().is_virtual != 0
    }

    pub(crate) fn hostname(self) -> Option<&'s CStr> {
        // SAFETY: null or a C string of the configuration.
        unsafe { optional(self.get().server_hostname) }
    }

    /// Its hostname as text.
    pub(crate) fn name(self) -> Option<Cow<'s, str>> {
        self.hostname().map(CStr::to_string_lossy)
    }

    /// Whether this is the ServerName, or a ServerAlias without wildcards.
    pub(crate) fn is_named(self, host: &[u8]) -> bool {
        let mut names = self.hostname().into_iter().chain(self.aliases());
        names.any(|name| name.to_bytes().eq_ignore_ascii_case(host))
    }

    /// ServerAlias, but for those with wildcards.
    fn aliases(self) -> impl Iterator<Item = &'s CStr> {
        // SAFETY: null or an array of C strings, to which nothing is added once the
        // configuration has been read.
        let names: &'s [*const c_char] = unsafe { elements(self.get().names) };
        // SAFETY: null or a C string of the configuration.
        names.iter().filter_map(|name| unsafe { optional(*name) })
    }

    /// `file:line` of its `<VirtualHost>`.
    pub(crate) fn origin(self) -> String {
        // SAFETY: null or a C string of the configuration.
        let file = unsafe { owned(self.get().defn_name) };
        format!("{file}:{}", self.get().defn_line_number)
    }

    pub(crate) fn admin(self) -> Option<&'s CStr> {
        // SAFETY: null or a C string of the configuration.
        unsafe { optional(self.get().server_admin) }
    }

    /// The pool of the configuration, in the parent.
    pub(crate) fn configuration_pool(self) -> AprPool<'s> {
        // SAFETY: a server's process record lives as long as the process.
        let raw = unsafe { (*self.get().process).pconf };
        // SAFETY: the pool of the configuration the server belongs to.
        unsafe { AprPool::from_raw(raw) }
    }

    pub(crate) fn timeout(self) -> Duration {
        Duration::from_micros(self.get().timeout.unsigned_abs())
    }

    pub(crate) fn own_record(self) -> *mut c_void {
        // SAFETY: the vector is the server's, the record is this module's.
        unsafe { sys::ap_get_module_config(self.get().module_config, record::get()) }
    }

    /// This module's record of what holds in the server outside all sections.
    pub(crate) fn own_defaults(self) -> *mut c_void {
        // SAFETY: as above.
        unsafe { sys::ap_get_module_config(self.get().lookup_defaults, record::get()) }
    }

    /// The descriptor of the server's own error log; `None` for syslog and the
    /// like, see `log_name`.
    pub(crate) fn error_log(self) -> Option<BorrowedFd<'s>> {
        let file = self.get().error_log;
        if file.is_null() {
            return None;
        }
        let mut fd = -1;
        // SAFETY: an open file of the configuration.
        let status = unsafe { sys::apr_os_file_get(&raw mut fd, file) };
        // SAFETY: open as long as the configuration is in force.
        (status == 0 && fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// What its `ErrorLog` says where the log is no open file.
    pub(crate) fn log_name(self) -> Option<&'s CStr> {
        if !self.get().error_log.is_null() {
            return None;
        }
        // SAFETY: null or a C string of the configuration.
        unsafe { optional(self.get().error_fname) }
    }

    /// This server and all that follow it.
    pub(crate) fn all(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |server| {
            // SAFETY: servers of one configuration live equally long.
            unsafe { Self::optional(server.get().next) }
        })
    }

    /// The one with this number among this server and all that follow it.
    pub(crate) fn with_id(self, id: usize) -> Option<Self> {
        self.all().find(|server| server.id() == id)
    }
}

/// The main server. Only between reading the configuration and the end of httpd.
pub(crate) fn main_server<'s>() -> Option<Server<'s>> {
    // SAFETY: httpd sets it before modules run.
    let raw = unsafe { sys::ap_server_conf };
    // SAFETY: null, or alive while a configuration is in force.
    unsafe { Server::optional(raw) }
}

/// User and group of httpd's children: they stay what httpd is, unless it is root.
pub(crate) fn children_identity() -> (u32, u32) {
    if !geteuid().is_root() {
        return (geteuid().as_raw(), getegid().as_raw());
    }
    // SAFETY: set while the configuration is read, never written to after.
    let uid = unsafe { sys::ap_unixd_config.user_id };
    // SAFETY: likewise.
    let gid = unsafe { sys::ap_unixd_config.group_id };
    (uid, gid)
}

fn mpm_query(code: c_int) -> Option<c_int> {
    let mut result = 0;
    // SAFETY: the MPM fills one integer.
    let status = unsafe { sys::ap_mpm_query(code, &raw mut result) };
    (status == 0).then_some(result)
}

/// The MPM's generation; children inherit it.
pub(crate) fn generation() -> u64 {
    mpm_query(sys::AP_MPMQ_GENERATION).map_or(0, |number| u64::from(number.unsigned_abs()))
}

pub(crate) fn is_stopping() -> bool {
    mpm_query(sys::AP_MPMQ_MPM_STATE).is_none_or(|state| state == sys::AP_MPMQ_STOPPING)
}

pub(crate) fn threads_per_child() -> u32 {
    mpm_query(sys::AP_MPMQ_MAX_THREADS).map_or(1, |count| count.unsigned_abs().max(1))
}

pub(crate) fn most_children() -> u32 {
    mpm_query(sys::AP_MPMQ_MAX_DAEMONS).map_or(1, |count| count.unsigned_abs().max(1))
}

/// Whether a thread is free while the rest of an answer leaves.
pub(crate) fn is_async() -> bool {
    mpm_query(sys::AP_MPMQ_IS_ASYNC).is_some_and(|is_async| is_async != 0)
}

fn state(code: c_int) -> c_int {
    // SAFETY: a query without arguments in memory.
    unsafe { sys::ap_state_query(code) }
}

/// The first of the two passes over the configuration at start.
pub(crate) fn is_first_pass() -> bool {
    state(sys::AP_SQ_MAIN_STATE) == sys::AP_SQ_MS_CREATE_PRE_CONFIG
}

/// The server ends, as opposed to reading its configuration again.
pub(crate) fn is_exiting() -> bool {
    state(sys::AP_SQ_MAIN_STATE) == sys::AP_SQ_MS_EXITING
}

/// configtest, or a dump of the configuration: nothing may be touched.
pub(crate) fn is_only_looking() -> bool {
    let mode = state(sys::AP_SQ_RUN_MODE);
    mode == sys::AP_SQ_RM_CONFIG_TEST || mode == sys::AP_SQ_RM_CONFIG_DUMP
}

pub(crate) fn has_cgi_var() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| version() >= (2, 4, 21))
}

/// The server's version: major and minor number, patch.
pub(crate) fn version() -> (u32, u32, u32) {
    let mut version = sys::ap_version_t {
        major: 0,
        minor: 0,
        patch: 0,
        add_string: std::ptr::null(),
    };
    // SAFETY: httpd fills the record.
    unsafe { sys::ap_get_server_revision(&raw mut version) };
    let numbers = [version.major, version.minor, version.patch];
    numbers.map(c_int::unsigned_abs).into()
}

/// What the server says of itself.
pub(crate) fn description() -> String {
    // SAFETY: a query without arguments.
    let raw = unsafe { sys::ap_get_server_description() };
    // SAFETY: a C string.
    unsafe { owned(raw) }
}

pub(crate) fn mpm() -> String {
    // SAFETY: a query without arguments.
    let raw = unsafe { sys::ap_show_mpm() };
    // SAFETY: a C string.
    unsafe { owned(raw) }
}

/// Adds to the `Server` header.
pub(crate) fn add_version(pool: AprPool<'_>, component: &CStr) {
    // SAFETY: pool and string are alive; httpd copies the string.
    unsafe { sys::ap_add_version_component(pool.as_raw(), component.as_ptr()) };
}

/// What the Server header says.
pub(crate) fn banner<'a>() -> Option<&'a CStr> {
    // SAFETY: a query without arguments.
    let raw = unsafe { sys::ap_get_server_banner() };
    // SAFETY: null or a C string of the configuration, which a child never
    // gives up.
    unsafe { optional(raw) }
}
