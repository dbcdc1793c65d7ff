//! What a configuration changes: groups are compared with what is in force,
//! and only the difference is applied. One broken group is a problem in words;
//! the others never notice. Called by the loop and by `commands`.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use wsgid_protocol::control::{Configuration, ServerFacts, ToParent, ToWorker};
use wsgid_protocol::{GroupConfig, runs::Runs, text};

use super::isolated_groups;
use super::{Supervisor, access::HttpdGeneration, requested::is_configured};
use crate::config::standalone;
use crate::notify;
use crate::process::identity;
use wsgid_policy::definition::{Definition, IdentityError};
use wsgid_policy::{ids::PoolId, pool::Event};

/// Standalone has one generation, which is replaced by the next.
const STANDALONE_GENERATION: u64 = 0;

/// Who wants a pool.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    /// Its workers start now and not with the first request.
    pub(super) eager: bool,
    /// A request made the name.
    pub(super) from_request: bool,
}

impl Supervisor {
    pub(super) fn configure(&mut self, new: Configuration, files: Vec<Arc<File>>) -> ToParent {
        let generation = new.generation;
        let refusal = new.refusal();
        if refusal.is_none() || self.access.allowed.get().is_none() {
            // Also for a configuration that is refused: children are told so.
            self.access.allowed.set(new.httpd_uid);
        }
        if let Some(reason) = refusal {
            log_line!(
                CONFIGURATION_REFUSED,
                "the configuration {generation} of httpd is refused: {reason}"
            );
            return ToParent::Refused { generation, reason };
        }
        self.logs.configure(files, &new);
        self.access.begin(HttpdGeneration {
            generation,
            secret: Some(new.secret),
            groups: new.groups.iter().map(|group| group.name.clone()).collect(),
            ended: false,
        });
        let default = identity::DefaultAccount {
            uid: new.httpd_uid,
            gid: new.httpd_gid,
        };
        let problems = self.define_all(new.groups, &[], &new.server, default);
        self.remove_unused();
        self.retry_early();
        tracing::debug!(
            "configuration {generation} is in force: {}, {}",
            text::count(self.groups.len(), "process group"),
            text::count(problems.len(), "problem")
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

    /// Reads the files of a supervisor on its own, and applies the difference. Files that
    /// cannot be used change nothing.
    pub(super) fn read_files(&mut self) -> Vec<String> {
        let Some(source) = &mut self.source else {
            return Vec::new();
        };
        let read = match source.read(&self.groups.origins()) {
            Ok(read) => read,
            Err(problem) => {
                log_line!(
                    FILES_NOT_READ,
                    "the configuration was not read again: {problem}"
                );
                return vec![problem];
            }
        };
        self.access.allowed.set(read.httpd.uid);
        self.logs.write_as(read.loaded.settings.log_format);
        let new = read.loaded.groups.iter().map(|group| group.name.clone());
        let mut groups: BTreeSet<String> = new.collect();
        let kept = self.groups.iter().filter(|(name, group)| {
            read.loaded.keeps(&group.definition.config.origin) && !groups.contains(*name)
        });
        let kept: Vec<String> = kept.map(|(name, _)| name.clone()).collect();
        groups.extend(kept.iter().cloned());
        let mut problems = read.loaded.problems;
        problems.extend(source.stays_at(&read.loaded.settings.socket, read.httpd));
        self.access.socket = source.socket().map(|(path, _)| path.into());
        problems.extend(self.limit_users(read.loaded.users));
        say_problems(&problems);
        self.access.begin(HttpdGeneration {
            generation: STANDALONE_GENERATION,
            secret: None,
            groups,
            ended: false,
        });
        let server = ServerFacts::default();
        problems.extend(self.define_all(read.loaded.groups, &kept, &server, read.httpd));
        self.remove_unused();
        let summary = format!(
            "{}, {}",
            text::count(self.groups.len(), "process group"),
            text::count(problems.len(), "problem")
        );
        tracing::info!("the configuration is in force: {summary}");
        notify::status(&summary);
        problems
    }

    /// No child of this httpd generation is left.
    pub(super) fn generation_ended(&mut self, generation: u64) {
        if self.access.end(generation) {
            self.remove_unused();
        }
    }

    /// Defines groups, and starts what is to run from the beginning when all of
    /// them are known: whose sites there are, with those that are `kept` as they
    /// are, decides how each is kept apart.
    fn define_all(
        &mut self,
        mut new: Vec<GroupConfig>,
        kept: &[String],
        server: &ServerFacts,
        default: identity::DefaultAccount,
    ) -> Vec<String> {
        let kept = kept.iter().filter_map(|name| self.groups.config(name));
        isolated_groups::keep_apart(&mut new, &kept.collect::<Vec<_>>(), default);
        let (new, refused) = self.within_sites(new, default);
        let names: Vec<String> = new.iter().map(|config| config.name.clone()).collect();
        let mut problems: Vec<String> = new
            .into_iter()
            .filter_map(|config| self.define(config, server, default))
            .collect();
        problems.extend(refused);
        problems.extend(self.set_socket_users());
        say_problems(&problems);
        self.limit_pools();
        self.keep_users_apart();
        for name in names {
            self.start_eager(&name);
        }
        problems
    }

    /// Lets those connect whom `socket-user=` names. Returns what is in the way.
    pub(super) fn set_socket_users(&self) -> Option<String> {
        let is_standalone = self.source.is_some();
        self.access
            .set_socket_users(self.groups.socket_uids(), is_standalone)
    }

    /// Defines one group. Returns what is wrong with it.
    fn define(
        &mut self,
        config: GroupConfig,
        server: &ServerFacts,
        default: identity::DefaultAccount,
    ) -> Option<String> {
        let name = config.name.clone();
        let (config, stays) = self.or_as_before(config);
        let identity = match config.not_understood() {
            Some(why) => Err(IdentityError::NotUnderstood(why)),
            None => identity::resolve(&config, default),
        };
        let unidentified = identity.as_ref().err().map(|text| {
            let origin = &config.origin;
            format!("process group `{name}` ({origin}) cannot be started: {text}")
        });
        if let Ok(who) = &identity
            && self.source.is_some()
            && who.change
            && who.uid == default.uid
        {
            log_line!(
                RUNS_AS_HTTPD,
                "process group `{name}` ({}) {}",
                config.origin,
                standalone::AS_HTTPD
            );
        }
        if let Some(what) = self.resources.groups.cannot(&config) {
            log_line!(
                LIMIT_WITHOUT_EFFECT,
                "process group `{name}` ({}): {what}",
                config.origin
            );
        }
        if let Err(why) = self.resources.groups.bound(&config) {
            log_line!(LIMIT_NOT_SET, "process group `{name}`: {why}");
        }
        let definition = Arc::new(Definition {
            config,
            identity,
            server: server.clone(),
            httpd_uid: default.uid,
        });
        let socket_user = identity::socket_uid(&definition.config);
        let (group, before) = self.groups.define(&definition);
        group.socket_uid = socket_user.clone().ok().flatten();
        self.logs.aim(group);
        if before.config.runs != definition.config.runs {
            self.tell_what_may_run(&name, &definition.config.runs);
        }
        let unknown_user = socket_user.err();
        stays
            .or(unidentified)
            .or_else(|| unknown_user.map(|text| format!("process group `{name}`: {text}")))
    }

    /// Tells the running processes of a group what it may run from now on, before
    /// children of httpd can ask them for what is new.
    fn tell_what_may_run(&self, name: &str, runs: &Runs) {
        let is_its = |pool: PoolId| self.pools.group_of(pool) == Some(name);
        for worker in self.workers.values() {
            if is_its(worker.record.pool) {
                worker.handle.send(ToWorker::Runs(runs.clone()));
            }
        }
        self.preloaders.tell_what_may_run(is_its, runs);
    }

    /// A definition that is understood; otherwise the one before it, with the
    /// reason, if there is one. Its log is found among the new descriptors.
    fn or_as_before(&self, config: GroupConfig) -> (GroupConfig, Option<String>) {
        let before = self.groups.get(&config.name).filter(|group| !group.removed);
        let before = before
            .map(|group| &group.definition.config)
            .filter(|before| before.unread.is_empty());
        let (Some(why), Some(before)) = (config.not_understood(), before) else {
            return (config, None);
        };
        let problem = format!(
            "process group `{}` ({}) stays as it was defined before: {why}",
            config.name, config.origin
        );
        let mut as_before = before.clone();
        as_before.log = config.log;
        (as_before, Some(problem))
    }

    /// Tells a group's pools what it is now, and makes those that serve before
    /// anybody asks for them.
    fn start_eager(&mut self, name: &str) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let definition = Arc::clone(&group.definition);
        for pool in self.groups.pools_of(name) {
            self.pool_event(pool, Event::Define(Arc::clone(&definition)));
            let Some(entry) = self.pools.get_mut(&pool) else {
                continue;
            };
            entry.from_request &= !is_configured(&definition.config, &entry.application_group);
            if entry.machine.has_latest() {
                // A definition that did not work was taken back.
                entry.given_up.take_if(|given_up| given_up.other_definition);
            }
        }
        if definition.config.processes == 0 {
            return;
        }
        let preloads = definition.config.preload_scripts.iter();
        let eager: BTreeSet<&str> = preloads
            .map(|preload| preload.application_group.as_str())
            .collect();
        let asker = Asker {
            eager: true,
            from_request: false,
        };
        for application_group in eager {
            self.pool_for(name, application_group, asker);
        }
    }

    /// Drains groups that no httpd generation with children knows; the others are what is in force.
    fn remove_unused(&mut self) {
        self.keep_traces();
        for name in self.groups.unused(|name| self.access.is_used(name)) {
            tracing::info!("process group `{name}` is no longer configured: its workers drain");
            let pools = self.groups.pools_of(&name);
            if pools.is_empty() {
                self.groups.remove(&name);
                self.isolation.directories.leave(&name);
            } else if let Some(group) = self.groups.get_mut(&name) {
                group.removed = true;
            }
            for pool in pools {
                self.pool_event(pool, Event::Remove);
            }
        }
        // Also of groups that have no pool yet.
        self.ready_file.may_differ(Instant::now());
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
        let definition = &group.definition;
        let pool = self
            .pools
            .make(definition, application_group, from_request, asker.eager);
        group.pools.insert(application_group.to_owned(), pool);
        let is_stopped = group.stopped;
        self.limit_pool(pool, name);
        self.pool_event(pool, Event::Tick);
        if is_stopped {
            self.pool_event(pool, Event::Stop);
        }
        Some(pool)
    }
}

fn say_problems(problems: &[String]) {
    for problem in problems {
        log_line!(CONFIGURATION_PROBLEM, "{problem}");
    }
}
