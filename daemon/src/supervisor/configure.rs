//! What a configuration changes: groups are compared with what is in force,
//! and only the difference is applied. One broken group is a problem in words;
//! the others never notice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use nix::unistd::geteuid;
use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::LogTarget;
use wsgid_protocol::control::{Configuration, ServerFacts, ToParent, ToWorker};
use wsgid_protocol::runs::Runs;

use super::requested::is_configured;
use super::{Callables, Group, Known, PoolEntry, Supervisor};
use crate::config::standalone;
use crate::connection::socket_acl;
use crate::log::{LogDestination, OutputTarget, Syslog};
use crate::process::identity;
use crate::{log, notify};
use wsgid_policy::definition::{Definition, IdentityError};
use wsgid_policy::ids::PoolId;
use wsgid_policy::pool::{Event, WorkerPool};

/// Who wants a pool.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    /// Its workers start now and not with the first request.
    pub(super) eager: bool,
    /// A request made the name.
    pub(super) from_request: bool,
}

impl Supervisor {
    /// Applies a configuration of the httpd parent.
    pub(super) fn configure(&mut self, new: Configuration, files: Vec<Arc<File>>) -> ToParent {
        let generation = new.generation;
        if self.allowed.get().is_none() {
            // Also for a configuration that is refused: children are told so.
            self.allowed.set(new.httpd_uid);
        }
        if let Some(reason) = new.refusal() {
            tracing::error!("the configuration {generation} of httpd is refused: {reason}");
            return ToParent::Refused { generation, reason };
        }
        self.allowed.set(new.httpd_uid);
        self.follow_main_log(&files);
        self.log = new.log;
        self.follow_syslog();
        self.files = files;
        let names = new.groups.iter().map(|group| group.name.clone()).collect();
        self.known.retain(|_, known| !known.ended);
        self.known.insert(
            generation,
            Known {
                secret: Some(new.secret),
                groups: names,
                ended: false,
            },
        );
        let default = identity::HttpdAccount {
            uid: new.httpd_uid,
            gid: new.httpd_gid,
        };
        let problems = self.define_all(new.groups, &new.server, default);
        self.remove_unused();
        self.retry_early();
        tracing::info!(
            "configuration {generation} is in force: {} process groups, {} problems",
            self.groups.len(),
            problems.len()
        );
        ToParent::Applied {
            generation,
            problems,
        }
    }

    /// Reads the files again, and says so to systemd.
    pub(super) fn reload(&mut self) -> Vec<String> {
        notify::reloading();
        let problems = self.read_files();
        notify::ready();
        problems
    }

    /// Reads the files of a supervisor on its own, and applies the difference.
    /// What cannot be used leaves in force what was.
    pub(super) fn read_files(&mut self) -> Vec<String> {
        /// Standalone has one generation, which is replaced by the next.
        const GENERATION: u64 = 0;
        let Some(source) = self.source.clone() else {
            return Vec::new();
        };
        let origin = |(name, group): (&String, &Group)| {
            (name.clone(), group.definition.config.origin.clone())
        };
        let read = match source.read(&self.groups.iter().map(origin).collect()) {
            Ok(read) => read,
            Err(problem) => {
                tracing::error!("the configuration was not read again: {problem}");
                return vec![problem];
            }
        };
        self.allowed.set(read.httpd.uid);
        let mut names: BTreeSet<String> = read
            .loaded
            .groups
            .iter()
            .map(|group| group.name.clone())
            .collect();
        let kept = self
            .groups
            .iter()
            .filter(|(_, group)| read.loaded.keeps(&group.definition.config.origin));
        names.extend(kept.map(|(name, _)| name.clone()));
        let mut problems = read.loaded.problems;
        problems.extend(
            self.source
                .as_mut()
                .and_then(|source| source.stays_at(&read.loaded.settings.socket, read.httpd)),
        );
        problems
            .iter()
            .for_each(|problem| tracing::error!("{problem}"));
        self.socket = self
            .source
            .as_ref()
            .and_then(|source| source.socket().map(Into::into));
        self.known.insert(
            GENERATION,
            Known {
                secret: None,
                groups: names,
                ended: false,
            },
        );
        problems.extend(self.define_all(read.loaded.groups, &ServerFacts::default(), read.httpd));
        self.remove_unused();
        tracing::info!(
            "the configuration is in force: {} process groups, {} problems",
            self.groups.len(),
            problems.len()
        );
        notify::status(&format!(
            "{} process groups, {} problems",
            self.groups.len(),
            problems.len()
        ));
        problems
    }

