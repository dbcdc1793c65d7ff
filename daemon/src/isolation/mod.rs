//! Keeps the processes of one site apart from all others, also those of the same user:
//! name spaces and mounts (`mounts`, of what `view` has found), landlock (`domain`) and
//! system calls (`system_calls`). The launcher and `wsgid check` do it to themselves in
//! two steps, before and after they become the site's user; what the supervisor makes
//! ready is in `temporary` and `neighbours`. Knows nothing of pools and requests.

mod domain;
mod mounts;
pub(crate) mod neighbours;
mod system_calls;
pub(crate) mod temporary;
mod view;

use std::path::Path;

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::geteuid;
use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::Identity;
use wsgid_protocol::isolation::{Isolation, IsolationPlaces, IsolationReport};

/// Why a restriction is not in force.
#[derive(Debug)]
enum Lack {
    /// The kernel does not have it, or this process may not use it.
    Kernel(String),
    /// The site's definition asks for what cannot be.
    Definition(String),
}

impl From<nix::Error> for Lack {
    fn from(errno: nix::Error) -> Self {
        Self::Kernel(errno.to_string())
    }
}

impl From<std::io::Error> for Lack {
    fn from(error: std::io::Error) -> Self {
        Self::Kernel(error.to_string())
    }
}

/// What of the file system a group is to have otherwise.
#[derive(Clone, Copy, Debug)]
struct Wants {
    tmp: bool,
    system: bool,
    home: bool,
    devices: bool,
    proc: bool,
    /// Set-user-ID programs gain nothing anyway.
    no_suid: bool,
}

impl Wants {
    fn of(config: &GroupConfig) -> Self {
        let usual = config.isolation > Isolation::None;
        let or_usual = |single: Option<bool>| single.unwrap_or(usual);
        Self {
            tmp: or_usual(config.private_tmp),
            system: or_usual(config.protect_system),
            home: or_usual(config.protect_home),
            devices: or_usual(config.private_devices),
            proc: or_usual(config.protect_proc),
            no_suid: config.no_new_privileges,
        }
    }

    /// Whether the tree of files is to look otherwise at all.
    fn any(self, config: &GroupConfig) -> bool {
        let singles = [self.tmp, self.system, self.home, self.devices, self.proc];
        singles.contains(&true) || !config.inaccessible_paths.is_empty()
    }
}

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
        if self.wants.any(self.config) {
            self.change_view()?;
        }
        if has_preset {
            let cleared = caps::clear(None, caps::CapSet::Bounding);
            let cleared = cleared.map_err(|error| Lack::Kernel(error.to_string()));
            self.note("capability-bounding-set", cleared)?;
            let none = setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(Lack::from);
            self.note("core-dumps", none)?;
        }
        Ok(())
    }

    fn change_view(&mut self) -> Result<(), String> {
        let has_preset = self.config.isolation > Isolation::None;
        if let Err(why) = mounts::leave_name_spaces(!geteuid().is_root()) {
            let why = Lack::Kernel(format!("no mount name space: {why}"));
            return self.all_missing(&why);
        }
        if has_preset {
            let apart = mounts::leave_ipc().map_err(Lack::from);
            self.note("ipc", apart)?;
        }
        let view = view::View::of(self.config, self.identity, self.places, self.wants)?;
        let parts = mounts::change(&view, self.places, self.identity, self.wants)?;
        for (name, outcome) in parts {
            self.note(name, outcome)?;
        }
        self.reached = view.shown;
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
        for (name, outcome) in domain::enter(self.config, &self.reached, self.program) {
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
