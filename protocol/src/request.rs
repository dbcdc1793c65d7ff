//! What the module says: HELLO, the request head, and why a body ended early.

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use crate::limits::MAX_ENVIRON_FIELDS;
use crate::pairs::{put_pairs, take_bytes, take_middle, take_number, take_pairs, take_short};
use crate::payload::{self, PayloadError};

/// The protocol versions this build speaks, lowest and highest.
pub const VERSIONS: (u16, u16) = (2, 2);

/// The first frame on a connection, sent together with the first REQUEST.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// Lowest protocol version the module speaks.
    pub version_min: u16,
    /// Highest protocol version the module speaks; REQUEST is written in it.
    pub version_max: u16,
    /// The process group that is asked for.
    pub group: String,
    /// The application group inside it; empty is the main one (`%{GLOBAL}`).
    pub application_group: String,
    /// Process id of the httpd child.
    pub pid: u32,
    /// Configuration generation of the httpd child.
    pub generation: u64,
    /// The upper 32 bits of every request id on this connection. They are
    /// random, so that bytes a client sent can never pass for a REQUEST.
    pub nonce: u32,
    /// Known to the httpd parent, its children and the supervisor only.
    pub secret: [u8; 32],
    /// The application group's name was made by the request and stands nowhere
    /// in the configuration.
    pub from_request: bool,
}

impl Hello {
    /// What stands at the front of a HELLO of any release, if this build does not
    /// speak it: what is behind may be laid out in another way.
    pub fn foreign(mut payload: &[u8]) -> Option<String> {
        let lowest = take_short(&mut payload).ok()?;
        let highest = take_short(&mut payload).ok()?;
        version_mismatch(lowest, highest)
    }

    /// Both ranges in words, if REQUEST will be written in a version that this build
    /// does not speak.
    pub fn version_mismatch(&self) -> Option<String> {
        version_mismatch(self.version_min, self.version_max)
    }
}

fn version_mismatch(lowest: u16, highest: u16) -> Option<String> {
    if lowest <= VERSIONS.1 && (VERSIONS.0..=VERSIONS.1).contains(&highest) {
        return None;
    }
    Some(format!(
        "the module speaks protocol versions {lowest} to {highest}, the supervisor {} to {}",
        VERSIONS.0, VERSIONS.1
    ))
}

/// The bit in the `code` of a REQUEST whose LOOKUPs the module answers.
pub const ANSWERS_LOOKUPS: u16 = 1;

/// How the body of a request arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyKind {
    /// There is none; REQUEST has [`FLAG_END`](crate::head::FLAG_END).
    None,
    /// It is complete and follows REQUEST at once, as one BODY frame of this
    /// length with `FLAG_END`. It belongs to the head: a worker takes both off
    /// the socket before it begins.
    Inline(u32),
    /// It comes as BODY frames when the worker says WANT.
    Pull,
}

/// What is to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call<'a> {
    /// The application object of the script.
    Application,
    /// `handle_request` of a handler script (WSGIHandlerScript).
    Handler,
    /// `check_password(environ, user, password)`.
    CheckPassword {
        /// The user name that was given.
        #[serde(borrow)]
        user: &'a Bytes,
        /// The password that was given.
        #[serde(borrow)]
        password: &'a Bytes,
    },
    /// `get_realm_hash(environ, user, realm)`.
    RealmHash {
        /// The user name that was given.
        #[serde(borrow)]
        user: &'a Bytes,
        /// The realm.
        #[serde(borrow)]
        realm: &'a Bytes,
    },
    /// `groups_for_user(environ, user)`.
    GroupsForUser {
        /// The authenticated user.
        #[serde(borrow)]
        user: &'a Bytes,
    },
    /// `allow_access(environ, host)`.
    AllowAccess {
        /// The client's host name or address.
        #[serde(borrow)]
        host: &'a Bytes,
    },
    /// `process_group`, `application_group` and `callable_object` of a dispatch script.
    Dispatch,
}

impl Call<'_> {
    /// Whether a script is asked about the client instead of for a response.
    pub const fn is_about_access(&self) -> bool {
        !matches!(self, Self::Application | Self::Handler | Self::Dispatch)
    }
}

/// Switches of one request, each from a directive of the request's scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestOptions {
    /// WSGIScriptReloading: look at the script's modification time.
    pub script_reloading: bool,
    /// The response may be handed over as a FILE frame.
    pub file_frames: bool,
    /// WSGIIgnoreActivity: this request does not count against `inactivity-timeout`.
    pub ignore_activity: bool,
    /// The client speaks HTTP/1.1 or newer, so INTERIM may be sent.
    pub interim: bool,
}

