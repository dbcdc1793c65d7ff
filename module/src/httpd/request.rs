//! A request as handlers see it: fields to read, the few that may be written.
//! Everything read from it lives as long as the request's pool.

#![expect(unsafe_code, reason = "wraps request_rec and conn_rec")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use crate::apr::foreign::Foreign;
use crate::apr::pool::AprPool;
use crate::apr::table::Table;
use crate::apr::text::optional;
use crate::httpd::record;
use crate::httpd::server::Server;
use crate::sys;

/// A request that is being served by this thread.
pub(crate) type Request<'r> = Foreign<'r, sys::request_rec>;

/// What the directory walk found at the end of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoundFile {
    Missing,
    Directory,
    File,
}

macro_rules! strings {
    ($($name:ident: $field:ident;)*) => {
        $(pub(crate) fn $name(self) -> Option<&'r CStr> {
            // SAFETY: the request is alive; the field is null or a C string in
            // its pool, which is not changed in place while 'r lasts.
            unsafe { optional(self.get().$field) }
        })*
    };
}

macro_rules! answers {
    ($($name:ident: $function:ident;)*) => {
        $(pub(crate) fn $name(self) -> Option<&'r CStr> {
            // SAFETY: the request is alive.
            let raw = unsafe { sys::$function(self.as_raw()) };
            // SAFETY: null, or a C string that lives at least as long as the request.
            unsafe { optional(raw) }
        })*
    };
}

macro_rules! tables {
    ($($name:ident)*) => {
        $(pub(crate) fn $name(self) -> Table<'r> {
            // SAFETY: a request's tables are made with it and live as long.
            unsafe { Table::from_raw(self.get().$name) }
        })*
    };
}

impl<'r> Request<'r> {
    /// A short look at the fields; no reference outlives a call into httpd.
    pub(super) fn get(&self) -> &sys::request_rec {
        // SAFETY: alive for 'r, and only this thread writes to it.
        unsafe { &*self.as_raw() }
    }

    pub(super) fn edit<T>(self, change: impl FnOnce(&mut sys::request_rec) -> T) -> T {
        // SAFETY: alive for 'r; no other reference into the struct exists
        // while the closure, which is in this folder, runs.
        change(unsafe { &mut *self.as_raw() })
    }

    pub(super) fn connection(&self) -> &sys::conn_rec {
        // SAFETY: a request's connection outlives it.
        unsafe { &*self.get().connection }
    }

    fn edit_connection(self, change: impl FnOnce(&mut sys::conn_rec)) {
        // SAFETY: a request's connection outlives it; this thread serves it.
        change(unsafe { &mut *self.get().connection });
    }

    strings! {
        method: method; protocol: protocol; hostname: hostname; handler: handler; user: user;
        auth_type: ap_auth_type; unparsed_uri: unparsed_uri; uri: uri; filename: filename;
        path_info: path_info; args: args; the_request: the_request; useragent_ip: useragent_ip;
        status_line: status_line;
    }

    // `server_name` is as UseCanonicalName says, an IPv6 address in brackets; the scheme `http` or `https`.
    answers! {
        document_root: ap_document_root; context_prefix: ap_context_prefix;
        context_document_root: ap_context_document_root; server_name: ap_get_server_name_for_url;
        scheme: ap_run_http_scheme;
    }

    tables! { headers_in headers_out err_headers_out subprocess_env notes }

