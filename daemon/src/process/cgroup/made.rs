//! A control group of a process group: where it is, what bounds it, and what was last seen
//! of it. Used by `Cgroups`.

use wsgid_protocol::GroupConfig;

use super::base::{Base, Bounds};
use crate::process::keeper::Keeper;

#[derive(Debug)]
pub(super) struct Made {
    /// In that of its user, if there is one.
    pub(super) directory: String,
    /// The user of the process group when it was made.
    pub(super) owner: Option<u32>,
    /// The user in whose control group it is.
    pub(super) parent: Option<u32>,
    pub(super) bounds: Bounds,
    /// Whether none of them was refused: otherwise they are set anew with the next
    /// configuration.
    pub(super) are_bounds_set: bool,
    pub(super) memory_kills: u64,
    pub(super) memory_refusals: u64,
    pub(super) idle: bool,
}

impl Made {
    pub(super) fn new(base: &Base, place: Place, bounds: Bounds) -> Self {
        Self {
            memory_kills: base.memory_kills(&place.directory).unwrap_or_default(),
            memory_refusals: base.memory_refusals(&place.directory).unwrap_or_default(),
            directory: place.directory,
            owner: place.owner,
            parent: place.parent,
            bounds,
            are_bounds_set: true,
            idle: false,
        }
    }
}

/// Where a control group is, or is to be.
pub(super) struct Place {
    pub(super) directory: String,
    pub(super) owner: Option<u32>,
    pub(super) parent: Option<u32>,
}

impl Place {
    pub(super) fn new(
        keeper: Keeper,
        group: &str,
        owner: Option<u32>,
        parent: Option<u32>,
    ) -> Self {
        let own = keeper.directory(group);
        let directory = match parent {
            Some(uid) => format!("{}/{own}", keeper.user_directory(uid)),
            None => own,
        };
        Self {
            directory,
            owner,
            parent,
        }
    }
}

/// What the options say. Where groups share as one, a nice value counts only
/// inside: `cpu-priority` becomes the weight that the kernel gives to it.
pub(super) fn bounds(config: &GroupConfig) -> Bounds {
    let cpu_weight = match config.cpu_weight {
        0 => {
            // Each step is a quarter more; 0 is 100.
            let nice = config.cpu_priority.unwrap_or(0);
            (100.0 * 1.25_f64.powi(-nice)).round().clamp(1.0, 10_000.0) as u32
        }
        weight => weight,
    };
    Bounds {
        cpu_weight,
        memory_max: config.memory_max,
        tasks_max: config.tasks_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nice_value_is_a_weight() {
        let weight = |option: &str, value: &str| {
            let mut config = GroupConfig::new("g", "test");
            config.set(option, value).unwrap();
            bounds(&config).cpu_weight
        };
        assert_eq!(weight("cpu-priority", "0"), 100);
        assert_eq!(weight("cpu-priority", "19"), 1);
        assert_eq!(weight("cpu-priority", "10"), 11);
        assert_eq!(weight("cpu-priority", "-20"), 8674);
        assert_eq!(weight("cpu-weight", "7"), 7);
    }
}
