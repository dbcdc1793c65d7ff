//! What an application was denied, and which option of its group opens it. Pure: what was
//! seen comes from `trace.rs`, what becomes of it is `load.rs`'s affair.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wsgid_protocol::GroupConfig;
use wsgid_protocol::isolation::{ADDRESS_FAMILIES, IsolationReport, USUAL_FAMILIES};
use wsgid_protocol::readable::escaped;
use wsgid_protocol::text;

use super::calls::Wanted;

/// Something that failed inside of the isolation and would not have outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Denied {
    Path {
        path: String,
        /// The same without links.
        real: String,
        /// The first directory on the way that is not there inside.
        hidden: Option<String>,
        wanted: Wanted,
    },
    /// A kind of sockets, by name.
    Family(String),
    /// A TCP port that was connected to.
    Port(u16),
    /// A socket that no file system has.
    Abstract(String),
    /// A call of the kernel, by name.
    Call(String),
    /// A file that was to be moved or linked to where another file system is inside.
    Move { from: String, to: String },
    /// A process that was to get a signal, by name.
    Signal(String),
}

/// What came of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LoadOutcome {
    #[default]
    Works,
    Raised {
        text: String,
        file: Option<String>,
        line: Option<u32>,
    },
    /// It has no callable of the name, in words.
    Unusable(String),
    /// The process ended.
    Ended(String),
    /// It took too long, and where it was then.
    TooLong(Option<String>),
    /// There was no load.
    NotEntered(String),
}

/// What was seen of a load.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) loaded: LoadOutcome,
    pub(super) report: IsolationReport,
    /// Whether it could be seen what is denied.
    pub(super) traced: bool,
    pub(super) denied: Vec<Denied>,
    /// Which of them came last.
    pub(super) last: Option<usize>,
}

impl Seen {
    /// As many different ones are told.
    pub(super) const MOST: usize = 200;
}

/// What one value of an option opens.
#[derive(Debug)]
pub(super) struct Opening {
    /// In words: what is denied, and what opens it.
    pub(super) text: String,
    /// Those that it opens.
    pub(super) denied: Vec<usize>,
}

/// One opening for those that belong together.
pub(super) fn openings(denied: &[Denied], config: &GroupConfig) -> Vec<Opening> {
    let mut clusters: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, one) in denied.iter().enumerate() {
        clusters.entry(key(one)).or_default().push(index);
    }
    let mut openings: Vec<Opening> = clusters
        .into_values()
        .filter_map(|indices| opening(denied, indices, config))
        .collect();
    openings.sort_by_key(|opening| opening.denied.first().copied());
    openings
}

/// The option for a path: the kernel's own trees are shown whole or not.
fn option_for(real: &str, wanted: Wanted) -> &'static str {
    let below = |tree: &str| Path::new(real).starts_with(tree);
    if below("/proc") {
        "protect-proc=Off"
    } else if below("/dev") && !below("/dev/shm") {
        "private-devices=Off"
    } else if wanted >= Wanted::Write {
        "read-write-paths="
    } else {
        "read-only-paths="
    }
}

/// What is the same for all that one opening is to open.
fn key(denied: &Denied) -> String {
    /// As many directories have to be the same where nothing says which are hidden.
    const SAME: usize = 4;
    let Denied::Path {
        real,
        hidden,
        wanted,
        ..
    } = denied
    else {
        return format!("{denied:?}");
    };
    let option = option_for(real, *wanted);
    if !option.ends_with('=') {
        return option.to_owned();
    }
    let directory = Path::new(real).parent().unwrap_or(Path::new("/"));
    let first: PathBuf = directory.components().take(SAME).collect();
    let place = hidden
        .clone()
        .unwrap_or_else(|| first.display().to_string());
    format!("{option}{place}")
}