/// The head of a request. Borrowed: nothing is copied between the frame and
/// the WSGI environ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHead<'a> {
    /// What is to be called.
    #[serde(borrow)]
    pub call: Call<'a>,
    /// The script that holds it, as an absolute path.
    #[serde(borrow)]
    pub script: &'a Bytes,
    /// Name of the callable object in the script.
    #[serde(borrow)]
    pub callable: &'a Bytes,
    /// How the body arrives.
    pub body: BodyKind,
    /// Switches of this request.
    pub options: RequestOptions,
    /// When httpd received the request, microseconds since the epoch.
    pub request_start_us: u64,
    /// When the module asked for a worker, microseconds since the epoch.
    pub queue_start_us: u64,
    /// The CGI variables, in the order they are to be set; later ones win.
    /// `HTTPS` is not among them unless it selects the scheme `https`. More than
    /// [`MAX_ENVIRON_FIELDS`](crate::limits::MAX_ENVIRON_FIELDS) do not decode.
    #[serde(borrow, deserialize_with = "crate::pairs::environ")]
    pub environ: Vec<(&'a Bytes, &'a Bytes)>,
}

impl<'a> RequestHead<'a> {
    /// As [`payload::decode`], several times as fast.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, PayloadError> {
        match Self::usual(bytes) {
            Some((head, rest)) => Ok(Self {
                environ: take_pairs(rest, MAX_ENVIRON_FIELDS)?,
                ..head
            }),
            // What is unusual, wrong included, is left to the serializer.
            None => payload::decode(bytes),
        }
    }

    /// The head of a request for a response without its variables, and these. The derived
    /// decoder is the definition; a test compares.
    fn usual(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (call, mut bytes) = match bytes {
            [0, rest @ ..] => (Call::Application, rest),
            [1, rest @ ..] => (Call::Handler, rest),
            _ => return None,
        };
        let script = take_bytes(&mut bytes).ok()?;
        let callable = take_bytes(&mut bytes).ok()?;
        let (kind, mut bytes) = bytes.split_first()?;
        let body = match kind {
            0 => BodyKind::None,
            1 => BodyKind::Inline(take_middle(&mut bytes).ok()?),
            2 => BodyKind::Pull,
            _ => return None,
        };
        let (switches, mut bytes) = bytes.split_first_chunk::<4>()?;
        if switches.iter().any(|switch| *switch > 1) {
            return None;
        }
        let [script_reloading, file_frames, ignore_activity, interim] =
            switches.map(|switch| switch == 1);
        let head = Self {
            call,
            script,
            callable,
            body,
            options: RequestOptions {
                script_reloading,
                file_frames,
                ignore_activity,
                interim,
            },
            request_start_us: take_number(&mut bytes).ok()?,
            queue_start_us: take_number(&mut bytes).ok()?,
            environ: Vec::new(),
        };
        Some((head, bytes))
    }

    /// As [`payload::encode_into`], several times as fast.
    pub fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), PayloadError> {
        let front = (self.call, self.script, self.callable, self.body);
        let rest = (self.options, self.request_start_us, self.queue_start_us);
        payload::encode_into(&(front, rest), out)?;
        put_pairs(out, &self.environ);
        Ok(())
    }
}

/// Why a request body ended before its end; the `code` of BODY_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum BodyError {
    /// The client closed or reset its connection.
    ClientGone = 1,
    /// The client was too slow (408).
    Timeout = 2,
    /// The body grew above LimitRequestBody (413).
    TooLarge = 3,
    /// The client's framing was wrong (400).
    Malformed = 4,
    /// Anything else that httpd reported.
    Other = 5,
}

impl BodyError {
    /// The error with this code; unknown codes are `Other`.
    pub const fn from_code(code: u16) -> Self {
        match code {
            1 => Self::ClientGone,
            2 => Self::Timeout,
            3 => Self::TooLarge,
            4 => Self::Malformed,
            _ => Self::Other,
        }
    }

    /// The words an application sees in its exception.
    pub const fn text(self) -> &'static str {
        match self {
            Self::ClientGone => "client closed the connection before the end of the request body",
            Self::Timeout => "timeout while waiting for the request body",
            Self::TooLarge => "request body is larger than LimitRequestBody allows",
            Self::Malformed => "request body is malformed",
            Self::Other => "request body could not be read",
        }
    }
}
