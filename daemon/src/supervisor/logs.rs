//! Where the supervisor and its groups write: httpd's descriptors, the system's
//! log, or files of their own. Told by configurations, asked when a group is
//! defined. Knows of a group its definition alone.

use std::fs::File;
use std::sync::Arc;

use wsgid_protocol::byte_rate::ByteRate;
use wsgid_protocol::config::{LogFormat, LogTarget};
use wsgid_protocol::control::Configuration;

use super::groups::ProcessGroup;
use super::open_log::open_log;
use crate::log::{self, LogDestination, Sink, Syslog};
use wsgid_policy::definition::Definition;

pub(super) struct SupervisorLogs {
    pub(super) sink: Sink,
    /// What httpd sent; the first is its main error log.
    pub(super) files: Vec<Arc<File>>,
    /// Where the supervisor's own lines go.
    pub(super) own: LogTarget,
    /// How those are written, and those of groups that say nothing.
    pub(super) format: LogFormat,
}

impl SupervisorLogs {
    pub(super) const fn new(sink: Sink) -> Self {
        Self {
            sink,
            files: Vec::new(),
            own: LogTarget::Supervisor,
            format: LogFormat::Text,
        }
    }

    /// httpd has opened its logs: the inherited standard error may be rotated away.
    pub(super) fn configure(&mut self, files: Vec<Arc<File>>, new: &Configuration) {
        if let Some(level) = new.log_level {
            log::set_httpd_level(level);
        }
        if let Some(main) = files.first() {
            // What was logged before belongs to the file before.
            self.sink.flush();
            if let Err(errno) = nix::unistd::dup2_stderr(main) {
                log_line!(
                    MAIN_LOG_NOT_TAKEN,
                    "failed to write to the main error log that httpd sent: {errno}"
                );
            }
        }
        self.resume(files, new.log.clone(), new.log_format);
    }

    /// Writes to these logs. The supervisor's own lines go to the system's log where
    /// httpd's do.
    pub(super) fn resume(&mut self, files: Vec<Arc<File>>, own: LogTarget, format: LogFormat) {
        let destination = match &own {
            LogTarget::Syslog { facility, tag } => {
                LogDestination::Syslog(Arc::new(Syslog::new(*facility, tag)))
            }
            _ => LogDestination::Main,
        };
        self.sink.set_main(destination);
        self.files = files;
        self.own = own;
        self.write_as(format);
    }

    /// Writes so from now on; groups that say nothing do with their next definition.
    pub(super) fn write_as(&mut self, format: LogFormat) {
        self.sink.set_format(format);
        self.format = format;
    }

    /// The output of a group goes where its definition says, as it says.
    pub(super) fn aim(&self, group: &ProcessGroup) {
        let config = &group.definition.config;
        group.target.set(self.place_of(&group.definition));
        group
            .target
            .set_format(config.log_format.unwrap_or(self.format));
        group.target.set_rate(ByteRate::new(config.log_rate));
    }

    fn place_of(&self, definition: &Definition) -> LogDestination {
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
                // The rights of nobody known would do for the file, and nothing writes to it.
                let Ok(identity) = &definition.identity else {
                    return LogDestination::Main;
                };
                match open_log(&definition.config, path, identity) {
                    Ok(file) => LogDestination::File(Arc::new(file)),
                    Err(error) => {
                        log_line!(
                            LOG_NOT_OPENED,
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
}
