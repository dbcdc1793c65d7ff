//! The sites of a case: who attacks, and whom.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wsgid_tests::{Json, Python, TestUser, site, users};

use crate::places::{self, Directory, Places};

/// What `isolation=` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preset {
    None,
    Private,
    Strict,
}

impl Preset {
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Private, Self::Strict];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Private => "private",
            Self::Strict => "strict",
        }
    }

    /// The words for a group whose home this is.
    pub(crate) fn options(self, home: &Path) -> String {
        match self {
            Self::None => String::new(),
            Self::Private => "isolation=private".to_owned(),
            // Where the kernel lacks something, the status says so.
            Self::Strict => format!(
                "isolation=strict isolation-fallback=On read-write-paths={}",
                home.display()
            ),
        }
    }
}

/// One site, and where it has what.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) user: Option<TestUser>,
    pub(crate) preset: Preset,
    pub(crate) secret: String,
    pub(crate) home: PathBuf,
    pub(crate) python_home: PathBuf,
    pub(crate) etc: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) elsewhere: PathBuf,
    in_home: PathBuf,
    in_var_www: PathBuf,
    unnamed: [PathBuf; 2],
    key: u32,
    queue: String,
    _bus: Directory,
}

impl Site {
    /// A site of those of `tests/apps/isolation`: `victim` or `attacker`.
    pub(crate) fn make(
        places: &Places,
        name: &str,
        application: &str,
        user: Option<&TestUser>,
        preset: Preset,
    ) -> Self {
        let secret = format!("secret-of-{name}-{}", std::process::id());
        let own = places.sites.of(name, user);
        let home = places.sites.of(&format!("{name}/site"), user);
        places::mode(&home, 0o711);
        for entry in fs::read_dir(site::apps().join("isolation")).expect("it is there") {
            let path = entry.expect("it can be read").path();
            if path.extension().is_none_or(|extension| extension != "py") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a script is text");
            let file = path.file_name().expect("it has a name");
            places::write(&home.join(file), &text, 0o644, user);
        }
        let script = format!("# {secret}\nfrom {application} import application\n");
        let settings = format!("SECRET = '{secret}'\n");
        let environment = format!("SITE_SECRET={secret}\n");
        places::write(&home.join("wsgi.py"), &script, 0o644, user);
        places::write(&home.join("settings.py"), &settings, 0o644, user);
        places::write(&home.join("site.env"), &environment, 0o600, user);
        let [elsewhere, in_home, in_var_www] =
            [&places.elsewhere, &places.homes, &places.www].map(|place| place.of(name, user));
        let unnamed = [&places.unnamed, &places.var].map(|place| place.of(name, user));
        for directory in &unnamed {
            places::write(&directory.join("settings.py"), &settings, 0o644, user);
        }
        places::write(&elsewhere.join("settings.py"), &settings, 0o644, user);
        places::write(&elsewhere.join(&secret), "", 0o644, user);
        places::write(&in_home.join("profile"), &settings, 0o644, user);
        places::write(&in_var_www.join("settings.py"), &settings, 0o644, user);
        let etc = places.etc.path().join(format!("{name}.env"));
        places::write(&etc, &environment, 0o640, None);
        if let Some(user) = user.filter(|_| users::is_root()) {
            std::os::unix::fs::chown(&etc, None, Some(user.gid)).expect("root can do that");
        }
        let bus = Directory::below(&match user {
            Some(user) => format!("/run/user/{}", user.uid),
            None => "/run/user/0".to_owned(),
        });
        let bus_of_user = bus.of("systemd", user);
        places::mode(&bus_of_user, 0o700);
        let sockets = serde_json::json!({
            "tmp": format!("/tmp/{}.sock", planted(places, name)),
            "run": places.run.of(name, user).join("socket"),
            "beside": own.join("socket"),
            "bus": bus_of_user.join("bus"),
        });
        let known = planted(places, name);
        let number = known.bytes().fold(7_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        let values = serde_json::json!({
            "sockets": sockets,
            "abstract": planted(places, name),
            "datagram": format!("{}-d", planted(places, name)),
            "temporary": format!("/tmp/{}.temporary", planted(places, name)),
            "key": number >> 1,
            "queue": known,
            "keyring": planted(places, name),
        });
        places::write(&home.join("places.json"), &values.to_string(), 0o644, user);
        Self {
            name: name.to_owned(),
            user: user.cloned(),
            preset,
            secret,
            log: places.log.of(name, user).join("site.log"),
            home,
            python_home: Python::any().home.clone(),
            etc,
            elsewhere,
            in_home,
            in_var_www,
            unnamed,
            key: number >> 1,
            queue: known,
            _bus: bus,
        }
    }

    /// The options of its group, with those that name its user, and more of them.
    pub(crate) fn options(&self, identity: &str, more: &str) -> String {
        let home = self.home.display();
        let python_path = if more.contains("python-path=") {
            String::new()
        } else {
            format!("python-path={home}")
        };
        let directories = if more.contains("script-directories=") {
            String::new()
        } else {
            format!("script-directories={}", self.elsewhere.display())
        };
        format!(
            "processes=1 threads=4 {identity} home={home} {python_path} python-home={} env-file={} log-file={} \
             {directories} display-name={} {} {more}",
            self.python_home.display(),
            self.etc.display(),
            self.log.display(),
            self.name,
            self.preset.options(&self.home),
        )
    }

    /// What an attacker is told, with what the site says of itself.
    pub(crate) fn described(&self, state: Json, url: String) -> Json {
        let mut all = state;
        let uid = self
            .user
            .as_ref()
            .map_or_else(|| nix::unistd::geteuid().as_raw(), |user| user.uid);
        let own = serde_json::json!({
            "name": self.name,
            "secret": self.secret,
            "url": url,
            "uid": uid,
            "home": self.home,
            "etc": self.etc,
            "log": self.log,
            "elsewhere": self.elsewhere,
            "in_home": self.in_home,
            "in_var_www": self.in_var_www,
            "unnamed": self.unnamed,
            "spare": format!("{}-spare", self.name),
        });
        let (all_map, own_map) = (all.as_object_mut(), own.as_object());
        let all_map = all_map.expect("a state is a map");
        all_map.extend(own_map.expect("it is a map").clone());
        all
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let mut command = Command::new(&Python::any().program);
        command
            .arg("-B")
            .arg(site::apps().join("isolation/clean.py"));
        let _ = command.arg(self.key.to_string()).arg(&self.queue).status();
    }
}

/// A name that no other run of the tests uses.
fn planted(places: &Places, name: &str) -> String {
    let run = places.sites.path().file_name().expect("it has a name");
    format!("{}-{name}", run.to_string_lossy())
}
