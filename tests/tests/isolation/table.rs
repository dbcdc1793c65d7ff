//! The attacks of `tests/apps/isolation`, and which of them are possible with which preset: what
//! the suite asserts, and what `page` prints.

/// What keeps an attack from its aim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// Homes, sites and sockets of others are not there.
    Home,
    /// Which files it may open is listed.
    Files,
    /// Its own temporary directories.
    Tmp,
    /// All but its own is read-only.
    System,
    /// Its own `/dev`.
    Devices,
    /// Processes of others are not in `/proc`.
    Proc,
    /// Its own name space for queues and shared memory.
    Ipc,
    /// The kernel lets it act on its own processes alone.
    Landlock,
    /// Its system calls are filtered.
    Seccomp,
    /// The address families that it may use are listed.
    Families,
    /// The limit for core files is zero.
    Limit,
    /// What every worker has, with `isolation=none` too.
    Always,
    /// Nothing.
    Nothing,
}

impl Means {
    /// As the page says it.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Home => "`protect-home`",
            Self::Files => "landlock: files",
            Self::Tmp => "`private-tmp`",
            Self::System => "`protect-system`",
            Self::Devices => "`private-devices`",
            Self::Proc => "`protect-proc`",
            Self::Ipc => "IPC name space",
            Self::Landlock => "landlock",
            Self::Seccomp => "system calls",
            Self::Families => "address families",
            Self::Limit => "limit",
            Self::Always => "user, `no_new_privs`",
            Self::Nothing => "–",
        }
    }

    /// As the status names what is in force and what is missing.
    pub(crate) const fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Home => &["protect-home"],
            Self::Files => &["files"],
            Self::Tmp => &["private-tmp"],
            Self::System => &["protect-system"],
            Self::Devices => &["private-devices"],
            Self::Proc => &["protect-proc"],
            Self::Ipc => &["ipc"],
            Self::Landlock => &["tracing", "signals", "abstract-sockets"],
            Self::Seccomp => &["system-calls"],
            Self::Families => &["restrict-address-families"],
            Self::Limit => &["core-dumps"],
            Self::Always | Self::Nothing => &[],
        }
    }
}

/// By preset (`none`, `private`, `strict`), and there against a site of the same user and one of
/// another: whether it is possible.
type Possible = [[bool; 2]; 3];

/// Files and sockets that all may read, and what asks for no permission.
const FOR_ALL: Possible = [[true, true], [false, false], [false, false]];
/// What belongs to one user.
const FOR_ITS_USER: Possible = [[true, false], [false, false], [false, false]];
const NEVER: Possible = [[false, false], [false, false], [false, false]];
const ALWAYS: Possible = [[true, true], [true, true], [true, true]];
const UNLESS_STRICT: Possible = [[true, true], [true, true], [false, false]];

/// One attack.
#[derive(Debug)]
pub(crate) struct Attack {
    /// Its function is `attack_NAME`.
    pub(crate) name: &'static str,
    /// What it is, for the page.
    pub(crate) what: &'static str,
    /// What is expected of it.
    pub(crate) possible: Possible,
    /// Whether it is against another site, of the same user and of another.
    pub(crate) on_a_site: bool,
    /// Whether there are machines on which it is impossible without isolation too.
    pub(crate) needs_machine: bool,
    /// What stops it.
    pub(crate) by: Means,
}

/// Of the page's parts.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) title: &'static str,
    pub(crate) attacks: &'static [Attack],
}

macro_rules! part {
    ($title:literal, $on_a_site:literal: $($name:literal $what:literal, $possible:ident, $by:ident $($machine:ident)?;)*) => {
        Part {
            title: $title,
            attacks: &[$(Attack {
                name: $name,
                what: $what,
                possible: $possible,
                on_a_site: $on_a_site,
                needs_machine: part!(@ $($machine)?),
                by: Means::$by,
            }),*],
        }
    };
    (@) => { false };
    (@ machine) => { true };
}

