//! `[user.NAME]` tables: what the process groups of one user may have together. They stand
//! in the main file alone, for site files may be left to those whom they would bound.

use std::collections::BTreeMap;

use toml::Table;
use wsgid_protocol::user_limits::UserLimits;

use super::group;

/// What a site file is told that has such a table.
pub(super) const NOT_IN_SITES: &str =
    "limits of a user, [user.NAME], stand in wsgid.toml alone: a site file may not set them";

/// Reads all tables.
pub(super) fn from_tables(tables: &BTreeMap<String, Table>) -> Result<Vec<UserLimits>, String> {
    tables
        .iter()
        .map(|(name, table)| from_table(name, table).map_err(|why| format!("[user.{name}]: {why}")))
        .collect()
}

fn from_table(name: &str, table: &Table) -> Result<UserLimits, String> {
    if name.is_empty() || name.contains(char::is_control) {
        return Err("a user has a name, without control characters, or a number as #1001".into());
    }
    let mut limits = UserLimits::new(name);
    for (key, value) in table {
        limits.set(key, &group::text(key, value)?)?;
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<UserLimits>, String> {
        let mut main: BTreeMap<String, BTreeMap<String, Table>> = toml::from_str(text).unwrap();
        from_tables(&main.remove("user").unwrap())
    }

    #[test]
    fn a_table_for_each_user() {
        let text = "[user.shop]\nprocesses = 8\nmemory-max = '1G'\n[user.'#1001']\nsites = 2\n";
        let users = read(text).unwrap();
        assert_eq!((users[1].processes, users[1].memory_max), (8, 1 << 30));
        assert_eq!((users[0].user.as_str(), users[0].sites), ("#1001", 2));
    }

    #[test]
    fn a_mistake_names_the_table_and_the_key() {
        for (text, words) in [
            ("[user.shop]\nprocess = 8\n", ["[user.shop]", "processes"]),
            (
                "[user.shop]\nmemory-max = '1Q'\n",
                ["[user.shop]", "memory-max"],
            ),
            ("[user.shop]\nsites = [1]\n", ["[user.shop]", "sites"]),
            ("[user.'']\nsites = 1\n", ["[user.]", "has a name"]),
        ] {
            let why = read(text).unwrap_err();
            assert!(words.iter().all(|word| why.contains(word)), "{why}");
        }
    }
}
