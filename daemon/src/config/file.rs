//! Finds and reads the files. A site file that cannot be used is a problem in
//! words and keeps its groups as they were; the other sites never notice.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wsgid_protocol::GroupConfig;

use super::group;

/// `[supervisor]` of `wsgid.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Settings {
    /// The socket that httpd connects to (`WSGIDaemonSocket`).
    #[serde(default = "default_socket")]
    pub(crate) socket: PathBuf,
    /// The user of httpd's children: who may connect.
    pub(crate) httpd_user: String,
    /// Directory of the site files, `*.toml`.
    #[serde(default)]
    pub(crate) sites: Option<PathBuf>,
}

fn default_socket() -> PathBuf {
    "/run/wsgid/httpd.sock".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Main {
    supervisor: Settings,
    #[serde(default)]
    group: BTreeMap<String, toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Site {
    #[serde(default)]
    group: BTreeMap<String, toml::Table>,
}

/// What the files say.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    pub(crate) groups: Vec<GroupConfig>,
    /// One text per problem.
    pub(crate) problems: Vec<String>,
    /// Origins whose groups stay as they are.
    pub(crate) keep: Vec<String>,
}

/// Reads `path` and the site files it names.
///
/// # Errors
/// If the main file cannot be used at all.
pub(crate) fn load(path: &Path) -> Result<Loaded, String> {
    let main: Main = parse(path)?;
    let mut loaded = Loaded { settings: main.supervisor, groups: Vec::new(), problems: Vec::new(), keep: Vec::new() };
    loaded.take(path, main.group);
    for site in site_files(loaded.settings.sites.as_deref(), &mut loaded.problems) {
        match parse::<Site>(&site) {
            Ok(tables) => loaded.take(&site, tables.group),
            Err(problem) => {
                loaded.problems.push(problem);
                loaded.keep.push(site.display().to_string());
            }
        }
    }
    Ok(loaded)
}

impl Loaded {
    fn take(&mut self, path: &Path, tables: BTreeMap<String, toml::Table>) {
        let origin = path.display().to_string();
        for (name, table) in tables {
            if let Some(other) = self.groups.iter().find(|group| group.name == name) {
                self.problems
                    .push(format!("`{origin}`: process group `{name}` is defined in `{}` already", other.origin));
                continue;
            }
            match group::from_table(&name, &origin, &table) {
                Ok(group) => self.groups.push(group),
                Err(problem) => {
                    self.problems.push(format!("`{origin}`: process group `{name}`: {problem}"));
                    self.keep.push(origin.clone());
                }
            }
        }
    }
}

/// The site files in the order of their names. A missing directory is a
/// problem, an empty one is not.
fn site_files(directory: Option<&Path>, problems: &mut Vec<String>) -> Vec<PathBuf> {
    let Some(directory) = directory else { return Vec::new() };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            problems.push(format!("sites = `{}`: {error}", directory.display()));
            return Vec::new();
        }
    };
    let files = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    files
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, String> {
    let name = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| format!("`{name}`: {error}"))?;
    trusted(&metadata).map_err(|reason| format!("`{name}` is not used: {reason}"))?;
    let text = std::fs::read_to_string(path).map_err(|error| format!("`{name}`: {error}"))?;
    toml::from_str(&text).map_err(|error| format!("`{name}`: {}", error.to_string().trim_end()))
}

/// Whoever may write the file decides whom processes run as.
fn trusted(file: &Metadata) -> Result<(), String> {
    let own = nix::unistd::geteuid().as_raw();
    if file.uid() != 0 && file.uid() != own {
        return Err(format!("it belongs to uid {}; give it to the supervisor's user with chown", file.uid()));
    }
    if file.mode() & 0o022 != 0 {
        return Err("others may write it; take that away with chmod go-w".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_site_does_not_touch_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let sites = dir.path().join("sites");
        std::fs::create_dir(&sites).unwrap();
        let main = dir.path().join("wsgid.toml");
        let text = format!("[supervisor]\nhttpd-user = 'www-data'\nsites = '{}'\n", sites.display());
        std::fs::write(&main, text).unwrap();
        let good = "[group.a]\nprocesses = 2\nhome = '/srv/a'\nenv = { X = '1' }\nscripts = ['/srv/a/app.wsgi']\n";
        std::fs::write(sites.join("a.toml"), good).unwrap();
        std::fs::write(sites.join("b.toml"), "[group.b]\nthread = 3\n").unwrap();
        std::fs::write(sites.join("c.toml"), "nonsense").unwrap();
        let loaded = load(&main).unwrap();
        assert_eq!(loaded.groups.len(), 1);
        let a = &loaded.groups[0];
        assert_eq!((a.processes, a.env.len(), a.preload_scripts.len()), (2, 1, 1));
        assert_eq!(loaded.problems.len(), 2, "{:?}", loaded.problems);
        assert!(loaded.problems[0].contains("did you mean `threads`"), "{:?}", loaded.problems);
        assert_eq!(loaded.keep.len(), 2);
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("wsgid.toml");
        std::fs::write(&main, "[supervisor]\nhttpd-user = 'www-data'\n").unwrap();
        std::fs::set_permissions(&main, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        assert!(load(&main).unwrap_err().contains("chmod go-w"));
    }
}