/// All of them.
pub(crate) const PARTS: &[Part] = &[
    part! { "Files of another site", true:
        "script" "read its script", FOR_ALL, Home;
        "settings" "read its settings", FOR_ALL, Home;
        "env_file" "read a file of secrets in its home, mode 0600", FOR_ITS_USER, Home;
        "env_file_in_etc" "read its `env-file=` in a directory of root's", FOR_ITS_USER, Home;
        "log" "read its `log-file=` in `/var/log`", FOR_ITS_USER, Home;
        "elsewhere" "read its scripts in `/opt`", FOR_ALL, Home;
        "list" "list a directory of its", FOR_ALL, Home;
        "in_home" "read a directory of its user's in `/home`", FOR_ALL, Home;
        "in_var_www" "read a directory of its user's in `/var/www`", FOR_ALL, Home;
        "unnamed_in_var" "read a directory of its user's in `/var/lib` that no site names", UNLESS_STRICT, Files;
        "unnamed_in_opt" "read one in `/opt` that no site names", ALWAYS, Nothing;
        "link_to" "read by a symbolic link to its home", FOR_ALL, Home;
        "hard_link" "read by a hard link to its settings", FOR_ITS_USER, Home;
        "write" "make a file in its home", FOR_ITS_USER, Home;
        "change" "change its settings", FOR_ITS_USER, Home;
        "temporary_file" "read its file in `/tmp`", FOR_ALL, Tmp;
        "plant_in_tmp" "plant a file in `/tmp` under a name that it reads", FOR_ALL, Tmp;
        "plant_in_var_tmp" "plant one in `/var/tmp`", FOR_ALL, Tmp;
        "plant_in_shm" "plant one in `/dev/shm`", FOR_ALL, Tmp;
    },
    part! { "Processes of another site", true:
        "list_processes" "see it in the list of processes", FOR_ALL, Proc;
        "control_group" "find its processes in `/sys/fs/cgroup`", ALWAYS, Nothing machine;
        "command_line" "read `/proc/PID/cmdline`", FOR_ALL, Proc;
        "environ" "read `/proc/PID/environ`", FOR_ITS_USER, Landlock;
        "thread_environ" "read it by the number of a thread", FOR_ITS_USER, Landlock;
        "memory" "read `/proc/PID/mem`", FOR_ITS_USER, Landlock;
        "maps" "read `/proc/PID/maps`", FOR_ITS_USER, Landlock;
        "open_file" "open its files by `/proc/PID/fd`", FOR_ITS_USER, Landlock;
        "directory" "read by `/proc/PID/cwd`", FOR_ITS_USER, Landlock;
        "root" "read by `/proc/PID/root`", FOR_ITS_USER, Landlock;
        "memory_score" "write `/proc/PID/oom_score_adj`", FOR_ITS_USER, Proc;
        "kill" "send a signal: `kill`", FOR_ITS_USER, Landlock;
        "kill_thread" "send a signal: `tgkill`", FOR_ITS_USER, Landlock;
        "kill_by_descriptor" "send a signal: `pidfd_send_signal`", FOR_ITS_USER, Landlock;
        "queue_signal" "send a signal: `rt_sigqueueinfo`", FOR_ITS_USER, Landlock;
        "kill_all" "send a signal: `kill(-1)`", FOR_ITS_USER, Landlock;
        "kill_group" "send a signal to its process group", FOR_ITS_USER, Landlock;
        "signal_by_socket" "have the kernel send a signal (`F_SETOWN`)", FOR_ITS_USER, Landlock;
        "trace" "`ptrace`: attach and read", FOR_ITS_USER, Landlock;
        "seize" "`ptrace`: seize", FOR_ITS_USER, Landlock;
        "read_memory" "`process_vm_readv`", FOR_ITS_USER, Landlock;
        "write_memory" "`process_vm_writev`", FOR_ITS_USER, Landlock;
        "take_descriptor" "`pidfd_getfd`", FOR_ITS_USER, Landlock;
        "compare" "`kcmp`", FOR_ITS_USER, Landlock machine;
        "count_instructions" "`perf_event_open` on it", FOR_ITS_USER, Seccomp machine;
        "limits" "lower its limits: `prlimit`", FOR_ITS_USER, Seccomp;
        "priority" "lower its priority: `setpriority`", FOR_ITS_USER, Seccomp;
        "priority_of_group" "lower that of its process group", FOR_ITS_USER, Seccomp;
        "priority_of_user" "lower that of all processes of its user", FOR_ITS_USER, Seccomp;
        "input_priority" "`ioprio_set`", FOR_ITS_USER, Seccomp;
        "processors" "`sched_setaffinity`", FOR_ITS_USER, Seccomp;
        "scheduler" "`sched_setscheduler`", FOR_ITS_USER, Seccomp;
        "scheduler_attributes" "`sched_setattr`", FOR_ITS_USER, Seccomp;
    },
    part! { "What another site talks by", true:
        "abstract_socket" "connect to its abstract socket", FOR_ALL, Landlock;
        "abstract_datagrams" "send a datagram to one", FOR_ALL, Landlock;
        "socket_in_tmp" "connect to its socket in `/tmp`", FOR_ALL, Tmp;
        "socket_in_run" "connect to its socket in `/run`", FOR_ALL, Home;
        "socket_beside" "connect to its socket beside its home", FOR_ALL, Home;
        "bus" "connect to its socket in `/run/user/UID`, where its systemd and D-Bus listen", FOR_ITS_USER, Home;
        "shared_memory" "attach its System V shared memory", FOR_ITS_USER, Ipc;
        "message_queue" "take from its System V message queue", FOR_ITS_USER, Ipc;
        "semaphore" "set its System V semaphore", FOR_ITS_USER, Ipc;
        "posix_queue" "take from its POSIX message queue", FOR_ITS_USER, Ipc;
        "key" "read its key in the keyring of the user", FOR_ITS_USER, Seccomp machine;
        "terminal" "write on its terminal", FOR_ITS_USER, Devices;
        "control_socket" "`wsgid stop` for it", FOR_ITS_USER, Home;
        "request_socket" "connect to `httpd.sock`", NEVER, Always;
        "names_of_sockets" "read the names of its sockets in `/proc/net/unix`", ALWAYS, Nothing;
        "port" "connect to its TCP port on this machine", ALWAYS, Nothing;
    },
    part! { "The machine", false:
        "supervisor" "trace the supervisor", NEVER, Always;
        "write_etc" "write a directory of its user's below `/etc`", FOR_ALL, System;
        "write_usr" "write one below `/usr`", FOR_ALL, System;
        "write_var" "write one below `/var/lib`", FOR_ALL, System;
        "device" "open a device node that all may open", FOR_ALL, Devices;
        "setuid" "become root by a setuid program", NEVER, Always;
        "core" "write a core file", FOR_ALL, Limit machine;
        "log_of_httpd" "read httpd's error log, where it is closed", NEVER, Always;
        "mount_calls" "reach the kernel's `mount` and its like", FOR_ALL, Seccomp machine;
        "mount" "mount a file system, in name spaces of its own", FOR_ALL, Seccomp machine;
        "user_name_space" "make a user name space", FOR_ALL, Seccomp machine;
        "mount_name_space" "make a mount name space", FOR_ALL, Seccomp machine;
        "pid_name_space" "make a PID name space", FOR_ALL, Seccomp machine;
        "network_name_space" "make a network name space", FOR_ALL, Seccomp machine;
        "clone" "make a user name space by `clone`", FOR_ALL, Seccomp machine;
        "clone3" "make a user name space by `clone3`", FOR_ALL, Seccomp machine;
        "32_bit" "make a user name space by the gate for programs of 32 bit", FOR_ALL, Seccomp machine;
        "x32" "`keyctl` by the number that x32 has for it", FOR_ALL, Seccomp machine;
        "join_name_space" "`setns`", FOR_ALL, Seccomp machine;
        "bpf" "reach the kernel's `bpf`", FOR_ALL, Seccomp machine;
        "count_own" "`perf_event_open` on itself", FOR_ALL, Seccomp machine;
        "user_faults" "`userfaultfd`", FOR_ALL, Seccomp machine;
        "io_uring" "`io_uring_setup`", FOR_ALL, Seccomp machine;
        "own_key" "`add_key`", FOR_ALL, Seccomp machine;
        "quota" "reach the kernel's `quotactl`", FOR_ALL, Seccomp machine;
        "administration" "`kexec_load`, modules, `swapon`, `reboot`, `acct`", NEVER, Always;
        "raw_socket" "make a raw socket, in name spaces of its own", FOR_ALL, Seccomp machine;
        "packet_socket" "make a packet socket, the same way", FOR_ALL, Seccomp machine;
        "vsock" "make a socket of AF_VSOCK", UNLESS_STRICT, Families machine;
        "alg" "make a socket of AF_ALG", UNLESS_STRICT, Families machine;
        "typed" "TIOCSTI on a terminal of its own", ALWAYS, Nothing machine;
    },
];

/// What a site without isolation cannot do to an isolated one, as there is nothing to attack.
pub(crate) const OWN_OF_THE_ISOLATED: &[&str] = &[
    "temporary_file",
    "plant_in_tmp",
    "plant_in_var_tmp",
    "plant_in_shm",
    "socket_in_tmp",
    "socket_in_run",
    "socket_beside",
    "bus",
    "shared_memory",
    "message_queue",
    "semaphore",
    "posix_queue",
    "key",
    "terminal",
];

/// All attacks in the order of the page.
pub(crate) fn attacks() -> impl Iterator<Item = &'static Attack> {
    PARTS.iter().flat_map(|part| part.attacks)
}
