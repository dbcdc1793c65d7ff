//! Finds and reads the files. A site file that cannot be used is a problem in
//! words and keeps its groups as they were; the other sites never notice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::LogFormat;
use wsgid_protocol::user_limits::UserLimits;

use super::{group, user};
use crate::process::trust;

/// Bytes that a file may have.
const FILE_MAX: u64 = 1 << 20;

/// The process groups that are in force, with the files that define them.
pub(crate) type InForce = BTreeMap<String, String>;

/// `[supervisor]` of `wsgid.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct SupervisorSettings {
    /// The socket that httpd connects to (`WSGIDaemonSocket`).
    #[serde(default = "default_socket")]
    pub(crate) socket: PathBuf,
    /// The user of httpd's children: who may connect.
    pub(crate) httpd_user: String,
    /// Directory of the site files, `*.toml`.
    #[serde(default)]
    pub(crate) sites: Option<PathBuf>,
    /// How its lines are written, and those of groups that say nothing.
    #[serde(default, deserialize_with = "log_format")]
    pub(crate) log_format: LogFormat,
}

fn log_format<'de, D: Deserializer<'de>>(name: D) -> Result<LogFormat, D::Error> {
    LogFormat::named(&String::deserialize(name)?).map_err(D::Error::custom)
}

fn default_socket() -> PathBuf {
    "/run/wsgid/httpd.sock".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Main {
    supervisor: SupervisorSettings,
    #[serde(default)]
    group: BTreeMap<String, toml::Table>,
    #[serde(default)]
    user: BTreeMap<String, toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Site {
    #[serde(default)]
    group: BTreeMap<String, toml::Table>,
    #[serde(default)]
    user: Option<toml::Value>,
}

/// What the files say.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: SupervisorSettings,
    pub(crate) groups: Vec<GroupConfig>,
    /// What users may have at most.
    pub(crate) users: Vec<UserLimits>,
    /// One text per problem.
    pub(crate) problems: Vec<String>,
    /// Origins whose groups stay as they are.
    keep: Vec<String>,
    /// The main file.
    main: String,
    /// Which site files there are could not be told.
    sites_unknown: bool,
}

/// Reads `path` and the site files it names. Of two files that define one group
/// that counts which is in force; else the first.
///
/// # Errors
/// If the main file cannot be used at all.
pub(crate) fn load(path: &Path, in_force: &InForce) -> Result<Loaded, String> {
    if let Some(directory) = path.parent() {
        trust::directory(directory, trust::Sticky::Yes)
            .map_err(|why| format!("`{}`: {why}", path.display()))?;
    }
    let main: Main = parse(path)?;
    let settings = main.supervisor;
    for (key, named) in [
        ("socket", Some(&settings.socket)),
        ("sites", settings.sites.as_ref()),
    ] {
        // The supervisor works in `/`, whatever directory it was started in.
        if let Some(named) = named.filter(|named| !named.is_absolute()) {
            return Err(format!(
                "`{}`: {key} = `{}` is not an absolute path",
                path.display(),
                named.display()
            ));
        }
    }
    let users =
        user::from_tables(&main.user).map_err(|why| format!("`{}`: {why}", path.display()))?;
    let mut loaded = Loaded {
        groups: Vec::new(),
        users,
        problems: Vec::new(),
        keep: Vec::new(),
        main: path.display().to_string(),
        sites_unknown: false,
        settings,
    };
    loaded.take(path, main.group, in_force);
    let sites = loaded
        .settings
        .sites
        .as_deref()
        .map_or(Ok(Vec::new()), site_files)
        .unwrap_or_else(|problem| {
            loaded.problems.push(problem);
            loaded.sites_unknown = true;
            Vec::new()
        });
    for site in sites {
        let tables = parse::<Site>(&site).and_then(|tables| match tables.user {
            Some(_) => Err(format!("`{}`: {}", site.display(), user::NOT_IN_SITES)),
            None => Ok(tables.group),
        });
        match tables {
            Ok(tables) => loaded.take(&site, tables, in_force),
            Err(problem) => {
                loaded.problems.push(problem);
                loaded.keep.push(site.display().to_string());
            }
        }
    }
    Ok(loaded)
}

impl Loaded {
    /// Whether groups of this origin that are in force stay, for nobody can tell
    /// what it says now.
    pub(crate) fn keeps(&self, origin: &str) -> bool {
        self.keep.iter().any(|kept| kept == origin) || (self.sites_unknown && origin != self.main)
    }

    /// Where workers become the user of their group, each has to name one: what runs as
    /// httpd's user because a line was forgotten may speak to every group.
    pub(crate) fn refuse_without_user(&mut self) {
        for group in self.groups.extract_if(.., |group| group.user.is_none()) {
            self.problems.push(format!(
                "`{}`: process group `{}`: it names no user; name the site's with user = '...', or httpd's \
                 user if its code may speak to every process group as httpd does",
                group.origin, group.name
            ));
            self.keep.push(group.origin);
        }
    }

    fn take(&mut self, path: &Path, tables: BTreeMap<String, toml::Table>, in_force: &InForce) {
        let origin = path.display().to_string();
        for (name, table) in tables {
            if let Some(at) = self.groups.iter().position(|group| group.name == name) {
                let stays = in_force.get(&name) == Some(&origin);
                let other = &self.groups[at].origin;
                let (first, second) = if stays {
                    (&origin, other)
                } else {
                    (other, &origin)
                };
                self.problems.push(format!(
                    "`{second}`: process group `{name}` is defined in `{first}` already"
                ));
                if !stays {
                    continue;
                }
                self.groups.swap_remove(at);
            }
            let problem = match group::from_table(&name, &origin, &table) {
                Ok(group) => {
                    let lack = group::serves_nothing(&group);
                    self.groups.push(group);
                    lack
                }
                Err(why) => {
                    self.keep.push(origin.clone());
                    Some(why)
                }
            };
            if let Some(problem) = problem {
                let text = format!("`{origin}`: process group `{name}`: {problem}");
                self.problems.push(text);
            }
        }
    }
}

/// The site files in the order of their names. A missing directory is a
/// problem, an empty one is not.
fn site_files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |why: &dyn std::fmt::Display| format!("sites = `{}`: {why}", directory.display());
    trust::directory(directory, trust::Sticky::No).map_err(|why| failed(&why))?;
    let entries = std::fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|error| failed(&error))?.into_iter();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| is_site(path));
    files.sort();
    Ok(files)
}