    pub(crate) fn pool(self) -> AprPool<'r> {
        // SAFETY: the request's own pool lives as long as it.
        unsafe { AprPool::from_raw(self.get().pool) }
    }

    pub(crate) fn server(self) -> Server<'r> {
        // SAFETY: a request's server outlives it.
        unsafe { Server::from_raw(self.get().server) }
    }

    pub(crate) fn own_record(self) -> *mut c_void {
        // SAFETY: the vector is the request's, the record is this module's.
        unsafe { sys::ap_get_module_config(self.get().per_dir_config, record::get()) }
    }

    /// Whether a `.htaccess` file was found on the way to the request's file.
    pub(crate) fn has_htaccess(self) -> bool {
        // SAFETY: null, or the first of a list in the request's pool.
        let first = unsafe { self.get().htaccess.as_ref() };
        // SAFETY: likewise, each one's next.
        let mut found = std::iter::successors(first, |one| unsafe { one.next.as_ref() });
        found.any(|one| !one.htaccess.is_null())
    }

    pub(crate) fn is_subrequest(self) -> bool {
        !self.get().main.is_null()
    }

    /// The request this one was redirected from.
    pub(crate) fn previous(self) -> Option<Self> {
        // SAFETY: a previous request lives in the same or an outer pool.
        unsafe { Self::optional(self.get().prev) }
    }

    /// The request this one is a part of.
    pub(super) fn main_request(self) -> Option<Self> {
        // SAFETY: a main request outlives its subrequests.
        unsafe { Self::optional(self.get().main) }
    }

    /// The request whose head the client gets: of a part, the whole.
    pub(crate) fn answered(self) -> Self {
        self.with_main_requests().last().unwrap_or(self)
    }

    /// This request and those it belongs to.
    fn with_main_requests(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |r| r.main_request())
    }

    pub(crate) fn header_only(self) -> bool {
        self.get().header_only != 0
    }

    /// 1001 is HTTP/1.1.
    pub(crate) fn protocol_number(self) -> i32 {
        self.get().proto_num
    }

    /// Microseconds since the epoch.
    pub(crate) fn request_time(self) -> u64 {
        self.get().request_time.unsigned_abs()
    }

    pub(crate) fn status(self) -> i32 {
        self.get().status
    }

    pub(crate) fn used_path_info(self) -> i32 {
        self.get().used_path_info
    }

    pub(crate) fn found_file(self) -> FoundFile {
        match self.get().finfo.filetype {
            sys::APR_NOFILE => FoundFile::Missing,
            sys::APR_DIR => FoundFile::Directory,
            _ => FoundFile::File,
        }
    }

    /// Address and port of the client, as mod_remoteip sees it.
    pub(crate) fn useragent_port(self) -> Option<u16> {
        let address = self.get().useragent_addr;
        // SAFETY: null or an address in the request's or connection's pool.
        unsafe { address.as_ref() }.map(|address| address.port)
    }

    /// Address and port of the listener.
    pub(crate) fn local_ip(self) -> Option<&'r CStr> {
        // SAFETY: null or a C string in the connection's pool.
        unsafe { optional(self.connection().local_ip) }
    }

    pub(crate) fn local_port(self) -> Option<u16> {
        let address = self.connection().local_addr;
        // SAFETY: null or an address in the connection's pool.
        unsafe { address.as_ref() }.map(|address| address.port)
    }

    /// The id that `%L` shows; made now if nothing has been logged yet.
    pub(crate) fn log_id(self) -> Option<&'r CStr> {
        if self.get().log_id.is_null() {
            let id = self.generate_log_id(self.as_raw());
            self.edit(|r| r.log_id = id);
        }
        // SAFETY: null or a C string in the request's pool.
        unsafe { optional(self.get().log_id) }
    }

    /// The id that `%{c}L` shows.
    pub(crate) fn connection_log_id(self) -> Option<&'r CStr> {
        if self.connection().log_id.is_null() {
            let id = self.generate_log_id(ptr::null());
            self.edit_connection(|c| c.log_id = id);
        }
        // SAFETY: null or a C string in the connection's pool.
        unsafe { optional(self.connection().log_id) }
    }

    fn generate_log_id(self, r: *const sys::request_rec) -> *const c_char {
        let mut id = ptr::null();
        // SAFETY: request and connection are alive; the hook fills `id`.
        unsafe { sys::ap_run_generate_log_id(self.get().connection, r, &raw mut id) };
        id
    }

    /// Whether the client's connection is known to be broken.
    pub(crate) fn aborted(self) -> bool {
        self.connection().aborted != 0
    }

    /// Whether the connection is a stream of another one (HTTP/2).
    pub(crate) fn is_secondary(self) -> bool {
        !self.connection().master.is_null()
    }

    /// Before the head leaves: has the connection end with this response, so that it
    /// holds no thread of MPMs that wait for the next request with one.
    pub(crate) fn free_thread(self) {
        if !self.is_secondary() {
            self.announce_close();
        }
    }

    /// Before the head leaves: has httpd close the connection after this
    /// response. Said by the header: were the connection itself marked, or a
    /// 100 still due, httpd would not send the body in chunks, and nobody could
    /// tell a body that was cut off from a whole one.
    pub(crate) fn announce_close(self) {
        if self.is_secondary() {
            // A stream ends with an error of its own, and knows no such header.
            return self.close_connection();
        }
        self.answered().headers_out().set(c"Connection", c"close");
        self.forget_continue();
    }

    /// Once it is over: httpd reads nothing more from the connection.
    pub(crate) fn close_connection(self) {
        self.edit_connection(|c| c.keepalive = sys::AP_CONN_CLOSE);
    }

    /// Nothing more is written to the client, not even an empty response.
    pub(crate) fn abandon(self) {
        self.edit_connection(|c| {
            c.keepalive = sys::AP_CONN_CLOSE;
            c.aborted = 1;
        });
    }

    /// Whether the body's end shows by itself: chunks, a length, or a stream.
    pub(crate) fn end_is_visible(self) -> bool {
        let whole = self.answered();
        self.is_secondary()
            || whole.get().chunked != 0
            || whole.headers_out().get(c"Content-Length").is_some()
    }

    pub(crate) fn expects_continue(self) -> bool {
        self.get().expecting_100 != 0
    }

    /// Says that no `100 Continue` may be sent any more, here and in the
    /// requests this one belongs to.
    pub(crate) fn forget_continue(self) {
        self.with_main_requests()
            .for_each(|r| r.edit(|r| r.expecting_100 = 0));
    }

    /// Sets status and status line. `None` lets httpd write its own line.
    pub(crate) fn set_status(self, status: i32, line: Option<&'r CStr>) {
        self.edit(|r| {
            r.status = status;
            r.status_line = line.map_or(ptr::null(), CStr::as_ptr);
        });
    }

    /// Forgets what mod_mime concluded from the name of the script.
    pub(crate) fn forget_content_facts(self) {
        self.edit(|r| {
            r.content_type = ptr::null();
            r.content_encoding = ptr::null();
            r.content_languages = ptr::null_mut();
        });
    }

    pub(crate) fn set_content_type(self, value: &'r CStr) {
        // SAFETY: the request is alive, the string lives as long.
        unsafe { sys::ap_set_content_type(self.as_raw(), value.as_ptr()) };
    }

    pub(crate) fn set_content_length(self, len: u64) {
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        // SAFETY: the request is alive.
        unsafe { sys::ap_set_content_length(self.as_raw(), len) };
    }

    /// Has caches keep away from this response.
    pub(crate) fn no_cache(self) {
        self.with_main_requests()
            .for_each(|r| r.edit(|r| r.no_cache = 1));
    }

    /// Sends bytes of a response that this module makes itself.
    pub(crate) fn write(self, bytes: &[u8]) {
        for part in bytes.chunks(64 * 1024) {
            let len = c_int::try_from(part.len()).unwrap_or(0);
            // SAFETY: the request is alive, `len` bytes can be read.
            if unsafe { sys::ap_rwrite(part.as_ptr().cast(), len, self.as_raw()) } < 0 {
                return;
            }
        }
    }

    /// The user that was authenticated is known by another name.
    pub(crate) fn set_user(self, name: &'r CStr) {
        self.edit(|r| r.user = name.as_ptr().cast_mut());
    }

    /// The client's host name if HostnameLookups finds one, else its address.
    pub(crate) fn client_host(self) -> Option<&'r CStr> {
        // SAFETY: the request is alive; the last argument may be null.
        let raw =
            unsafe { sys::ap_get_useragent_host(self.as_raw(), sys::REMOTE_NAME, ptr::null_mut()) };
        // SAFETY: null, or a C string of the request or connection.
        unsafe { optional(raw) }
    }

    /// Whether a denied client may still come in by authenticating itself.
    pub(crate) fn may_authenticate_instead(self) -> bool {
        // SAFETY: the request is alive.
        let any = unsafe { sys::ap_satisfies(self.as_raw()) } == sys::SATISFY_ANY;
        // SAFETY: the request is alive.
        any && unsafe { sys::ap_some_auth_required(self.as_raw()) } != 0
    }

    /// Points the request at a script.
    pub(crate) fn set_target(self, filename: &'r CStr, handler: &'r CStr) {
        self.edit(|r| {
            r.filename = filename.as_ptr().cast_mut();
            r.handler = handler.as_ptr();
        });
    }

    pub(crate) fn set_filename(self, filename: &'r CStr) {
        self.edit(|r| r.filename = filename.as_ptr().cast_mut());
    }

    /// Another table of response headers; returns the one that was in force.
    pub(crate) fn swap_headers_out(self, table: Table<'r>) -> Table<'r> {
        let old = self.headers_out();
        self.edit(|r| r.headers_out = table.as_raw());
        old
    }

    /// Turns the request into a GET, for an internal redirect.
    pub(crate) fn become_get(self) {
        self.edit(|r| {
            r.method = c"GET".as_ptr();
            r.method_number = sys::M_GET;
        });
    }

    /// Sends an interim response with `headers_out` of the moment.
    pub(crate) fn send_interim(self) {
        // SAFETY: the request is alive.
        unsafe { sys::ap_send_interim_response(self.as_raw(), 1) };
    }

    /// Serves `uri` in place of this request.
    pub(crate) fn redirect_internally(self, uri: &CStr) {
        // SAFETY: the request is alive; httpd copies the string.
        unsafe { sys::ap_internal_redirect_handler(uri.as_ptr(), self.as_raw()) };
    }

    /// LimitRequestBody; 0 is none.
    pub(crate) fn limit_request_body(self) -> u64 {
        // SAFETY: the request is alive.
        unsafe { sys::ap_get_limit_req_body(self.as_raw()) }.unsigned_abs()
    }

    /// Whether `Options +ExecCGI` holds here.
    pub(crate) fn allows_exec(self) -> bool {
        // SAFETY: the request is alive.
        unsafe { sys::ap_allow_options(self.as_raw()) & sys::OPT_EXECCGI != 0 }
    }

    /// Where `path_info` begins in `uri`.
    pub(crate) fn find_path_info(uri: &CStr, path_info: &CStr) -> usize {
        // SAFETY: both are C strings.
        let at = unsafe { sys::ap_find_path_info(uri.as_ptr(), path_info.as_ptr()) };
        usize::try_from(at).unwrap_or(0).min(uri.count_bytes())
    }

    pub(crate) fn server_port(self) -> u16 {
        // SAFETY: the request is alive.
        unsafe { sys::ap_get_server_port(self.as_raw()) }
    }

    /// The status httpd answers with for an error while the body was read.
    pub(crate) fn body_error_status(status: c_int) -> c_int {
        // SAFETY: a pure function.
        unsafe { sys::ap_map_http_request_error(status, 400) }
    }
}
