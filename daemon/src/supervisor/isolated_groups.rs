//! What isolated groups need of the supervisor: directories of their own, and what their
//! launchers say is in force. `isolation` does what needs the whole supervisor.

use std::collections::BTreeMap;
use std::iter;
use std::path::PathBuf;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::isolation::{IsolationReport, IsolationStatus};

use super::groups::ProcessGroup;
use super::workers::cut;
use crate::isolation::neighbours::Neighbours;
use crate::isolation::temporary::TemporaryDirectories;
use crate::process::identity::{self, DefaultAccount};
use wsgid_policy::ids::WorkerId;

/// Restrictions that a report may name, and bytes of each text: it comes by the socket
/// that is the site's a moment later.
const PARTS_MAX: usize = 32;
const TEXT_MAX: usize = 512;

/// What isolated groups need.
pub(super) struct IsolatedGroups {
    pub(super) directories: TemporaryDirectories,
    /// Sockets that commands and requests come by.
    pub(super) sockets: Vec<PathBuf>,
    /// Processes whose launcher has not said yet what is in force, and their groups.
    pub(super) awaited: BTreeMap<WorkerId, String>,
}

impl IsolatedGroups {
    pub(super) fn new(sockets: Vec<PathBuf>) -> Self {
        Self {
            directories: TemporaryDirectories::new(),
            sockets,
            awaited: BTreeMap::new(),
        }
    }
}

/// Names in each isolated definition what sites of the same user have that isolation
/// would not hide by itself: its workers are replaced when that changes. `kept`: others
/// that stay in force.
pub(super) fn keep_apart(new: &mut [GroupConfig], kept: &[&GroupConfig], default: DefaultAccount) {
    let found = if new.iter().any(GroupConfig::is_isolated) {
        far_from_each(new, kept, default)
    } else {
        Vec::new()
    };
    let found = found.into_iter().chain(iter::repeat(Vec::new()));
    for (config, apart_from) in new.iter_mut().zip(found) {
        config.apart_from = apart_from;
    }
}

fn far_from_each(
    new: &[GroupConfig],
    kept: &[&GroupConfig],
    default: DefaultAccount,
) -> Vec<Vec<PathBuf>> {
    let mut users = BTreeMap::new();
    let mut sites = BTreeMap::<Result<u32, &str>, Vec<&GroupConfig>>::new();
    for config in new.iter().chain(kept.iter().copied()) {
        let name = config.user.as_deref();
        let user = users.entry(name).or_insert_with(|| {
            // Of a user that nobody can look up now, the name is known.
            identity::user_of(config, default).map_err(|_| name.unwrap_or_default())
        });
        sites.entry(*user).or_default().push(config);
    }
    let neighbours: BTreeMap<_, Neighbours<'_>> = sites
        .into_iter()
        .map(|(user, sites)| (user, Neighbours::of(sites)))
        .collect();
    let far = new.iter().map(|config| {
        let user = users.get(&config.user.as_deref())?;
        let isolated = config.is_isolated().then_some(config)?;
        Some(neighbours.get(user)?.far_from(isolated))
    });
    far.map(Option::unwrap_or_default).collect()
}

pub(super) fn bounded(report: &IsolationReport) -> IsolationReport {
    let bound = |texts: &[String]| {
        let texts = texts.iter().take(PARTS_MAX);
        texts.map(|text| cut(text.clone(), TEXT_MAX)).collect()
    };
    IsolationReport {
        in_force: bound(&report.in_force),
        missing: bound(&report.missing),
    }
}

/// What the status of a group says.
pub(super) fn status(group: &ProcessGroup) -> Option<IsolationStatus> {
    let config = &group.definition.config;
    config.is_isolated().then(|| IsolationStatus {
        preset: config.isolation,
        in_force: group.isolation.in_force.clone(),
        missing: group.isolation.missing.clone(),
    })
}

#[cfg(test)]
mod tests {
    use nix::unistd::Uid;

    use super::*;

    const DEFAULT: DefaultAccount = DefaultAccount {
        uid: 65534,
        gid: 65534,
    };

    fn site(home: &str, user: Option<&str>) -> GroupConfig {
        let mut config = GroupConfig::new(home, "test:1");
        for (name, value) in [("isolation", "private"), ("home", home)] {
            config.set(name, value).unwrap();
        }
        config.user = user.map(str::to_owned);
        config
    }

    #[test]
    fn one_user_by_other_names_is_one_user() {
        let mut plain = site("/opt/none", None);
        plain.isolation = wsgid_protocol::isolation::Isolation::None;
        let mut groups = [
            site("/opt/name", Some("nobody")),
            site("/opt/number", Some("#65534")),
            plain,
            site("/opt/other", Some("#65533")),
        ];
        keep_apart(&mut groups, &[], DEFAULT);
        let others = |names: &[&str]| -> Vec<PathBuf> { names.iter().map(PathBuf::from).collect() };
        let [name, number, plain, other] = groups.map(|config| config.apart_from);
        assert_eq!(plain, others(&[]));
        if Uid::effective().is_root() {
            assert_eq!(name, others(&["/opt/none", "/opt/number"]));
            assert_eq!(number, others(&["/opt/name", "/opt/none"]));
            assert_eq!(other, others(&[]));
        } else {
            assert_eq!(other, others(&["/opt/name", "/opt/none", "/opt/number"]));
        }
    }

    #[test]
    fn what_stays_in_force_is_compared_too() {
        let mut both = [site("/opt/a", None), site("/opt/b", None)];
        keep_apart(&mut both, &[], DEFAULT);
        let [mut a, b] = both;
        let before = a.apart_from.clone();
        assert_eq!(before, [PathBuf::from("/opt/b")]);
        keep_apart(std::slice::from_mut(&mut a), &[&b], DEFAULT);
        assert_eq!(a.apart_from, before);
    }
}