    /// No child of this httpd generation is left.
    pub(super) fn generation_ended(&mut self, generation: u64) {
        // httpd that restarts at once (SIGHUP) ends its children before it reads
        // its configuration. The newest stays until another one follows: its
        // groups are what the next children will find.
        if self.known.keys().next_back() == Some(&generation) {
            self.known
                .values_mut()
                .next_back()
                .into_iter()
                .for_each(|known| known.ended = true);
            return;
        }
        self.known.remove(&generation);
        self.remove_unused();
    }

    /// Defines groups, and starts what is to run from the beginning when all of
    /// them are known: whose sites there are decides how each is kept apart.
    fn define_all(
        &mut self,
        new: Vec<GroupConfig>,
        server: &ServerFacts,
        default: identity::HttpdAccount,
    ) -> Vec<String> {
        let names: Vec<String> = new.iter().map(|config| config.name.clone()).collect();
        let mut problems: Vec<String> = new
            .into_iter()
            .filter_map(|config| self.define(config, server, default))
            .collect();
        problems.extend(self.admit_visitors());
        problems
            .iter()
            .for_each(|problem| tracing::error!("{problem}"));
        self.keep_users_apart();
        names.iter().for_each(|name| self.start_eager(name));
        problems
    }

    /// Defines one group. Returns what is wrong with it.
    fn define(
        &mut self,
        config: GroupConfig,
        server: &ServerFacts,
        default: identity::HttpdAccount,
    ) -> Option<String> {
        let name = config.name.clone();
        let (config, stays) = self.or_as_before(config);
        let identity = match config.not_understood() {
            Some(why) => Err(IdentityError::NotUnderstood(why)),
            None => identity::resolve(&config, default),
        };
        let problem = stays.or_else(|| {
            let text = identity.as_ref().err()?;
            Some(format!(
                "process group `{name}` ({}) cannot be started: {text}",
                config.origin
            ))
        });
        if self.source.is_some()
            && identity
                .as_ref()
                .is_ok_and(|who| who.change && who.uid == default.uid)
        {
            tracing::warn!(
                "process group `{name}` ({}) {}",
                config.origin,
                standalone::AS_HTTPD
            );
        }
        if let Some(what) = self.resources.groups.cannot(&config) {
            tracing::warn!("process group `{name}` ({}): {what}", config.origin);
        }
        if let Err(why) = self.resources.groups.bound(&config) {
            tracing::error!("process group `{name}`: {why}");
        }
        let definition = Arc::new(Definition {
            config,
            identity,
            server: server.clone(),
            httpd_uid: default.uid,
        });
        let place = self.log_place(&definition);
        let group = self.groups.entry(name.clone()).or_insert_with(|| Group {
            definition: Arc::clone(&definition),
            visitor: None,
            target: OutputTarget::default(),
            pools: BTreeMap::new(),
            stopped: false,
            removed: false,
        });
        let before = std::mem::replace(&mut group.definition, Arc::clone(&definition));
        let visitor = identity::socket_uid(&definition.config);
        group.visitor = visitor.clone().ok().flatten();
        if std::mem::take(&mut group.removed) {
            // Its pools are on their way out and never serve again; the name
            // begins anew.
            group.pools.clear();
        }
        group.target.set(place);
        if before.config.runs != definition.config.runs {
            self.tell_what_may_run(&name, &definition.config.runs);
        }
        problem.or_else(|| {
            visitor
                .err()
                .map(|text| format!("process group `{name}`: {text}"))
        })
    }

    /// Tells the running processes of a group what it may run from now on, before
    /// they get connections of children of httpd that may ask for what is new.
    fn tell_what_may_run(&self, name: &str, runs: &Runs) {
        let is_its = |pool: &PoolId| {
            self.pools
                .get(pool)
                .is_some_and(|entry| entry.group == name)
        };
        for worker in self.workers.values().filter(|worker| is_its(&worker.pool)) {
            worker.handle.send(ToWorker::Runs(runs.clone()));
        }
        self.preloading.tell(is_its, runs);
    }

