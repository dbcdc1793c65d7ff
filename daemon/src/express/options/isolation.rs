//! How far the application is kept apart from all else that runs on the machine: the
//! options of a process group of the same names.

use clap::Args;
use serde::Serialize;

#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Isolation")]
pub(crate) struct Isolating {
    /// Keep the application apart from other sites and users: none, private or strict
    #[arg(long, value_name = "PRESET")]
    pub(crate) isolation: Option<String>,
    /// Start with --isolation=strict also where the kernel lacks something
    #[arg(long)]
    pub(crate) isolation_fallback: bool,
    /// /tmp, /var/tmp and /dev/shm of its own: On or Off
    #[arg(long, value_name = "SWITCH")]
    pub(crate) private_tmp: Option<String>,
    /// All is read-only but the working directory and --read-write-paths: On or Off
    #[arg(long, value_name = "SWITCH")]
    pub(crate) protect_system: Option<String>,
    /// Homes, sites and sockets of others are not there: On or Off
    #[arg(long, value_name = "SWITCH")]
    pub(crate) protect_home: Option<String>,
    /// /dev has only what every program needs: On or Off
    #[arg(long, value_name = "SWITCH")]
    pub(crate) private_devices: Option<String>,
    /// /proc shows no processes of others; only root can: On or Off
    #[arg(long, value_name = "SWITCH")]
    pub(crate) protect_proc: Option<String>,
    /// What it may reach and write besides, between colons
    #[arg(long, value_name = "PATHS")]
    pub(crate) read_write_paths: Option<String>,
    /// What it may reach and read besides, between colons
    #[arg(long, value_name = "PATHS")]
    pub(crate) read_only_paths: Option<String>,
    /// What it does not reach, between colons
    #[arg(long, value_name = "PATHS")]
    pub(crate) inaccessible_paths: Option<String>,
    /// Sockets that it may make, such as unix,inet,inet6
    #[arg(long, value_name = "NAMES")]
    pub(crate) restrict_address_families: Option<String>,
    /// TCP ports that it may connect to, such as 443,8000-8010
    #[arg(long, value_name = "PORTS")]
    pub(crate) connect_ports: Option<String>,
    /// System calls that isolation would refuse, by name
    #[arg(long, value_name = "NAMES")]
    pub(crate) allow_system_calls: Option<String>,
}

impl Isolating {
    /// The options of a process group that are given, with their values.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let texts = [
            ("isolation", &self.isolation),
            ("private-tmp", &self.private_tmp),
            ("protect-system", &self.protect_system),
            ("protect-home", &self.protect_home),
            ("private-devices", &self.private_devices),
            ("protect-proc", &self.protect_proc),
            ("read-write-paths", &self.read_write_paths),
            ("inaccessible-paths", &self.inaccessible_paths),
            ("restrict-address-families", &self.restrict_address_families),
            ("connect-ports", &self.connect_ports),
            ("allow-system-calls", &self.allow_system_calls),
        ];
        let given = texts.into_iter();
        let given = given.filter_map(|(name, text)| Some((name, text.as_deref()?)));
        given.chain(
            self.isolation_fallback
                .then_some(("isolation-fallback", "On")),
        )
    }
}