fn is_site(path: &Path) -> bool {
    // Editors put what they are about into hidden files beside.
    let name = path.file_name().unwrap_or_default();
    let is_hidden = name.as_encoded_bytes().starts_with(b".");
    !is_hidden && path.extension().is_some_and(|end| end == "toml")
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, String> {
    let name = path.display();
    let failed = |error: std::io::Error| format!("`{name}`: {error}");
    // What is looked at is what is read. Nobody may be there to write into a pipe.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("`{name}` is not a regular file"));
    }
    trust::file(&metadata).map_err(|reason| format!("`{name}` is not used: {reason}"))?;
    let mut text = String::new();
    file.take(FILE_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > FILE_MAX {
        return Err(format!(
            "`{name}` has more than {FILE_MAX} bytes, which no site file needs"
        ));
    }
    toml::from_str(&text).map_err(|error| format!("`{name}`: {}", error.to_string().trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration, and the directory of its sites, which is empty.
    fn without_sites(directory: &Path) -> (PathBuf, PathBuf) {
        let main = directory.join("wsgid.toml");
        let sites = directory.join("sites");
        std::fs::create_dir(&sites).unwrap();
        let text = format!(
            "[supervisor]\nhttpd-user = 'root'\nsites = '{}'\n",
            sites.display()
        );
        std::fs::write(&main, text).unwrap();
        (main, sites)
    }

    #[test]
    fn a_broken_site_does_not_touch_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let sites = dir.path().join("sites");
        std::fs::create_dir(&sites).unwrap();
        let main = dir.path().join("wsgid.toml");
        let text = format!(
            "[supervisor]\nhttpd-user = 'www-data'\nsites = '{}'\n",
            sites.display()
        );
        std::fs::write(&main, text).unwrap();
        let good = "[group.a]\nprocesses = 2\nhome = '/srv/a'\nenv = { X = '1' }\nscripts = ['/srv/a/app.wsgi']\n";
        std::fs::write(sites.join("a.toml"), good).unwrap();
        std::fs::write(sites.join("b.toml"), "[group.b]\nthread = 3\n").unwrap();
        std::fs::write(sites.join("c.toml"), "nonsense").unwrap();
        let loaded = load(&main, &InForce::new()).unwrap();
        assert_eq!(loaded.groups.len(), 1);
        let a = &loaded.groups[0];
        assert_eq!(
            (a.processes, a.env.len(), a.preload_scripts.len()),
            (2, 1, 1)
        );
        assert_eq!(loaded.problems.len(), 2, "{:?}", loaded.problems);
        assert!(
            loaded.problems[0].contains("did you mean `threads`"),
            "{:?}",
            loaded.problems
        );
        assert_eq!(loaded.keep.len(), 2);
        assert!(loaded.keeps(&sites.join("b.toml").display().to_string()));
        assert!(!loaded.keeps(&sites.join("a.toml").display().to_string()));
    }

    #[test]
    fn limits_of_a_user_stand_in_the_main_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (main, sites) = without_sites(dir.path());
        let limits = "[user.shop]\nprocesses = 4\n";
        let with = format!("{}{limits}", std::fs::read_to_string(&main).unwrap());
        std::fs::write(&main, with).unwrap();
        let site = sites.join("a.toml");
        std::fs::write(&site, format!("[group.a]\nthreads = 0\n{limits}")).unwrap();
        let loaded = load(&main, &InForce::new()).unwrap();
        assert_eq!((loaded.users.len(), loaded.users[0].processes), (1, 4));
        assert!(loaded.groups.is_empty() && loaded.keeps(&site.display().to_string()));
        let problem = &loaded.problems[0];
        assert!(
            problem.contains("a.toml") && problem.contains("wsgid.toml alone"),
            "{problem}"
        );
        // A mistake there refuses the whole file: nothing runs without the limit.
        std::fs::write(
            &main,
            "[supervisor]\nhttpd-user = 'root'\n[user.shop]\nsite = 1\n",
        )
        .unwrap();
        assert!(
            load(&main, &InForce::new())
                .unwrap_err()
                .contains("[user.shop]")
        );
    }

    #[test]
    fn a_site_with_a_log_has_there_what_its_requests_write() {
        let dir = tempfile::tempdir().unwrap();
        let (main, sites) = without_sites(dir.path());
        for (more, expected) in [
            ("", false),
            ("log = '/srv/log'", true),
            ("log-file = '/srv/log'", true),
            ("log = 'syslog'", true),
            ("log = '/srv/log'\nrequest-log = false", false),
        ] {
            let text = format!("[group.a]\nthreads = 0\n{more}\n");
            std::fs::write(sites.join("a.toml"), text).unwrap();
            let loaded = load(&main, &InForce::new()).unwrap();
            assert_eq!(loaded.problems, [""; 0]);
            assert_eq!(loaded.groups[0].request_log, expected, "{more}");
        }
    }

    #[test]
    fn a_group_without_a_user_is_refused_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (main, sites) = without_sites(dir.path());
        let path = |name: &str| sites.join(name).display().to_string();
        std::fs::write(path("a.toml"), "[group.a]\nthreads = 0\n").unwrap();
        std::fs::write(
            path("b.toml"),
            "[group.b]\nthreads = 0\nuser = 'www-data'\n",
        )
        .unwrap();
        let mut loaded = load(&main, &InForce::new()).unwrap();
        loaded.refuse_without_user();
        assert_eq!(
            (loaded.groups.len(), loaded.groups[0].name.as_str()),
            (1, "b")
        );
        assert_eq!(loaded.problems.len(), 1);
        assert!(
            loaded.problems[0].contains("process group `a`: it names no user"),
            "{:?}",
            loaded.problems
        );
        assert!(loaded.keeps(&path("a.toml")) && !loaded.keeps(&path("b.toml")));
    }

    #[test]
    fn of_two_files_for_one_group_the_one_in_force_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (main, sites) = without_sites(dir.path());
        let path = |name: &str| sites.join(name).display().to_string();
        std::fs::write(path("shop.toml"), "[group.shop]\nthreads = 2\n").unwrap();
        std::fs::write(path("copy.toml"), "[group.shop]\nthreads = 3\n").unwrap();
        let none = load(&main, &InForce::new()).unwrap();
        assert_eq!((none.groups.len(), none.groups[0].threads), (1, 3));
        let in_force = InForce::from([("shop".to_owned(), path("shop.toml"))]);
        let loaded = load(&main, &in_force).unwrap();
        assert_eq!((loaded.groups.len(), loaded.groups[0].threads), (1, 2));
        assert!(
            loaded.problems[0].starts_with(&format!("`{}`", path("copy.toml"))),
            "{:?}",
            loaded.problems
        );
        // A mistake in it leaves it as it is.
        std::fs::write(path("shop.toml"), "[group.shop]\nthread = 2\n").unwrap();
        let loaded = load(&main, &in_force).unwrap();
        assert!(
            loaded.groups.is_empty() && loaded.keeps(&path("shop.toml")),
            "{:?}",
            loaded.problems
        );
    }

    #[test]
    fn only_regular_visible_files_of_sensible_length_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let (main, sites) = without_sites(dir.path());
        // As editors leave them.
        for name in [
            ".#a.toml",
            ".a.toml.swp",
            "#a.toml#",
            "a.toml~",
            "a.toml.bak",
        ] {
            std::fs::write(sites.join(name), "no TOML at all").unwrap();
        }
        assert_eq!(load(&main, &InForce::new()).unwrap().problems, [""; 0]);
        nix::unistd::mkfifo(&sites.join("pipe.toml"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        std::os::unix::fs::symlink("/dev/zero", sites.join("zero.toml")).unwrap();
        std::fs::write(sites.join("long.toml"), vec![b'#'; 2 << 20]).unwrap();
        let problems = load(&main, &InForce::new()).unwrap().problems;
        assert!(
            problems[0].contains("more than 1048576 bytes"),
            "{problems:?}"
        );
        assert!(
            problems[1..]
                .iter()
                .all(|one| one.ends_with("is not a regular file")),
            "{problems:?}"
        );
        assert_eq!(problems.len(), 3);
    }

    #[test]
    fn sites_that_cannot_be_listed_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("wsgid.toml");
        let text = format!(
            "[supervisor]\nhttpd-user = 'www-data'\nsites = '{}/gone'\n",
            dir.path().display()
        );
        std::fs::write(&main, text).unwrap();
        let loaded = load(&main, &InForce::new()).unwrap();
        assert!(
            loaded.problems[0].contains("No such file"),
            "{:?}",
            loaded.problems
        );
        assert!(loaded.keeps("/etc/wsgid/sites/a.toml"));
        assert!(
            !loaded.keeps(&main.display().to_string()),
            "the main file itself was read"
        );
    }

    #[test]
    fn a_relative_path_would_mean_another_place_after_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("wsgid.toml");
        for (key, more) in [
            ("sites", "sites = 'sites'"),
            ("socket", "socket = 'httpd.sock'"),
        ] {
            std::fs::write(
                &main,
                format!("[supervisor]\nhttpd-user = 'www-data'\n{more}\n"),
            )
            .unwrap();
            let problem = load(&main, &InForce::new()).unwrap_err();
            assert!(
                problem.contains(key) && problem.contains("is not an absolute path"),
                "{problem}"
            );
        }
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("wsgid.toml");
        std::fs::write(&main, "[supervisor]\nhttpd-user = 'www-data'\n").unwrap();
        std::fs::set_permissions(&main, std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .unwrap();
        assert!(
            load(&main, &InForce::new())
                .unwrap_err()
                .contains("chmod go-w")
        );
    }
}
