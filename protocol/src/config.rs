//! What a process group is: the same definition whether it comes from
//! `WSGIDaemonProcess`, from a site file or from `start-server`.
//!
//! Its fields and defaults are the rows of `option.rs`; options arrive as text
//! and are set by name through [`GroupConfig::set`], so all three sources give
//! the same errors. Here is what follows from several fields together.

pub use crate::option::GroupConfig;
pub use crate::values::{ApplicationOptions, LogFormat, LogTarget, Preload, Timeout};

impl GroupConfig {
    /// Whether an option bounds or weighs all processes of the group together.
    pub const fn is_bounded(&self) -> bool {
        self.cpu_weight > 0 || self.memory_max > 0 || self.tasks_max > 0
    }

    /// The definition as one application group has it.
    pub fn narrow_to(&mut self, application_group: &str) {
        let applications = std::mem::take(&mut self.applications);
        for own in applications
            .into_iter()
            .filter(|own| own.application_group == application_group)
        {
            self.python_path.extend(own.python_path);
            self.switch_interval_us = own.switch_interval_us.or(self.switch_interval_us);
            self.restrict_stdin = own.restrict_stdin.unwrap_or(self.restrict_stdin);
            self.restrict_stdout = own.restrict_stdout.unwrap_or(self.restrict_stdout);
            self.restrict_signal = own.restrict_signal.unwrap_or(self.restrict_signal);
        }
    }

    /// Whether workers that were started with this definition may serve on under
    /// another one.
    pub fn same_workers(&self, other: &Self) -> bool {
        // Workers enter a control group when they start; its bounds change at once.
        self.is_bounded() == other.is_bounded()
            // What an isolated one reaches is settled when it starts.
            && (!self.is_isolated() || self.script_directories() == other.script_directories())
            && self.as_workers_see_it() == other.as_workers_see_it()
    }

    /// Most worker processes of one generation.
    pub fn processes_limit(&self) -> u32 {
        self.processes_max.unwrap_or(self.processes)
    }

    /// What `ps` shows for a worker.
    pub fn title(&self) -> String {
        match self.display_name.as_deref() {
            None | Some("") => format!("(wsgid: {})", self.name),
            Some("%{GROUP}") => format!("(wsgi:{})", self.name),
            Some(other) => other.to_owned(),
        }
    }
}