    /// A definition that is understood; otherwise the one before it, with the
    /// reason, if there is one. Its log is found among the new descriptors.
    fn or_as_before(&self, config: GroupConfig) -> (GroupConfig, Option<String>) {
        let before = self.groups.get(&config.name).filter(|group| !group.removed);
        let before = before
            .map(|group| &group.definition.config)
            .filter(|before| before.unread.is_empty());
        match (config.not_understood(), before) {
            (Some(why), Some(before)) => {
                let problem = format!(
                    "process group `{}` ({}) stays as it was defined before: {why}",
                    config.name, config.origin
                );
                (
                    GroupConfig {
                        log: config.log,
                        ..before.clone()
                    },
                    Some(problem),
                )
            }
            _ => (config, None),
        }
    }

    /// Tells a group's pools what it is now, and makes those that serve before
    /// anybody asks for them.
    fn start_eager(&mut self, name: &str) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let definition = Arc::clone(&group.definition);
        let pools: Vec<PoolId> = group.pools.values().copied().collect();
        for pool in pools {
            self.pool_event(pool, Event::Define(Arc::clone(&definition)));
            if let Some(entry) = self.pools.get_mut(&pool) {
                entry.from_request &= !is_configured(&definition.config, &entry.application_group);
            }
            if let Some(entry) = self
                .pools
                .get_mut(&pool)
                .filter(|entry| entry.machine.has_latest())
            {
                // A definition that did not work was taken back.
                entry.given_up.take_if(|given_up| given_up.other_definition);
            }
        }
        let eager: BTreeSet<String> = definition
            .config
            .preload_scripts
            .iter()
            .map(|preload| preload.application_group.clone())
            .collect();
        for application_group in eager {
            if definition.config.processes > 0 {
                self.pool_for(
                    name,
                    &application_group,
                    Asker {
                        eager: true,
                        from_request: false,
                    },
                );
            }
        }
    }

    /// Lets those connect whom `socket-user=` names. Returns what is in the way.
    pub(super) fn admit_visitors(&self) -> Option<String> {
        let uids: BTreeSet<u32> = self
            .groups
            .values()
            .filter_map(|group| group.visitor)
            .collect();
        self.allowed.set_socket_uids(uids.clone());
        // All of httpd is one user otherwise.
        let socket = self.socket.as_ref().filter(|_| geteuid().is_root())?;
        let error = socket_acl::admit(socket, &uids).err()?;
        let cure = match (socket_acl::is_forbidden(&error), self.source.is_some()) {
            (true, true) => {
                "add CAP_FOWNER to CapabilityBoundingSet= of the unit that starts this supervisor"
            }
            (true, false) => {
                "add CAP_FOWNER to CapabilityBoundingSet= of the unit that starts httpd"
            }
            (false, true) => "name another place with `socket` in wsgid.toml",
            (false, false) => "choose another place with WSGISocketPrefix",
        };
        Some(format!(
            "socket-user= has no effect: the access list of `{}` cannot be set: {error}; {cure}",
            socket.display()
        ))
    }

    /// The first descriptor is httpd's main error log as it is now; what was
    /// inherited as standard error may have been rotated away.
    fn follow_main_log(&self, files: &[Arc<File>]) {
        let Some(main) = files.first() else { return };
        // What was logged before belongs to the file before.
        self.sink.flush();
        if let Err(errno) = nix::unistd::dup2_stderr(main) {
            tracing::error!("failed to write to the main error log that httpd sent: {errno}");
        }
    }

    /// The supervisor's own lines go to the system's log where httpd's do.
    pub(super) fn follow_syslog(&self) {
        self.sink.set_main(match &self.log {
            LogTarget::Syslog { facility, tag } => {
                LogDestination::Syslog(Arc::new(Syslog::new(*facility, tag)))
            }
            _ => LogDestination::Main,
        });
    }

    pub(super) fn log_place(&self, definition: &Definition) -> LogDestination {
        match &definition.config.log {
            LogTarget::Supervisor => LogDestination::Main,
            LogTarget::Descriptor(index) => self
                .files
                .get(*index)
                .cloned()
                .map_or(LogDestination::Main, LogDestination::File),
            LogTarget::Syslog { facility, tag } => {
                LogDestination::Syslog(Arc::new(Syslog::new(*facility, tag)))
            }
            LogTarget::File(path) => {
                // Nobody is known whose rights would do for it, and nothing writes to it.
                let Ok(identity) = &definition.identity else {
                    return LogDestination::Main;
                };
                match log::open_as(path, Some(identity)) {
                    Ok(file) => LogDestination::File(Arc::new(file)),
                    Err(error) => {
                        tracing::error!(
                            "failed to open the log `{}` of process group `{}`: {error}",
                            path.display(),
                            definition.config.name
                        );
                        LogDestination::Main
                    }
                }
            }
        }
    }

    /// Drains groups that no httpd generation with children knows.
    fn remove_unused(&mut self) {
        let used: BTreeSet<&String> = self
            .known
            .values()
            .flat_map(|known| &known.groups)
            .collect();
        let unused: Vec<String> = self
            .groups
            .keys()
            .filter(|name| !used.contains(name))
            .cloned()
            .collect();
        for name in unused {
            let Some(group) = self.groups.get_mut(&name).filter(|group| !group.removed) else {
                continue;
            };
            tracing::info!("process group `{name}` is no longer configured: its workers drain");
            group.removed = true;
            let pools: Vec<PoolId> = group.pools.values().copied().collect();
            for pool in &pools {
                self.pool_event(*pool, Event::Remove);
            }
            if pools.is_empty() {
                self.groups.remove(&name);
            }
        }
    }

    /// The pool of an application group, made if it is new; `None` if the process
    /// group is not there. Whether there is room for one that requests name is
    /// asked before.
    pub(super) fn pool_for(
        &mut self,
        name: &str,
        application_group: &str,
        asker: Asker,
    ) -> Option<PoolId> {
        let group = self.groups.get_mut(name)?;
        let from_request =
            asker.from_request && !is_configured(&group.definition.config, application_group);
        if let Some(pool) = group.pools.get(application_group) {
            if let Some(entry) = self.pools.get_mut(pool) {
                entry.from_request &= from_request;
            }
            return Some(*pool);
        }
        self.last_pool += 1;
        let pool = self.last_pool;
        group.pools.insert(application_group.to_owned(), pool);
        let entry = PoolEntry {
            group: name.to_owned(),
            application_group: application_group.to_owned(),
            from_request,
            is_forgotten: false,
            used: Instant::now(),
            machine: WorkerPool::new(pool, Arc::clone(&group.definition), asker.eager),
            refusing: None,
            held_deadline: None,
            retry_at: None,
            timer: None,
            told_waiting: false,
            restarts: 0,
            causes: VecDeque::new(),
            scripts: BTreeSet::new(),
            callables: Callables::default(),
            given_up: None,
        };
        self.pools.insert(pool, entry);
        self.pool_event(pool, Event::Tick);
        if self.groups.get(name).is_some_and(|group| group.stopped) {
            self.pool_event(pool, Event::Stop);
        }
        Some(pool)
    }

    /// The pool has ended: forget it, and its group with the last one.
    pub(super) fn forget_pool(&mut self, pool: PoolId) {
        self.connections.forget_pool(pool);
        let Some(entry) = self.pools.remove(&pool) else {
            return;
        };
        if let Some(at) = entry.timer {
            self.timers.remove(&(at, pool));
        }
        let Some(group) = self.groups.get_mut(&entry.group) else {
            return;
        };
        if group.pools.get(&entry.application_group) == Some(&pool) {
            group.pools.remove(&entry.application_group);
        }
        if group.removed && group.pools.is_empty() {
            self.groups.remove(&entry.group);
            tracing::info!("process group `{}` has ended", entry.group);
        }
    }

    /// HELLOs that came before their configuration.
    pub(super) fn retry_early(&mut self) {
        for (deadline, incoming) in self.early.take_out(|_| true) {
            self.incoming(incoming, Some(deadline));
        }
    }

    pub(super) fn expire_early(&mut self, now: Instant) {
        if self.early.iter().any(|(at, _)| *at <= now) {
            for (_, incoming) in self.early.take_out(|(at, _)| *at <= now) {
                self.incoming(incoming, Some(now));
            }
        }
    }
}
