//! Keeps the processes of one site apart from all others, also those of the same user:
//! name spaces and mounts (`mounts`, of what `view` has found), landlock (`domain`) and
//! system calls (`system_calls`). The launcher and `wsgid check` do it to themselves in
//! two steps, before and after they become the site's user; what the supervisor makes
//! ready is in `temporary` and `neighbours`. Knows nothing of pools and requests.

mod devices;
mod domain;
mod handles;
pub(crate) mod log_place;
mod mounts;
pub(crate) mod neighbours;
mod part;
pub(crate) mod system_calls;
pub(crate) mod temporary;
mod view;
mod wants;

use std::path::Path;

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::geteuid;
use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::Identity;
use wsgid_protocol::isolation::{Isolation, IsolationPlaces, IsolationReport};

use part::Lack;
use wants::Wants;

/// A process that is about to be kept apart.
pub(crate) struct Isolated<'a> {
    config: &'a GroupConfig,
    identity: &'a Identity,
    places: &'a IsolationPlaces,
    wants: Wants,
    report: IsolationReport,
    /// A file that it has to load, wherever that is.
    program: Option<&'a Path>,
    /// What it reaches, once that is known.
    reached: Vec<view::Shown>,
}

impl<'a> Isolated<'a> {
    /// Nothing if the group's definition asks for no isolation.
    pub(crate) fn of(
        config: &'a GroupConfig,
        identity: &'a Identity,
        places: &'a IsolationPlaces,
    ) -> Option<Self> {
        config.is_isolated().then(|| Self {
            config,
            identity,
            places,
            wants: Wants::of(config),
            report: IsolationReport::default(),
            program: None,
            reached: Vec::new(),
        })
    }

    /// It loads this file too, which need not be in its view: a descriptor may be.
    pub(crate) fn loads(&mut self, program: &'a Path) {
        self.program = Some(program);
    }

    /// The first step, with all privileges that there are: name spaces, mounts, and the
    /// capabilities that no program may ever have.
    ///
    /// # Errors
    /// In words, if the process must not go on.
    pub(crate) fn enter(&mut self) -> Result<(), String> {
        if self.config.chroot.is_some() {
            return Err("chroot= and isolation exclude each other: leave one of them out".into());
        }
        let has_preset = self.config.isolation > Isolation::None;
        if has_preset || self.wants.any(self.config) {
            let view = view::View::of(self.config, self.identity, self.places, self.wants)?;
            self.change_view(&view)?;
            self.reached = view.shown;
        }
        if has_preset {
            let cleared = caps::clear(None, caps::CapSet::Bounding);
            let cleared = cleared.map_err(|error| Lack::Kernel(error.to_string()));
            self.note("capability-bounding-set", cleared)?;
            // 0 bounds a file, but not what is piped to a program; 1 is none of both.
            let none = setrlimit(Resource::RLIMIT_CORE, 1, 1);
            let none = none.or_else(|_| setrlimit(Resource::RLIMIT_CORE, 0, 0));
            self.note("core-dumps", none.map_err(Lack::from))?;
        }
        Ok(())
    }

    fn change_view(&mut self, view: &view::View) -> Result<(), String> {
        let has_preset = self.config.isolation > Isolation::None;
        if let Err(why) = mounts::leave_name_spaces(!geteuid().is_root()) {
            let why = Lack::Kernel(format!("no mount name space: {why}"));
            return self.all_missing(&why);
        }
        if has_preset {
            let apart = mounts::leave_ipc().map_err(Lack::from);
            self.note("ipc", apart)?;
        }
        if !self.wants.any(self.config) {
            return Ok(());
        }
        let parts = mounts::change(view, self.places, self.identity, self.wants)?;
        for (name, outcome) in parts {
            self.note(name, outcome)?;
        }
        if !self.config.inaccessible_paths.is_empty() {
            self.note("inaccessible-paths", Ok(()))?;
        }
        Ok(())
    }

    fn all_missing(&mut self, why: &Lack) -> Result<(), String> {
        let (Lack::Kernel(text) | Lack::Definition(text)) = why;
        let wants = self.wants;
        for (is_wanted, name) in [
            (wants.tmp, "private-tmp"),
            (wants.system, "protect-system"),
            (wants.home, "protect-home"),
            (wants.devices, "private-devices"),
            (wants.proc, "protect-proc"),
            (
                !self.config.inaccessible_paths.is_empty(),
                "inaccessible-paths",
            ),
            (self.config.isolation > Isolation::None, "ipc"),
        ] {
            if is_wanted {
                self.note(name, Err(Lack::Kernel(text.clone())))?;
            }
        }
        Ok(())
    }

    /// The last step, which needs no privilege once `no_new_privs` is set: from here on
    /// nothing more is reached than the site reaches.
    ///
    /// # Errors
    /// In words, if the process must not go on.
    pub(crate) fn confine(&mut self) -> Result<(), String> {
        let (program, who) = (self.program, self.identity);
        for (name, outcome) in domain::enter(self.config, &self.reached, program, who) {
            self.note(name, outcome)?;
        }
        for (name, outcome) in system_calls::restrict(self.config) {
            self.note(name, outcome)?;
        }
        Ok(())
    }

    /// What is in force now.
    pub(crate) fn into_report(self) -> IsolationReport {
        self.report
    }

    fn note(&mut self, name: &str, outcome: Result<(), Lack>) -> Result<(), String> {
        let why = match outcome {
            Ok(()) => {
                self.report.in_force.push(name.to_owned());
                return Ok(());
            }
            Err(Lack::Definition(why)) => return Err(why),
            Err(Lack::Kernel(why)) => why,
        };
        if self.config.isolation == Isolation::Strict && !self.config.isolation_fallback {
            return Err(format!(
                "isolation=strict: {name} cannot be had: {why}; isolation-fallback=On starts the site without it"
            ));
        }
        self.report.missing.push(format!("{name}: {why}"));
        Ok(())
    }
}