fn opening(denied: &[Denied], indices: Vec<usize>, config: &GroupConfig) -> Option<Opening> {
    let text = match denied.get(*indices.first()?)? {
        first @ Denied::Path { .. } => path_text(first, &indices, &|at| denied.get(at), config)?,
        Denied::Family(number) if !ADDRESS_FAMILIES.contains(&&**number) => format!(
            "sockets of the family {} cannot be made, and no option allows them",
            escaped(number.as_bytes())
        ),
        Denied::Family(name) => {
            let mut names = config.restrict_address_families.clone();
            if names.is_empty() {
                names = USUAL_FAMILIES.map(str::to_owned).to_vec();
            }
            names.push(name.clone());
            format!(
                "sockets of the family `{name}` cannot be made; restrict-address-families={} allows them",
                names.join(",")
            )
        }
        Denied::Port(port) => format!(
            "TCP port {port} cannot be connected to; one more in connect-ports= opens it: {port}"
        ),
        Denied::Abstract(name) => format!(
            "the abstract socket `{}` of another process cannot be connected to; a socket with a path can, \
             and isolation=none opens this one",
            escaped(name.as_bytes())
        ),
        Denied::Move { from, to } => {
            let [from, to] = [from, to].map(|path| escaped(path.as_bytes()));
            let way = if is_temporary(&from) || is_temporary(&to) {
                "make it in the directory that it is for, or private-tmp=Off opens this way"
            } else {
                "make it in the directory that it is for"
            };
            format!(
                "`{from}` cannot be moved or linked to `{to}`, which is another file system in the isolation; {way}"
            )
        }
        Denied::Signal(name) => format!(
            "the process `{}`, which is not the site's, cannot be sent signals; isolation=none allows it",
            escaped(name.as_bytes())
        ),
        Denied::Call(name) => {
            format!("the system call `{name}` is refused; allow-system-calls={name} allows it")
        }
    };
    Some(Opening {
        text,
        denied: indices,
    })
}

fn path_text<'d>(
    first: &Denied,
    indices: &[usize],
    at: &impl Fn(usize) -> Option<&'d Denied>,
    config: &GroupConfig,
) -> Option<String> {
    let Denied::Path {
        path, real, wanted, ..
    } = first
    else {
        return None;
    };
    let mut name = format!("`{}`", escaped(path.as_bytes()));
    if path != real {
        name = format!("{name} (`{}`)", escaped(real.as_bytes()));
    }
    let cannot = match wanted {
        Wanted::See => "is not there for the site",
        Wanted::Read => "cannot be read",
        Wanted::Execute => "cannot be run",
        Wanted::Connect => "cannot be connected to",
        Wanted::Write => "cannot be written",
        Wanted::Make => "cannot be made, changed or removed",
    };
    let option = option_for(real, *wanted);
    let wanted_places = indices.iter().filter_map(|index| match at(*index)? {
        Denied::Path { real, wanted, .. } => Some((opened(real, *wanted), *wanted)),
        _ => None,
    });
    let wanted_places: Vec<_> = wanted_places.collect();
    // A directory is seen once anything in it is.
    let is_seen = |at: &PathBuf| {
        let mut others = wanted_places.iter();
        others.any(|(other, _)| other != at && other.starts_with(at))
    };
    let places = wanted_places.iter();
    let places = places.filter(|(at, wanted)| *wanted != Wanted::See || !is_seen(at));
    let places = few(places.map(|(at, _)| at.clone()).collect());
    let others = match indices.len() {
        1 => String::new(),
        count => format!(", nor {}", text::count(count - 1, "other path")),
    };
    let real = Path::new(real);
    let named = config.inaccessible_paths.iter();
    if let Some(named) = named.clone().find(|named| real.starts_with(named)) {
        return Some(format!(
            "{name} {cannot}{others}: inaccessible-paths= names `{}`",
            named.display()
        ));
    }
    let value = if option.ends_with('=') {
        let places = places.iter().map(|place| place.to_string_lossy());
        escaped(places.collect::<Vec<_>>().join(":").as_bytes())
    } else {
        String::new()
    };
    Some(format!("{name} {cannot}{others}; {option}{value} opens it"))
}

fn is_temporary(path: &str) -> bool {
    let mut all = ["/tmp", "/var/tmp", "/dev/shm"].into_iter();
    all.any(|directory| Path::new(path).starts_with(directory))
}

/// The least that has to be named: what is made or removed is so in its directory.
fn opened(real: &str, wanted: Wanted) -> PathBuf {
    let path = Path::new(real);
    let directory = path.parent().filter(|_| wanted == Wanted::Make);
    directory.unwrap_or(path).to_owned()
}

