//! Names that say which supervisor has made a thing for a group, its control group or its
//! temporary directories: `wsgid-PID-START-SPACE.NAME`, or for a user: `@UID` for the name. Number,
//! start time and name space of processes are the supervisor's, so that its successor (the same
//! process after `reexec`) finds its own, and another knows which of them
//! nobody looks after any more. Pure, but for one look into `/proc`.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;

use crate::process::procfs::start_of;

/// All of ours begin so.
const PREFIX: &str = "wsgid-";
/// Before the number of a user.
const USER: &str = "@";
/// Longest name of a group that is written out; the kernel takes 255 bytes.
const NAME_MAX: usize = 150;

/// A supervisor, past or present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keeper {
    pid: u32,
    /// In ticks since the machine was started.
    start: u64,
    /// Where that number means it: another container's cannot be looked up.
    space: u64,
}

impl Keeper {
    pub(crate) fn this() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            start: start_of(pid).unwrap_or_default(),
            space: own_space(),
        }
    }

    /// Whether it may still be there: the same process, not only the same number.
    pub(crate) fn lives(self) -> bool {
        self.space != own_space() || start_of(self.pid) == Some(self.start)
    }

    /// The directory of one of its groups.
    pub(crate) fn directory(self, group: &str) -> String {
        format!(
            "{PREFIX}{}-{}-{}.{}",
            self.pid,
            self.start,
            self.space,
            escaped(group)
        )
    }

    /// The directory of a user, in which those of its groups are. No group's is called so.
    pub(crate) fn user_directory(self, uid: u32) -> String {
        format!("{}{USER}{uid}", self.directory(""))
    }

    /// The user that has this directory of its own.
    pub(crate) fn user_of(directory: &str) -> Option<u32> {
        let (_, name) = directory.split_once('.')?;
        name.strip_prefix(USER)?.parse().ok()
    }

    /// Whose directory this is, if it is one of ours at all.
    pub(crate) fn of(directory: &str) -> Option<Self> {
        let (keeper, _) = directory.strip_prefix(PREFIX)?.split_once('.')?;
        let mut parts = keeper.split('-');
        let keeper = Self {
            pid: parts.next()?.parse().ok()?,
            start: parts.next()?.parse().ok()?,
            space: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(keeper)
    }
}

/// Letters, digits, `-` and `_` stay; everything else becomes `%XX`, so that no
/// name means another place or one of the kernel's own files. A long name is
/// cut and told apart by a sum.
pub(crate) fn escaped(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            other => drop(write!(out, "%{other:02X}")),
        }
        if out.len() > NAME_MAX {
            // FNV-1a: two long names of one configuration are not to meet by accident.
            let sum = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
                (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            let _ = write!(out, "~{sum:016x}");
            break;
        }
    }
    out
}

/// The number of the own name space of processes.
fn own_space() -> u64 {
    std::fs::metadata("/proc/self/ns/pid")
        .map(|about| about.ino())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_elsewhere() {
        assert_eq!(escaped("shop_1-x"), "shop_1-x");
        assert_eq!(escaped("../a/b.c"), "%2E%2E%2Fa%2Fb%2Ec");
        assert_eq!(escaped("wsgid:default"), "wsgid%3Adefault");
        let one = "a".repeat(400) + "1";
        let two = "a".repeat(400) + "2";
        assert!(escaped(&one).len() < 200 && escaped(&one) != escaped(&two));
        assert!(escaped(&"ü".repeat(300)).len() < 200);
    }

    #[test]
    fn a_directory_says_whose_it_is() {
        let keeper = Keeper::this();
        assert!(keeper.start > 0 && keeper.lives());
        assert_eq!(Keeper::of(&keeper.directory("a.b-7")), Some(keeper));
        let users = keeper.user_directory(1001);
        assert_eq!(
            (Keeper::of(&users), Keeper::user_of(&users)),
            (Some(keeper), Some(1001))
        );
        assert_ne!(keeper.directory("@1001"), users);
        assert_eq!(Keeper::user_of(&keeper.directory("@1001")), None);
        assert!(
            !Keeper {
                start: keeper.start + 1,
                ..keeper
            }
            .lives()
        );
        assert!(
            Keeper {
                start: keeper.start + 1,
                space: 1,
                ..keeper
            }
            .lives(),
            "nobody can tell"
        );
        for other in [
            "wsgid-",
            "wsgid-1-2.x",
            "wsgid-a-b-c.x",
            "wsgid-1-2-3-4.x",
            "user-1-2-3.x",
            "wsgid.main",
            "cpu.idle",
        ] {
            assert_eq!(Keeper::of(other), None, "{other}");
        }
    }
}
