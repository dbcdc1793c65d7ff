//! What `wsgid check` says of `[user.NAME]`: users that are not there, more process groups than
//! `sites`, fewer processes than their groups are configured to have, and bounds that need
//! control groups where none can be made. Called by `mod.rs`; starts nothing.

use wsgid_protocol::user_limits::UserLimits;
use wsgid_protocol::{GroupConfig, names, text};

use crate::process::identity::{self, DefaultAccount};

/// What is wrong, and what is worth to know.
#[derive(Default)]
pub(super) struct UserFindings {
    pub(super) problems: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// `no_control_groups`: why there are none, as far as can be told from here.
pub(super) fn examine(
    users: &[UserLimits],
    groups: &[GroupConfig],
    httpd: DefaultAccount,
    no_control_groups: Option<&str>,
) -> UserFindings {
    let mut found = UserFindings::default();
    for limits in users {
        let of = |text: String| format!("[user.{}]: {text}", limits.user);
        let uid = match identity::uid_of(&limits.user) {
            Ok(0) => {
                found.problems.push(of("no worker runs as root".to_owned()));
                continue;
            }
            Ok(uid) => uid,
            Err(error) => {
                found.problems.push(of(error.to_string()));
                continue;
            }
        };
        let its: Vec<&GroupConfig> = groups
            .iter()
            .filter(|group| !names::is_reserved(&group.name))
            .filter(|group| identity::resolve(group, httpd).is_ok_and(|user| user.uid == uid))
            .collect();
        found.problems.extend(too_many(limits, &its).map(of));
        found.problems.extend(too_few(limits, &its).map(of));
        if let Some(why) = no_control_groups.filter(|_| limits.is_bounded()) {
            found.notes.push(of(format!(
                "memory-max, cpu-weight and tasks-max need control groups, and from here none can be made: {why}; \
                 what the supervisor itself can do is in its log and in wsgid status"
            )));
        }
    }
    found
}

/// The groups beyond `sites`.
fn too_many(limits: &UserLimits, its: &[&GroupConfig]) -> Option<String> {
    let beyond = its
        .get(limits.sites as usize..)
        .filter(|_| limits.sites > 0)?;
    let names: Vec<String> = beyond.iter().map(|one| format!("`{}`", one.name)).collect();
    (!names.is_empty()).then(|| {
        format!(
            "sites = {}, and {} are defined; a supervisor that starts now leaves out {}",
            limits.sites,
            text::count(its.len(), "process group"),
            names.join(", ")
        )
    })
}

/// What they are configured to have in any case.
fn too_few(limits: &UserLimits, its: &[&GroupConfig]) -> Option<String> {
    let least = its.iter().map(|one| one.processes);
    let least = least.fold(0, u32::saturating_add);
    (limits.processes > 0 && least > limits.processes).then(|| {
        format!(
            "processes = {}, and its {} are configured to have {least} at least; some of them will have fewer",
            limits.processes,
            text::count(its.len(), "process group"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, processes: &str) -> GroupConfig {
        let mut config = GroupConfig::new(name, "test");
        config.set("user", "nobody").unwrap();
        config.set("processes", processes).unwrap();
        config
    }

    #[test]
    fn limits_that_do_not_go_with_the_groups_are_said() {
        let mut limits = UserLimits::new("nobody");
        limits.sites = 1;
        limits.processes = 3;
        let groups = [group("a", "2"), group("b", "2..4")];
        let httpd = DefaultAccount { uid: 1, gid: 1 };
        let found = examine(std::slice::from_ref(&limits), &groups, httpd, Some("why"));
        assert_eq!(found.problems.len(), 2, "{:?}", found.problems);
        assert!(
            found.problems[0].ends_with("leaves out `b`"),
            "{:?}",
            found.problems
        );
        assert!(
            found.problems[1].contains("4 at least"),
            "{:?}",
            found.problems
        );
        assert!(found.notes.is_empty(), "nothing needs a control group");
        limits.sites = 2;
        limits.processes = 4;
        limits.memory_max = 1 << 30;
        let nobody = UserLimits::new("wsgid-no-such-user");
        let found = examine(&[limits, nobody], &groups, httpd, Some("why"));
        assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
        assert!(found.problems[0].contains("does not exist"));
        assert!(found.notes[0].contains("[user.nobody]") && found.notes[0].contains("why"));
    }
}