/// Not more than that: directories in the place of what is deep in them.
fn few(mut places: BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    const FEW: usize = 3;
    let depth = |place: &PathBuf| place.components().count();
    loop {
        let all = places.clone();
        places.retain(|place| {
            let above = |one: &PathBuf| one != place && place.starts_with(one);
            !all.iter().any(above)
        });
        let deepest = places.iter().map(depth).max().unwrap_or(0);
        if places.len() <= FEW || deepest <= 2 {
            return places;
        }
        let parent = |place: PathBuf| match place.parent() {
            Some(parent) if depth(&place) == deepest => parent.to_owned(),
            _ => place,
        };
        places = places.into_iter().map(parent).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str, hidden: Option<&str>, wanted: Wanted) -> Denied {
        Denied::Path {
            path: path.to_owned(),
            real: path.to_owned(),
            hidden: hidden.map(str::to_owned),
            wanted,
        }
    }

    fn texts(denied: &[Denied], config: &GroupConfig) -> Vec<String> {
        openings(denied, config)
            .into_iter()
            .map(|opening| opening.text)
            .collect()
    }

    #[test]
    fn each_has_the_option_that_opens_it() {
        let config = GroupConfig::new("site", "test");
        let denied = [
            path("/srv/db/s.sock", Some("/srv/db"), Wanted::Connect),
            path("/data/shop.db", None, Wanted::Make),
            path("/data/log", None, Wanted::Write),
            path("/proc/7/status", Some("/proc/7"), Wanted::Read),
            path("/dev/fuse", Some("/dev/fuse"), Wanted::Write),
            Denied::Family("packet".to_owned()),
            Denied::Port(8080),
            Denied::Call("io_uring_setup".to_owned()),
        ];
        assert_eq!(
            texts(&denied, &config),
            [
                "`/srv/db/s.sock` cannot be connected to; read-only-paths=/srv/db/s.sock opens it",
                "`/data/shop.db` cannot be made, changed or removed, nor 1 other path; read-write-paths=/data opens it",
                "`/proc/7/status` cannot be read; protect-proc=Off opens it",
                "`/dev/fuse` cannot be written; private-devices=Off opens it",
                "sockets of the family `packet` cannot be made; \
                 restrict-address-families=unix,inet,inet6,netlink,packet allows them",
                "TCP port 8080 cannot be connected to; one more in connect-ports= opens it: 8080",
                "the system call `io_uring_setup` is refused; allow-system-calls=io_uring_setup allows it",
            ]
        );
    }

    #[test]
    fn what_is_in_one_place_is_opened_by_one_path_and_no_more_than_that() {
        let config = GroupConfig::new("site", "test");
        let below = |name: &str| {
            path(
                &format!("/home/bob/venv/lib/{name}"),
                Some("/home/bob"),
                Wanted::Read,
            )
        };
        let denied = ["a/x.py", "b", "b/y.py", "c/z.py", "c/d/e/f.py"].map(below);
        assert_eq!(
            texts(&denied[..3], &config),
            [
                "`/home/bob/venv/lib/a/x.py` cannot be read, nor 2 other paths; \
                 read-only-paths=/home/bob/venv/lib/a/x.py:/home/bob/venv/lib/b opens it"
            ]
        );
        let all = texts(&denied, &config);
        assert!(
            all[0].ends_with("; read-only-paths=/home/bob/venv/lib/a:/home/bob/venv/lib/b:/home/bob/venv/lib/c opens it"),
            "{all:?}"
        );
        let apart = [
            path("/var/lib/one/a", None, Wanted::Read),
            path("/var/lib/two/b", None, Wanted::Read),
        ];
        assert_eq!(texts(&apart, &config).len(), 2);
    }

    #[test]
    fn directories_on_the_way_are_not_opened() {
        let config = GroupConfig::new("site", "test");
        let hidden = Some("/home/bob");
        let denied = [
            path("/home/bob", hidden, Wanted::See),
            path("/home/bob/venv", hidden, Wanted::See),
            path("/home/bob/venv/lib", hidden, Wanted::Read),
        ];
        let texts = texts(&denied, &config);
        assert!(
            texts[0].ends_with("; read-only-paths=/home/bob/venv/lib opens it"),
            "{texts:?}"
        );
    }

    #[test]
    fn what_the_site_itself_has_closed_is_said_to_be() {
        let mut config = GroupConfig::new("site", "test");
        config.set("inaccessible-paths", "/data/keys").unwrap();
        let denied = [path("/data/keys/a", None, Wanted::Read)];
        assert_eq!(
            texts(&denied, &config),
            ["`/data/keys/a` cannot be read: inaccessible-paths= names `/data/keys`"]
        );
    }
}
