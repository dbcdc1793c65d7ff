//! What the processes say to each other beside requests: httpd parent ⇄
//! supervisor, supervisor ⇄ worker, command line ⇄ supervisor.
//!
//! Each message is one CONTROL frame; `code` is the number of descriptors that
//! travel with it. What comes from a worker is a claim: a tenant may have
//! written it.
//!
//! Both sides may be of different releases (PROTOCOL.md §7): kinds and fields are
//! only ever added at the end, and are read with [`payload::decode_message`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{GroupConfig, LogFormat, LogTarget};
use crate::front::{self, Front, Fronted};
pub use crate::identity::Identity;
use crate::in_flight::WorkerRequests;
use crate::isolation::{IsolationPlaces, IsolationReport};
use crate::payload::{self, PayloadError};
pub use crate::recycling::RecycleReason;
use crate::request::VERSIONS;
use crate::runs::Runs;
use crate::stamp::{FileStamp, StampedFile};

/// httpd parent → supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromParent {
    /// The state that is wanted from now on. The supervisor applies the
    /// difference. Descriptors: the first is httpd's main ErrorLog, which takes
    /// the place of the supervisor's standard error after a rotation; then the
    /// error logs that groups refer to by index.
    Configure(#[serde(with = "front")] Configuration),
    /// The last httpd child of this generation has gone.
    GenerationEnded(u64),
    /// Stop everything; the parent waits for the supervisor to exit.
    Shutdown,
    /// Descriptors that stand in front of those of the next `Configure`: one
    /// frame takes 250 at most, and every virtual host may have its own log.
    Logs,
    /// The parent gives its configuration up and reads another one. If the module
    /// is not in that, no `Configure` follows, and nobody is left to say so.
    Reads,
    /// So many lines and bytes that requests wrote to the log were left out of it
    /// since that was said last, for each group by name.
    LogLeftOut(Vec<(String, u64, u64)>),
    /// Where httpd's children count. Descriptor: memory as `totals.rs` describes it, which
    /// nobody can make shorter. Before the first `Configure`.
    Totals,
}

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
pub struct Configuration {
    /// Protocol versions the parent's module speaks (lowest, highest).
    pub versions: (u16, u16),
    /// httpd's generation; HELLO names it.
    pub generation: u64,
    /// What a HELLO must carry.
    pub secret: [u8; 32],
    /// The user and group of httpd's children: who may connect, and whom groups
    /// without `user=` run as.
    pub httpd_uid: u32,
    /// See `httpd_uid`.
    pub httpd_gid: u32,
    /// What the groups are told about the server, for `mod_wsgi` and `apache`.
    #[serde(default)]
    pub server: ServerFacts,
    /// All process groups.
    pub groups: Vec<GroupConfig>,
    /// Where what belongs to no group goes.
    #[serde(default)]
    pub log: LogTarget,
    /// httpd's LogLevel for this module, in httpd's numbers; `None` changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<u8>,
    /// How lines that belong to no group, and those of groups that say nothing, are written.
    #[serde(default)]
    pub log_format: LogFormat,
    /// Why the rest could not be read; filled in by the receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl Fronted for Configuration {
    fn front(&self) -> Front {
        Front {
            versions: self.versions,
            generation: self.generation,
            uid: self.httpd_uid,
        }
    }
}

impl FromParent {
    /// Reads a message; `None` is a kind that this release does not know. A
    /// configuration of which nothing but the front can be read says so.
    pub fn read(payload: &[u8]) -> Result<Option<Self>, PayloadError> {
        const CONFIGURE: u8 = 0;
        let front = Front::of_message(payload).filter(|_| payload.first() == Some(&CONFIGURE));
        match (payload::decode_message(payload), front) {
            (Err(error), Some(front)) => Ok(Some(Self::Configure(Configuration::unreadable(
                front,
                error.to_string(),
            )))),
            (read, _) => read,
        }
    }
}

impl Configuration {
    fn unreadable(front: Front, why: String) -> Self {
        Self {
            versions: front.versions,
            generation: front.generation,
            httpd_uid: front.uid,
            httpd_gid: u32::MAX,
            unreadable: Some(why),
            ..Self::default()
        }
    }

    /// Why this configuration cannot be put in force, with the cure.
    pub fn refusal(&self) -> Option<String> {
        if !front::is_spoken(self.versions) {
            return Some(format!(
                "the module speaks protocol versions {} to {}, this supervisor {} to {}; stop and start httpd, so that both come from the same release",
                self.versions.0, self.versions.1, VERSIONS.0, VERSIONS.1
            ));
        }
        let why = self.unreadable.as_ref()?;
        Some(format!(
            "the module's configuration cannot be read: {why}; stop and start httpd, so that both come from the same release"
        ))
    }
}

