//! Who a group's workers become: names from the configuration to numbers of
//! the system. Called when a configuration is applied, before anything starts.

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use wsgid_policy::definition::IdentityError;
use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::Identity;

/// The number -1, which httpd has for a user or group that it was not given. The
/// kernel takes it for "leave it as it is".
const NOBODY: u32 = u32::MAX;

/// The account that groups without `user=` run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DefaultAccount {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl DefaultAccount {
    /// Whether httpd was given no `User` or no `Group`: there is no such account.
    pub(crate) const fn is_missing(self) -> bool {
        self.uid == NOBODY || self.gid == NOBODY
    }
}

pub(crate) fn resolve(
    config: &GroupConfig,
    default: DefaultAccount,
) -> Result<Identity, IdentityError> {
    if !Uid::effective().is_root() {
        return own_identity();
    }
    let mut identity = match &config.user {
        Some(name) => find_user(name)?,
        None => account(Uid::from_raw(default.uid), default.gid)?,
    };
    match &config.group {
        Some(name) => identity.gid = find_group(name)?.as_raw(),
        None if config.user.is_none() => identity.gid = default.gid,
        None => {}
    }
    if identity.uid == NOBODY || identity.gid == NOBODY {
        return Err(IdentityError::Nobody);
    }
    identity.groups = supplementary(config, &identity)?;
    identity.change = true;
    if identity.uid == 0 || identity.gid == 0 {
        return Err(IdentityError::Root {
            user: identity.user,
            uid: identity.uid,
            gid: identity.gid,
        });
    }
    Ok(identity)
}

/// Without root there is one identity only; `user=` and `group=` are ignored,
/// as in mod_wsgi.
fn own_identity() -> Result<Identity, IdentityError> {
    let gid = Gid::effective().as_raw();
    let identity = account(Uid::effective(), gid)?;
    Ok(Identity { gid, ..identity })
}

/// The number of `name` or `#number`.
pub(crate) fn uid_of(name: &str) -> Result<u32, IdentityError> {
    find_user(name).map(|account| account.uid)
}

/// The number of the user that a group's workers become.
pub(crate) fn user_of(config: &GroupConfig, default: DefaultAccount) -> Result<u32, IdentityError> {
    let own = Uid::effective();
    if !own.is_root() {
        return Ok(own.as_raw());
    }
    config.user.as_deref().map_or(Ok(default.uid), uid_of)
}

pub(crate) fn socket_uid(config: &GroupConfig) -> Result<Option<u32>, String> {
    let name = config.socket_user.as_ref();
    name.map(|name| uid_of(name).map_err(|error| format!("socket-user=: {error}")))
        .transpose()
}

/// What the system says of an account: no supplementary groups, nothing to change yet.
fn of_user(user: User) -> Identity {
    Identity {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups: Vec::new(),
        user: user.name,
        home: user.dir,
        shell: user.shell,
        change: false,
    }
}

fn lookup(what: &str, errno: nix::Error) -> IdentityError {
    IdentityError::Lookup {
        what: what.to_owned(),
        errno: errno.to_string(),
    }
}

fn find_user(name: &str) -> Result<Identity, IdentityError> {
    if let Some(number) = name.strip_prefix('#') {
        let uid = number.parse().ok().filter(|uid| *uid != NOBODY);
        let uid = uid.ok_or_else(|| IdentityError::NoUser(name.to_owned()))?;
        return account(Uid::from_raw(uid), uid);
    }
    match User::from_name(name) {
        Ok(Some(user)) => Ok(of_user(user)),
        Ok(None) => Err(IdentityError::NoUser(name.to_owned())),
        Err(errno) => Err(lookup(name, errno)),
    }
}

/// The account of a number; one without an entry gets a bare one.
fn account(uid: Uid, gid: u32) -> Result<Identity, IdentityError> {
    match User::from_uid(uid) {
        Ok(Some(user)) => Ok(of_user(user)),
        Ok(None) => Ok(Identity {
            uid: uid.as_raw(),
            gid,
            user: uid.to_string(),
            home: "/".into(),
            ..Identity::default()
        }),
        Err(errno) => Err(lookup(&format!("uid {uid}"), errno)),
    }
}

fn find_group(name: &str) -> Result<Gid, IdentityError> {
    if let Some(number) = name.strip_prefix('#') {
        let gid = number.parse().ok().filter(|gid| *gid != NOBODY);
        return gid
            .map(Gid::from_raw)
            .ok_or_else(|| IdentityError::NoGroup(name.to_owned()));
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(IdentityError::NoGroup(name.to_owned())),
        Err(errno) => Err(lookup(name, errno)),
    }
}

fn supplementary(config: &GroupConfig, identity: &Identity) -> Result<Vec<u32>, IdentityError> {
    let found = match &config.supplementary_groups {
        Some(names) => names
            .iter()
            .map(|name| find_group(name))
            .collect::<Result<Vec<_>, _>>()?,
        None => {
            let name = std::ffi::CString::new(identity.user.as_str()).unwrap_or_default();
            getgrouplist(&name, Gid::from_raw(identity.gid)).unwrap_or_default()
        }
    };
    let found = found.into_iter().map(Gid::as_raw);
    let others = found.filter(|group| *group != identity.gid && *group != 0);
    Ok(others.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: DefaultAccount = DefaultAccount {
        uid: 65534,
        gid: 65534,
    };

    fn with(name: &str, value: &str) -> Result<Identity, IdentityError> {
        let mut config = GroupConfig::new("site", "test");
        config.set(name, value).unwrap();
        resolve(&config, USUAL)
    }

    #[test]
    fn what_does_not_exist_is_named() {
        if !Uid::effective().is_root() {
            assert_eq!(
                with("user", "no-such-user-here").unwrap().uid,
                Uid::effective().as_raw()
            );
            return;
        }
        assert_eq!(
            with("user", "no-such-user-here"),
            Err(IdentityError::NoUser("no-such-user-here".into()))
        );
        assert!(
            with("group", "no-such-group-here")
                .unwrap_err()
                .to_string()
                .contains("no-such-group-here")
        );
    }

    #[test]
    fn a_server_without_user_has_none_for_a_group_either() {
        let plain = GroupConfig::new("site", "test");
        let nobodies = [
            DefaultAccount {
                uid: NOBODY,
                ..USUAL
            },
            DefaultAccount {
                gid: NOBODY,
                ..USUAL
            },
        ];
        for default in nobodies {
            let refused =
                resolve(&plain, default).is_err_and(|error| error == IdentityError::Nobody);
            assert!(refused || !Uid::effective().is_root(), "{default:?}");
        }
        for name in ["user", "group"] {
            let text = with(name, "#4294967295").map_err(|error| error.to_string());
            assert!(
                text.is_err_and(|text| text.contains("#4294967295")) || !Uid::effective().is_root()
            );
        }
    }

    #[test]
    fn root_is_refused() {
        assert!(with("user", "root").is_err() || !Uid::effective().is_root());
    }
}
