//! What the supervisor answers to a command of an operator, as JSON: what it came
//! to, or why it was not carried out, with the text and the cure. The supervisor
//! writes answers; the command line, the module's status page and the tests read
//! them. What may be done by whom is not decided here.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};

use crate::status::Status;
use crate::words::words;

/// What `wsgid reload` came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reloaded {
    /// Of single sites, which stay as they were.
    pub problems: Vec<String>,
    /// What it has begun.
    #[serde(flatten)]
    pub begun: Begun,
}

/// What `wsgid restart`, `stop` and `start` came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Commanded {
    /// The group.
    pub group: String,
    /// Its pools.
    pub pools: usize,
    /// What it has begun.
    #[serde(flatten)]
    pub begun: Begun,
}

/// What a command has begun: what becomes of it is asked with `Command::Progress`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Begun {
    /// The supervisor's process: another one counts generations anew.
    pub pid: u32,
    /// The pools that are to have workers; `None` from a supervisor of a release that
    /// does not tell.
    pub awaited: Option<Vec<AwaitedPool>>,
}

/// A pool that is to have workers of this generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct AwaitedPool {
    /// The process group.
    pub group: String,
    /// The application group; empty for `%{GLOBAL}`.
    pub application_group: String,
    /// The generation.
    pub generation: u64,
}

/// The stacks of the workers of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dumped {
    /// Workers that were asked.
    pub asked: usize,
    /// Those that answered in time.
    pub workers: Vec<WorkerStacks>,
}

/// The stacks of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerStacks {
    /// Its process.
    pub pid: u32,
    /// The stacks of its threads, in many lines.
    pub stacks: String,
}

/// The supervisor is about to become the program that is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reexecuting {
    /// Its process, which stays the same.
    pub pid: u32,
    /// How often it has done so before.
    pub reexecs: u32,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Done {
    /// `Command::Status` and `Progress`.
    Status(Status),
    /// `Command::Restart`, `Stop` and `Start`.
    Commanded(Commanded),
    /// `Command::Dump`.
    Dumped(Dumped),
    /// `Command::Reload`.
    Reloaded(Reloaded),
    /// `Command::Reexec`.
    Reexecuting(Reexecuting),
    /// `Command::Drain`.
    Draining {
        /// Whether it drains now.
        draining: bool,
    },
}

/// What an operator is answered.
pub type CommandResult = Result<Done, CommandError>;

/// Why a command was not carried out: what, why, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Only root and the supervisor's own user command the supervisor itself.
    #[error("uid {uid} may not command the supervisor")]
    NotSupervisors {
        /// Who asked.
        uid: u32,
    },
    /// Another's group, or one that is not there: whether it exists is nobody's
    /// business.
    #[error(
        "uid {uid} may not command process group `{group}`: only root and the user that it runs as may"
    )]
    NotOwner {
        /// Who asked.
        uid: u32,
        /// For which group.
        group: String,
    },
    /// The same of httpd's user.
    #[error(
        "uid {uid} may not command process group `{group}`: it is httpd's own user, which owns none"
    )]
    HttpdOwnsNone {
        /// Who asked.
        uid: u32,
        /// For which group.
        group: String,
    },
    /// Told to those who may command all groups.
    #[error("process group `{group}` is not defined")]
    NoSuchGroup {
        /// Its name.
        group: String,
    },
    /// `wsgid reload` where httpd's configuration is the only one.
    #[error("this supervisor is configured by httpd; say apachectl graceful")]
    ConfiguredByHttpd,
    /// `wsgid reexec` needs each descriptor twice for a moment.
    #[error("{wanted} descriptors are needed for it and {allowed} are allowed; raise LimitNOFILE")]
    TooManyDescriptors {
        /// How many.
        wanted: u64,
        /// The limit.
        allowed: u64,
    },
    /// `wsgid reexec` of a supervisor that shuts down.
    #[error("the supervisor is about to end")]
    AboutToEnd,
    /// The frame is no command, or one of another release.
    #[error("the supervisor does not understand this: {0}")]
    NotUnderstood(String),
    /// The supervisor's loop did not answer in time.
    #[error("the supervisor gave no answer")]
    NoAnswer,
}

impl CommandError {
    /// What programs tell errors apart by.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotSupervisors { .. } | Self::NotOwner { .. } | Self::HttpdOwnsNone { .. } => {
                ErrorKind::Denied
            }
            Self::NoSuchGroup { .. } => ErrorKind::NoSuchGroup,
            Self::ConfiguredByHttpd => ErrorKind::Unsupported,
            Self::TooManyDescriptors { .. } | Self::AboutToEnd => ErrorKind::Failed,
            Self::NotUnderstood(_) => ErrorKind::NotACommand,
            Self::NoAnswer => ErrorKind::Timeout,
        }
    }
}

words! {
    /// Kinds of [`CommandError`]; exit codes of the command line follow from them.
    ErrorKind {
        /// Who asks may not do this.
        Denied = "denied",
        /// No process group has this name.
        NoSuchGroup = "no-such-group",
        /// It was understood and cannot be done now.
        Failed = "failed",
        /// This supervisor does not do it.
        Unsupported = "unsupported",
        /// It was not understood.
        NotACommand = "not-a-command",
        /// It took too long.
        Timeout = "timeout",
    }
}

/// A [`CommandError`] as it is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{text}")]
pub struct ErrorAnswer {
    /// What programs tell errors apart by.
    #[serde(rename = "error")]
    pub kind: ErrorKind,
    /// What people are told.
    #[serde(default)]
    pub text: String,
}

/// An answer as JSON.
pub fn to_json(answer: &CommandResult) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Carried<'a> {
        ok: bool,
        #[serde(flatten)]
        done: &'a Done,
    }
    match answer {
        Ok(done) => serde_json::to_vec(&Carried { ok: true, done }),
        Err(error) => serde_json::to_vec(&ErrorAnswer {
            kind: error.kind(),
            text: error.to_string(),
        }),
    }
}

/// Reads an answer; `T` is what the command that was sent comes to.
pub fn from_json<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<Result<T, ErrorAnswer>> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Outer {
        ok: bool,
        error: Option<ErrorKind>,
        text: String,
    }
    let outer: Outer = serde_json::from_slice(json)?;
    match outer.error {
        Some(kind) => Ok(Err(ErrorAnswer {
            kind,
            text: outer.text,
        })),
        None if outer.ok => serde_json::from_slice(json).map(Ok),
        None => Err(serde_json::Error::custom(
            "what answers there is no supervisor",
        )),
    }
}