/// What an application may ask about the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerFacts {
    /// httpd's version as three numbers.
    pub version: (u32, u32, u32),
    /// `Server` description.
    pub description: String,
    /// Name of the MPM.
    pub mpm: String,
    /// Most httpd child processes.
    pub maximum_processes: u32,
    /// Threads per httpd child.
    pub threads_per_process: u32,
}

/// Supervisor → httpd parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToParent {
    /// The configuration of this generation is in force. Problems of single
    /// groups are in words; the other groups are unaffected.
    Applied {
        /// The generation.
        generation: u64,
        /// One text per problem.
        problems: Vec<String>,
    },
    /// The configuration was not applied; the previous one is in force.
    Refused {
        /// The generation.
        generation: u64,
        /// Why.
        reason: String,
    },
}

/// The first message on a worker's control socket: read by the launcher
/// (`wsgid worker-exec`) and, once it has become Python, by the bootstrap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerSpec {
    /// Protocol versions the supervisor speaks (lowest, highest).
    pub versions: (u16, u16),
    /// The group's definition.
    pub group: GroupConfig,
    /// The application group this worker serves; empty is the main one.
    pub application_group: String,
    /// Who it becomes.
    pub identity: Identity,
    /// Which of the group's processes it is, from 0.
    pub slot: u32,
    /// The group's generation.
    pub generation: u64,
    /// Facts about the server.
    pub server: ServerFacts,
    /// The supervisor's log level, as tracing names it.
    pub log_level: String,
    /// By script, what requests called in the workers that serve: a script that
    /// has lost it is none that works.
    pub callables: Vec<(PathBuf, String)>,
    /// What is made ready where the group is isolated.
    pub places: IsolationPlaces,
}

impl Fronted for WorkerSpec {
    fn front(&self) -> Front {
        Front {
            versions: self.versions,
            generation: self.generation,
            uid: self.identity.uid,
        }
    }
}

/// Supervisor → worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToWorker {
    /// Who and what the worker is; always the first message.
    Spec(#[serde(with = "front")] Box<WorkerSpec>),
    /// Serve this connection from now on. Descriptor: the connection.
    Assign {
        /// The supervisor's number for it.
        connection: u64,
        /// The upper 32 bits that every request id on it must have.
        nonce: u32,
    },
    /// Take no further request; release idle connections, finish those that
    /// run, then exit with code 0.
    Drain,
    /// As `Drain`, but exit after this many milliseconds at the latest.
    Stop {
        /// The time left.
        within_ms: u64,
    },
    /// Write the Python stacks of all threads to the log and answer `Dumped`.
    Dump,
    /// Answer `Report`.
    Query,
    /// Raise `mod_wsgi.RequestTimeout` in the thread that serves this connection.
    Interrupt {
        /// The supervisor's number for the connection.
        connection: u64,
    },
    /// In the place of `Spec`: become the preloader of such workers. It loads
    /// their scripts, says `Ready` and waits for `Fork`.
    Preload(#[serde(with = "front")] Box<WorkerSpec>),
    /// To a preloader: fork a worker. Descriptors: its control socket, its
    /// standard output, its standard error.
    Fork {
        /// Which of the group's processes it is.
        slot: u32,
    },
    /// What the group may run from now on; it comes before the first connection
    /// whose requests may be about what is new in it.
    Runs(Runs),
    /// Say `Changed` when one of these files no longer has the state that the
    /// generation has loaded. In the place of what was watched before.
    Watch {
        /// The files.
        files: Vec<StampedFile>,
    },
    /// A new generation is on its way, and requests wait for it: give back what nobody
    /// has begun, for this long at most. 0: serve on.
    GiveBack {
        /// The time.
        within_ms: u64,
    },
    /// Answer `Requests`: at once without stacks, with them as soon as the interpreter
    /// can be had.
    Requests {
        /// Whether the Python stack of each request is wanted.
        stacks: bool,
    },
}

impl ToWorker {
    /// Reads the first message: the specification, and whether it is that of a
    /// preloader. The error says in words that it is another message, or comes from a
    /// supervisor whose specification this release must not follow.
    pub fn read_spec(payload: &[u8]) -> Result<(Box<WorkerSpec>, bool), String> {
        const SPEC: u8 = 0;
        const PRELOAD: u8 = 7;
        let front = Front::of_message(payload)
            .filter(|_| matches!(payload.first(), Some(&(SPEC | PRELOAD))));
        let front = front.ok_or("another message came instead of a specification")?;
        if !front::is_spoken(front.versions) {
            return Err(format!(
                "the supervisor speaks protocol versions {} to {}, this worker {} to {}; say `wsgid reexec`, so that both come from the same release",
                front.versions.0, front.versions.1, VERSIONS.0, VERSIONS.1
            ));
        }
        let (spec, preloads) = match payload::decode(payload).map_err(|error| error.to_string())? {
            Self::Spec(spec) => (spec, false),
            Self::Preload(spec) => (spec, true),
            _ => return Err("another message came instead of a specification".to_owned()),
        };
        match spec.group.not_understood() {
            Some(why) => Err(format!("process group `{}`: {why}", spec.group.name)),
            None => Ok((spec, preloads)),
        }
    }
}

/// Worker → supervisor. Claims, all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromWorker {
    /// The preloaded scripts are loaded; connections may come.
    Ready {
        /// `sys.version_info[:3]`.
        python: (u32, u32, u32),
        /// Scripts that failed to load, with their tracebacks.
        failed: Vec<(PathBuf, String)>,
    },
    /// This connection is idle, or has a request that was not begun; the worker
    /// has closed its copy.
    Release {
        /// The supervisor's number for it.
        connection: u64,
    },
    /// The module closed this connection, or it broke; the worker has closed
    /// its copy.
    Closed {
        /// The supervisor's number for it.
        connection: u64,
    },
    /// Replace me.
    Recycle(RecycleReason),
    /// Answer to `Query`, also sent unasked when idle turns to busy and back.
    Report(WorkerReport),
    /// Answer to `Dump`.
    Dumped {
        /// The stacks.
        text: String,
    },
    /// The interpreter lock can still be taken (deadlock-timeout).
    Heartbeat,
    /// The first word of a worker that was forked, on its own control socket.
    Forked,
    /// A preloader cannot fork, now or ever: it is not a process of one thread.
    CannotFork {
        /// Why, in words.
        why: String,
    },
    /// A script was loaded for a request; the next generation may load it
    /// before it is ready.
    Loaded {
        /// Its path.
        script: PathBuf,
    },
    /// A request found this callable in a script, for the first time.
    Called {
        /// The script's path.
        script: PathBuf,
        /// The callable's name. Empty: a request asked for one that is not there,
        /// and the script has changed; what was called before need not stay.
        callable: String,
    },
    /// What was loaded, in which state. Before `Ready`, and when more is loaded.
    Stamps {
        /// The files.
        files: Vec<StampedFile>,
    },
    /// A file is not what this worker has loaded; said by who watches, and by who sees
    /// it at a request.
    Changed {
        /// The file.
        file: PathBuf,
        /// Its state now.
        stamp: Option<FileStamp>,
    },
    /// Requests say whether a change of this script is to be heeded
    /// (WSGIScriptReloading); without a word it is.
    Reloading {
        /// Its path.
        script: PathBuf,
        /// Whether it is.
        on: bool,
    },
    /// The system tells this worker nothing about changes of its files: it looks at
    /// them once a second.
    Looks {
        /// Why, in words.
        why: String,
    },
    /// Answer to `Requests`.
    Requests(WorkerRequests),
    /// The launcher's only word, before anything of the site runs: what restrictions are
    /// in force. Later it means nothing.
    Isolated(IsolationReport),
}

