//! The users that have limits, and whose pools have to be looked at again. Kept for `users`;
//! knows nothing of groups and pools.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use wsgid_protocol::user_limits::UserLimits;

/// The users that have limits, by their numbers.
#[derive(Default)]
pub(super) struct LimitedUsers {
    pub(super) limits: BTreeMap<u32, UserLimits>,
    /// Those whose pools have changed since processes were last shared.
    pub(super) changed: BTreeSet<u32>,
    /// How many processes those with a limit on them had when they were last shared.
    pub(super) in_use: BTreeMap<u32, usize>,
}

impl LimitedUsers {
    pub(super) fn all(&self) -> Vec<(u32, UserLimits)> {
        let all = self.limits.iter();
        all.map(|(uid, limits)| (*uid, limits.clone())).collect()
    }

    /// Whether control groups hold processes of users together.
    pub(super) fn are_any_bounded(&self) -> bool {
        self.limits.values().any(UserLimits::is_bounded)
    }

    /// By whose numbers limits are to hold, and what is wrong with them. A user whose number
    /// is not to be had now (the directory service does not answer) keeps that of before, so
    /// that no limit is dropped.
    pub(super) fn by_number<E: Display>(
        &self,
        users: Vec<UserLimits>,
        uid_of: impl Fn(&str) -> Result<u32, E>,
    ) -> (BTreeMap<u32, UserLimits>, Vec<String>) {
        let mut limits = BTreeMap::new();
        let mut problems = Vec::new();
        let mut unknown = Vec::new();
        for one in users {
            match uid_of(&one.user) {
                Err(error) => unknown.push((one, error)),
                Ok(0) => problems.push(format!("[user.{}]: no worker runs as root", one.user)),
                Ok(uid) => {
                    if let Some(other) = limits.insert(uid, one) {
                        problems.push(format!("[user.{}]: uid {uid} has two tables", other.user));
                    }
                }
            }
        }
        for (one, error) in unknown {
            let mut why = format!("[user.{}]: {error}", one.user);
            let mut before = self.limits.iter();
            let before = before.find(|(_, before)| before.user == one.user);
            if let Some((uid, _)) = before
                && !limits.contains_key(uid)
            {
                why.push_str(&format!("; it holds for uid {uid}, as before"));
                limits.insert(*uid, one);
            }
            problems.push(why);
        }
        (limits, problems)
    }

    /// Most worker processes.
    pub(super) fn processes(&self, uid: u32) -> Option<usize> {
        let limits = self.limits.get(&uid)?;
        (limits.processes > 0).then_some(limits.processes as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(user: &str, processes: u32) -> UserLimits {
        UserLimits {
            processes,
            ..UserLimits::new(user)
        }
    }

    #[test]
    fn a_user_whose_number_is_not_to_be_had_keeps_its_limits() {
        let mut users = LimitedUsers::default();
        let known = |name: &str| match name {
            "shop" => Ok(1001),
            "cafe" => Ok(1002),
            _ => Err("no such user"),
        };
        let tables = vec![table("shop", 3), table("cafe", 4)];
        let (limits, problems) = users.by_number(tables.clone(), known);
        assert_eq!(problems, [""; 0]);
        users.limits = limits.clone();
        let nobody = |_: &str| Err("no answer");
        let (still, problems) = users.by_number(tables, nobody);
        assert_eq!(still, limits);
        assert_eq!(
            problems,
            [
                "[user.shop]: no answer; it holds for uid 1001, as before",
                "[user.cafe]: no answer; it holds for uid 1002, as before"
            ]
        );
        // What the table says now holds; one that is no longer there is dropped.
        let (changed, _) = users.by_number(vec![table("shop", 5)], nobody);
        assert_eq!(changed, BTreeMap::from([(1001, table("shop", 5))]));
        // Whoever has the number now has it alone.
        let renamed = |name: &str| match name {
            "store" => Ok(1001),
            _ => Err("no such user"),
        };
        let (renamed, problems) =
            users.by_number(vec![table("shop", 5), table("store", 6)], renamed);
        assert_eq!(renamed, BTreeMap::from([(1001, table("store", 6))]));
        assert_eq!(problems, ["[user.shop]: no such user"]);
        // Who was never known has none.
        let (none, _) = LimitedUsers::default().by_number(vec![table("shop", 5)], nobody);
        assert!(none.is_empty());
    }
}
