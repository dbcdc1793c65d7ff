//! What of the file system a group is to have otherwise: the preset of its definition,
//! and the single options over it.

use wsgid_protocol::GroupConfig;
use wsgid_protocol::isolation::Isolation;

/// What of the file system a group is to have otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    pub(super) tmp: bool,
    pub(super) system: bool,
    pub(super) home: bool,
    pub(super) devices: bool,
    pub(super) proc: bool,
    /// Set-user-ID programs gain nothing anyway.
    pub(super) no_suid: bool,
}

impl Wants {
    pub(super) fn of(config: &GroupConfig) -> Self {
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
    pub(super) fn any(self, config: &GroupConfig) -> bool {
        let singles = [self.tmp, self.system, self.home, self.devices, self.proc];
        singles.contains(&true) || !config.inaccessible_paths.is_empty()
    }
}