/// What a worker knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerReport {
    /// Requests completed.
    pub requests: u64,
    /// Requests running.
    pub in_flight: u32,
    /// Most requests that ran at the same time.
    pub in_flight_max: u32,
    /// Connections held.
    pub connections: u32,
    /// Microseconds spent in requests.
    pub busy_us: u64,
    /// Request durations, counted by power of two of microseconds.
    pub histogram: Vec<u64>,
    /// Requests that are running now.
    pub running: Vec<RunningRequest>,
    /// Resident bytes, in an answer.
    pub memory: Option<u64>,
    /// Microseconds of processor time, in an answer.
    pub cpu_us: Option<u64>,
}

/// A request that is running.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunningRequest {
    /// The supervisor's number of its connection.
    pub connection: u64,
    /// Method and path, cut to a sensible length; no query string.
    pub what: String,
    /// For how long, in microseconds.
    pub for_us: u64,
}

/// Command line → supervisor. The answer is one line of JSON in a CONTROL
/// frame; the peer's uid decides what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// All groups that the peer may see.
    Status,
    /// Replace the workers of a group, new ones ready first; clears `failed`.
    Restart {
        /// The group.
        group: String,
    },
    /// Stop a group's workers; requests get 503.
    Stop {
        /// The group.
        group: String,
    },
    /// Undo `Stop`.
    Start {
        /// The group.
        group: String,
    },
    /// Python stacks of a group's threads.
    Dump {
        /// The group.
        group: String,
    },
    /// Read the site files again (standalone mode).
    Reload,
    /// Replace the supervisor's own binary.
    Reexec,
    /// How far the workers of one group are, or of all that the peer may see. Answered
    /// at once, as `Status` is but with the last reports of the workers: who waits for
    /// something to come about asks it again and again.
    Progress {
        /// The group.
        group: Option<String>,
    },
    /// The status of one group, or of all that the peer may see.
    Requests {
        /// The group.
        group: Option<String>,
        /// Whether the Python stacks of requests are wanted.
        stacks: bool,
    },
    /// Serve on and be not ready, for who balances load; or be ready again.
    Drain {
        /// The group; `None` is the server.
        group: Option<String>,
        /// Whether it is to drain.
        on: bool,
    },
}
