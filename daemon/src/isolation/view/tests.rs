//! What a site reaches, with real directories and links.

use std::fs::{create_dir_all, write};
use std::os::unix::fs::symlink;

use super::*;

/// Sites in a directory beside each other, as their owner sees them.
struct Sites {
    root: tempfile::TempDir,
    own: GroupConfig,
    others: Vec<PathBuf>,
}

impl Sites {
    fn new() -> Self {
        // Not below a directory that sites have of their own.
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/isolation");
        create_dir_all(&base).unwrap();
        let root = tempfile::tempdir_in(base.canonicalize().unwrap()).unwrap();
        let sites = Self {
            own: GroupConfig::new("own", "test:1"),
            others: Vec::new(),
            root,
        };
        for directory in ["own", "other", "shared"] {
            create_dir_all(sites.path(directory)).unwrap();
        }
        sites
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    fn set(&mut self, option: &str, below: &str) {
        let path = self.path(below);
        self.own.set(option, path.to_str().unwrap()).unwrap();
    }

    fn view(&self) -> Result<View, String> {
        let places = IsolationPlaces {
            others: self.others.clone(),
            ..IsolationPlaces::default()
        };
        let identity = Identity {
            change: false,
            home: "/nowhere".into(),
            ..Identity::default()
        };
        View::of(&self.own, &identity, &places, Wants::of(&self.own))
    }

    fn is_shown(&self, below: &str, writable: bool) -> bool {
        let path = self.path(below);
        let view = self.view().unwrap();
        let mut shown = view.shown.iter();
        shown.any(|one| one.path == path && one.writable == writable)
    }
}

fn private() -> Sites {
    let mut sites = Sites::new();
    sites.own.set("isolation", "private").unwrap();
    sites.set("home", "own");
    sites
}

#[test]
fn what_is_beside_the_home_is_covered() {
    let sites = private();
    let view = sites.view().unwrap();
    assert!(view.covers.contains(&sites.path("")), "{view:?}");
    assert!(sites.is_shown("own", true));
    assert!(!sites.is_shown("other", true) && !sites.is_shown("other", false));
}

#[test]
fn only_named_paths_are_written_under_strict() {
    let mut sites = private();
    create_dir_all(sites.path("own/media")).unwrap();
    sites.own.set("isolation", "strict").unwrap();
    sites.set("read-write-paths", "own/media");
    assert!(sites.is_shown("own", false) && sites.is_shown("own/media", true));
}

#[test]
fn a_link_that_the_site_could_exchange_opens_nothing() {
    let mut sites = private();
    symlink(sites.path("other"), sites.path("own/media")).unwrap();
    sites.set("read-write-paths", "own/media");
    let why = sites.view().unwrap_err();
    let other = sites.path("other");
    assert!(why.contains("could exchange"), "{why}");
    assert!(
        why.contains(&format!("name `{}`", other.display())),
        "{why}"
    );
    sites.set("read-write-paths", "other");
    assert!(sites.is_shown("other", true), "what is named is reached");
}

#[test]
fn a_link_of_a_deployment_stays_a_link() {
    let mut sites = private();
    for release in ["shop/releases/1", "shop/releases/2"] {
        create_dir_all(sites.path(release)).unwrap();
    }
    symlink("releases/1", sites.path("shop/current")).unwrap();
    sites.set("home", "shop/current");
    assert!(sites.is_shown("shop", false), "{:?}", sites.view());
    assert!(sites.is_shown("shop/releases/1", true));
}

#[test]
fn a_virtual_environment_shows_its_installation_and_nothing_else() {
    let mut sites = private();
    create_dir_all(sites.path("own/venv/bin")).unwrap();
    create_dir_all(sites.path("shared/python/lib/python3.11")).unwrap();
    write(sites.path("shared/python/lib/python3.11/os.py"), "").unwrap();
    let settings = |bin: &str| format!("home = {}\n", sites.path(bin).display());
    write(
        sites.path("own/venv/pyvenv.cfg"),
        settings("shared/python/bin"),
    )
    .unwrap();
    let elsewhere = settings("other/bin");
    sites.set("python-home", "own/venv");
    assert!(sites.is_shown("shared/python", false), "{:?}", sites.view());
    // The site writes its environment as it likes.
    write(sites.path("own/venv/pyvenv.cfg"), elsewhere).unwrap();
    assert!(!sites.is_shown("other", false), "{:?}", sites.view());
}

#[test]
fn a_site_of_others_within_the_own_is_hidden() {
    let mut sites = private();
    create_dir_all(sites.path("own/inner")).unwrap();
    sites.others.push(sites.path("own/inner"));
    let view = sites.view().unwrap();
    assert!(view.hidden.contains(&sites.path("own/inner")), "{view:?}");
}

#[test]
fn the_order_of_what_is_written_opens_nothing() {
    let mut sites = private();
    create_dir_all(sites.path("own/x")).unwrap();
    symlink(sites.path("other"), sites.path("own/x/sub")).unwrap();
    // In another order than they lie in each other.
    let named = [sites.path("own/x/sub"), sites.path("own")];
    let named = named.map(|path| path.display().to_string()).join(":");
    sites.own.set("read-write-paths", &named).unwrap();
    sites.own.set("isolation", "strict").unwrap();
    let why = sites.view().unwrap_err();
    assert!(why.contains("could exchange"), "{why}");
}

#[test]
fn a_home_by_a_link_that_the_site_writes_leads_nowhere_else() {
    let mut sites = private();
    create_dir_all(sites.path("own/releases/1")).unwrap();
    symlink("releases/1", sites.path("own/current")).unwrap();
    sites.set("home", "own/current");
    sites.set("read-write-paths", "own");
    assert!(sites.is_shown("own", true), "{:?}", sites.view());
    std::fs::remove_file(sites.path("own/current")).unwrap();
    symlink(sites.path("other"), sites.path("own/current")).unwrap();
    let why = sites.view().unwrap_err();
    assert!(why.contains("home="), "{why}");
}

#[test]
fn a_directory_of_scripts_is_no_file_in_the_one_above() {
    let mut sites = Sites::new();
    sites.own.set("isolation", "private").unwrap();
    let directory = sites.path("own");
    sites.own.runs.add_file(directory.to_str().unwrap());
    assert!(sites.is_shown("own", true), "{:?}", sites.view());
    let view = sites.view().unwrap();
    assert!(
        view.shown.iter().all(|one| one.path != sites.path("")),
        "{view:?}"
    );
}

#[test]
fn what_a_worker_says_it_has_loaded_opens_nothing() {
    let mut sites = private();
    sites
        .own
        .preload_scripts
        .push(wsgid_protocol::config::Preload {
            script: sites.path("other/x.py"),
            application_group: String::new(),
            callable: Some(String::new()),
        });
    assert!(!sites.is_shown("other", true) && !sites.is_shown("other", false));
}

#[test]
fn what_lies_behind_a_link_of_the_sites_is_covered_too() {
    let mut sites = private();
    for directory in ["far/own", "far/other"] {
        create_dir_all(sites.path(directory)).unwrap();
    }
    symlink(sites.path("far/own"), sites.path("link")).unwrap();
    sites.set("home", "link");
    let view = sites.view().unwrap();
    assert!(
        view.covers
            .iter()
            .any(|one| sites.path("far").starts_with(one)),
        "{view:?}"
    );
    assert!(sites.is_shown("far/own", true), "{view:?}");
}

#[test]
fn a_site_of_others_chooses_nothing_that_others_lose() {
    let mut sites = private();
    for path in ["/etc", "/", "/usr/lib", "/var/lib"] {
        sites.others.push(path.into());
    }
    let view = sites.view().unwrap();
    for path in ["/etc", "/", "/usr", "/var", "/var/lib"] {
        assert!(!view.covers.contains(&path.into()), "{view:?}");
        assert!(!view.hidden.contains(&path.into()), "{view:?}");
    }
}
