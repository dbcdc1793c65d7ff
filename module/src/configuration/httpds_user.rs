//! Whether httpd's own account can be the account of applications: groups
//! without `user=` have no other. Asked by the cross checks of a configuration,
//! so that configtest says what would otherwise fail at the first request.
//! Knows numbers alone; that only root can choose is for the caller.

use wsgid_protocol::GroupConfig;

/// What httpd takes for a `User` or `Group` that is not given, unless it was
/// built with another default: the number -1.
const NOBODY: u32 = u32::MAX;

/// The account of httpd's children.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChildrenAccount {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl ChildrenAccount {
    /// Why a group may not run with this account; `None` if it may, or has an
    /// account of its own.
    pub(crate) fn refuses(self, config: &GroupConfig) -> Option<String> {
        let needs_group = config.group.is_none();
        if config.user.is_some() {
            return None;
        }
        if let Some(missing) = self.missing(needs_group) {
            return Some(format!(
                "the process group `{}` has no user= and would run as httpd's own user; {missing}",
                config.name
            ));
        }
        (needs_group && self.gid == 0).then(|| {
            format!(
                "the process group `{}` would run with httpd's own group, which is root's; applications never run \
                 with it: name another with the directive Group, or with group=",
                config.name
            )
        })
    }

    /// Which directives are missing, and the cure. httpd's children do not start
    /// without them either, and say a number instead of the cause.
    pub(crate) fn missing(self, needs_group: bool) -> Option<String> {
        let (what, cure) = match (self.uid == NOBODY, needs_group && self.gid == NOBODY) {
            (true, true) => (
                "the directives User and Group are missing",
                "`User www-data` and `Group www-data`",
            ),
            (true, false) => ("the directive User is missing", "`User www-data`"),
            (false, true) => ("the directive Group is missing", "`Group www-data`"),
            (false, false) => return None,
        };
        Some(format!(
            "{what}: add {cure}, or whatever account httpd has on this system"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(uid: u32, gid: u32, options: &[(&str, &str)]) -> Option<String> {
        let mut config = GroupConfig::new("site", "test");
        for (name, value) in options {
            config.set(name, value).unwrap();
        }
        ChildrenAccount { uid, gid }.refuses(&config)
    }

    #[test]
    fn what_is_missing_is_named() {
        let text = refusal(NOBODY, NOBODY, &[]).unwrap();
        assert!(
            text.contains("`site`") && text.contains("User and Group are missing"),
            "{text}"
        );
        assert!(
            refusal(NOBODY, 33, &[])
                .unwrap()
                .contains("the directive User is missing")
        );
        assert!(
            refusal(33, NOBODY, &[])
                .unwrap()
                .contains("the directive Group is missing")
        );
        assert!(
            refusal(NOBODY, NOBODY, &[("group", "x")])
                .unwrap()
                .contains("the directive User is missing")
        );
        assert!(refusal(33, 0, &[]).unwrap().contains("root's"));
    }

    #[test]
    fn groups_with_what_they_need_are_fine() {
        assert_eq!(refusal(33, 33, &[]), None);
        assert_eq!(refusal(NOBODY, NOBODY, &[("user", "x")]), None);
        assert_eq!(refusal(33, NOBODY, &[("group", "x")]), None);
        assert_eq!(refusal(33, 0, &[("group", "x")]), None);
    }
}
