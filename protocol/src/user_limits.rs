//! What all process groups of one user may have together: the keys of `[user.NAME]` in
//! `wsgid.toml`, read as the options of the same names are. Set by the daemon's `config`,
//! kept and applied by its supervisor; knows nothing of how a limit is enforced.

use serde::{Deserialize, Serialize};

use crate::syntax::{Bytes, Number, Syntax};

/// What each key may be, in the order of the documentation.
const KEYS: [&str; 5] = [
    "processes",
    "memory-max",
    "cpu-weight",
    "tasks-max",
    "sites",
];

/// Limits of a user; 0 is none. What another release does not write is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserLimits {
    /// The user, by name or as `#1001`.
    pub user: String,
    /// Worker processes of all groups.
    pub processes: u32,
    /// Bytes of memory of all their processes.
    pub memory_max: u64,
    /// Share of the processors against other users and groups.
    pub cpu_weight: u32,
    /// Processes and threads.
    pub tasks_max: u32,
    /// Process groups.
    pub sites: u32,
}

impl UserLimits {
    /// None for this user.
    pub fn new(user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            ..Self::default()
        }
    }

    /// Sets one limit from its text.
    ///
    /// # Errors
    /// In words, with the name of the key.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), String> {
        let count = |max| Number { min: 0, max };
        let set = match key {
            "processes" => count(10_000).set(&mut self.processes, text),
            "memory-max" => Bytes { min: 4 << 20 }.set(&mut self.memory_max, text),
            "cpu-weight" => {
                let weight = Number {
                    min: 1,
                    max: 10_000,
                };
                weight.set(&mut self.cpu_weight, text)
            }
            "tasks-max" => count(4_194_304).set(&mut self.tasks_max, text),
            "sites" => count(1_000_000).set(&mut self.sites, text),
            _ => {
                let known = KEYS.join(", ");
                return Err(format!("unknown key `{key}`; a user has {known}"));
            }
        };
        set.map_err(|reason| format!("`{key}`: {reason}"))
    }

    /// Whether a control group has to hold all processes of the user together.
    pub const fn is_bounded(&self) -> bool {
        self.memory_max > 0 || self.cpu_weight > 0 || self.tasks_max > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_the_options_of_their_names() {
        let mut limits = UserLimits::new("shop");
        for (key, text) in [
            ("processes", "8"),
            ("memory-max", "2G"),
            ("cpu-weight", "50"),
            ("tasks-max", "300"),
            ("sites", "3"),
        ] {
            assert!(KEYS.contains(&key));
            limits.set(key, text).unwrap();
        }
        let expected = UserLimits {
            user: "shop".to_owned(),
            processes: 8,
            memory_max: 2 << 30,
            cpu_weight: 50,
            tasks_max: 300,
            sites: 3,
        };
        assert_eq!(limits, expected);
        for (key, text, word) in [
            ("memory-max", "2Q", "memory-max"),
            ("memory-max", "1K", "memory-max"),
            ("cpu-weight", "0", "cpu-weight"),
            ("processes", "1..2", "processes"),
            ("memory", "2G", "memory-max"),
        ] {
            let why = limits.set(key, text).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
        assert_eq!(limits, expected, "what is refused changes nothing");
    }

    #[test]
    fn what_needs_no_control_group_makes_none() {
        let mut limits = UserLimits::new("shop");
        limits.set("processes", "8").unwrap();
        limits.set("sites", "3").unwrap();
        assert!(!limits.is_bounded());
        limits.set("tasks-max", "30").unwrap();
        assert!(limits.is_bounded());
    }
}
