//! System calls that an isolated process does not have, and families of sockets that it
//! may make (seccomp). Which calls those are says `wsgid_protocol::isolation`; here are
//! their numbers and the programs of the kernel that refuse them. Called by the launcher.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, sock_filter,
};
use wsgid_protocol::GroupConfig;
use wsgid_protocol::isolation::{ADDRESS_FAMILIES, Isolation, USUAL_FAMILIES};

use super::part::{Lack, Part};
use crate::sys;

/// The numbers of the calls, by their names.
macro_rules! numbers {
    ($($name:ident = $number:ident,)*) => {
        const NUMBERS: &[(&str, i64)] = &[$((stringify!($name), libc::$number),)*];
    };
}

numbers! {
    acct = SYS_acct,
    add_key = SYS_add_key,
    bpf = SYS_bpf,
    delete_module = SYS_delete_module,
    fanotify_init = SYS_fanotify_init,
    finit_module = SYS_finit_module,
    fsconfig = SYS_fsconfig,
    fsmount = SYS_fsmount,
    fsopen = SYS_fsopen,
    fspick = SYS_fspick,
    init_module = SYS_init_module,
    io_uring_enter = SYS_io_uring_enter,
    io_uring_register = SYS_io_uring_register,
    io_uring_setup = SYS_io_uring_setup,
    ioprio_set = SYS_ioprio_set,
    kexec_file_load = SYS_kexec_file_load,
    kexec_load = SYS_kexec_load,
    keyctl = SYS_keyctl,
    lookup_dcookie = SYS_lookup_dcookie,
    mount = SYS_mount,
    mount_setattr = SYS_mount_setattr,
    move_mount = SYS_move_mount,
    move_pages = SYS_move_pages,
    open_by_handle_at = SYS_open_by_handle_at,
    open_tree = SYS_open_tree,
    perf_event_open = SYS_perf_event_open,
    pidfd_getfd = SYS_pidfd_getfd,
    pivot_root = SYS_pivot_root,
    prlimit64 = SYS_prlimit64,
    process_vm_readv = SYS_process_vm_readv,
    process_vm_writev = SYS_process_vm_writev,
    ptrace = SYS_ptrace,
    quotactl = SYS_quotactl,
    quotactl_fd = SYS_quotactl_fd,
    reboot = SYS_reboot,
    request_key = SYS_request_key,
    sched_setaffinity = SYS_sched_setaffinity,
    sched_setattr = SYS_sched_setattr,
    sched_setparam = SYS_sched_setparam,
    sched_setscheduler = SYS_sched_setscheduler,
    setns = SYS_setns,
    setpriority = SYS_setpriority,
    swapoff = SYS_swapoff,
    swapon = SYS_swapon,
    syslog = SYS_syslog,
    umount2 = SYS_umount2,
    unshare = SYS_unshare,
    userfaultfd = SYS_userfaultfd,
}

/// Name spaces that nobody makes any more.
const NAME_SPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32 as u64
    | NEW_TIME;
/// `CLONE_NEWTIME`, which has the place of a signal's number in `clone`.
const NEW_TIME: u64 = 0x80;

/// Restricts this process, and what it starts.
pub(super) fn restrict(config: &GroupConfig) -> Vec<Part> {
    let programs = programs(config);
    if programs.is_empty() {
        return Vec::new();
    }
    // What all of them rest on.
    let before = install(&without_other_numbers());
    let before = before.map_err(|(Lack::Kernel(why) | Lack::Definition(why))| why);
    let parts = programs.into_iter().map(|(name, program)| {
        let rests = before.as_ref().map_err(|why| Lack::Kernel(why.clone()));
        let installed = rests.and_then(|()| install(&program?));
        (name, installed)
    });
    parts.collect()
}

/// The programs of the kernel that a definition asks for, by the names of its parts.
fn programs(config: &GroupConfig) -> Vec<(&'static str, Result<BpfProgram, Lack>)> {
    let mut programs = Vec::new();
    let has_preset = config.isolation > Isolation::None;
    let families = families(config);
    let restricts_ports = !config.connect_ports.is_empty();
    let mut allowed = config.allow_system_calls.iter();
    if has_preset {
        programs.push(("system-calls", refusing(&config.allow_system_calls)));
    }
    if !families.is_empty() {
        programs.push(("restrict-address-families", allowing_families(&families)));
    }
    if restricts_ports {
        programs.push(("connections", refusing_other_connections()));
    }
    let is_by_sockets = !families.is_empty() || restricts_ports;
    if is_by_sockets && !has_preset && !allowed.any(|name| name == "io_uring_setup") {
        // It makes sockets and connects them, and no filter sees it.
        programs.push(("io_uring", refusing_rings()));
    }
    programs
}

/// The families of sockets that may be made; none named: all.
pub(crate) fn families(config: &GroupConfig) -> Vec<&str> {
    match &*config.restrict_address_families {
        [] if config.isolation == Isolation::Strict => USUAL_FAMILIES.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    }
}

/// Refuses all calls of the table but those that are allowed.
fn refusing(allowed: &[String]) -> Result<BpfProgram, Lack> {
    let mut all = BTreeMap::new();
    for (name, number) in NUMBERS {
        if !allowed.iter().any(|one| one == name) {
            all.insert(*number, rules(name)?);
        }
    }
    if all.contains_key(&libc::SYS_unshare) {
        all.insert(libc::SYS_clone, rules("clone")?);
    }
    compile(all, libc::EPERM)
}

/// When a call is refused.
enum When {
    /// Where each of these arguments, its lower half or the whole, is another number.
    Differ(&'static [(u8, Len, u64)]),
    /// Where an argument has one of these bits.
    AnyBit(u8, u64),
}

/// When a call of the table is refused: always, if nothing is said.
fn conditions(name: &str) -> &'static [When] {
    use When::{AnyBit, Differ};
    const USUAL_POLICY: u64 = libc::SCHED_OTHER.unsigned_abs() as u64;
    const PROCESS: u64 = libc::PRIO_PROCESS as u64;
    const IO_PROCESS: u64 = 1;
    // The thread that calls is 0 in all of these; whoever else is meant may be of
    // another site.
    match name {
        // With a new limit: to read those of others harms nobody.
        "prlimit64" => &[Differ(&[(0, Len::Dword, 0), (2, Len::Qword, 0)])],
        // To another policy than the usual one, which libraries set for threads of their own.
        "sched_setscheduler" => &[Differ(&[(0, Len::Dword, 0), (1, Len::Dword, USUAL_POLICY)])],
        "sched_setaffinity" | "sched_setattr" | "sched_setparam" | "move_pages" => {
            &[Differ(&[(0, Len::Dword, 0)])]
        }
        "setpriority" => &[
            Differ(&[(0, Len::Dword, PROCESS)]),
            Differ(&[(1, Len::Dword, 0)]),
        ],
        "ioprio_set" => &[
            Differ(&[(0, Len::Dword, IO_PROCESS)]),
            Differ(&[(1, Len::Dword, 0)]),
        ],
        "unshare" => &[AnyBit(0, NAME_SPACES)],
        "clone" => &[AnyBit(0, NAME_SPACES & !NEW_TIME)],
        _ => &[],
    }
}

impl When {
    fn holds(&self, arguments: [u64; 6]) -> bool {
        match self {
            Self::Differ(all) => all.iter().all(|(argument, length, value)| {
                let given = arguments[usize::from(*argument)];
                let given = match length {
                    Len::Dword => given & u64::from(u32::MAX),
                    Len::Qword => given,
                };
                given != *value
            }),
            Self::AnyBit(argument, bits) => arguments[usize::from(*argument)] & bits != 0,
        }
    }

    /// As the kernel's program has it.
    fn rules(&self) -> Result<Vec<SeccompRule>, Lack> {
        match self {
            Self::Differ(all) => {
                let conditions = all.iter().map(|(argument, length, value)| {
                    SeccompCondition::new(*argument, length.clone(), Op::Ne, *value)
                });
                let conditions: Result<Vec<_>, _> = conditions.collect();
                let rule = conditions.and_then(SeccompRule::new);
                Ok(vec![rule.map_err(wrong)?])
            }
            Self::AnyBit(argument, bits) => any_bit(*argument, *bits),
        }
    }
}

fn rules(name: &str) -> Result<Vec<SeccompRule>, Lack> {
    let each: Result<Vec<_>, Lack> = conditions(name).iter().map(When::rules).collect();
    Ok(each?.concat())
}

/// A rule for each bit, since a rule compares what is left under a mask with one value.
fn any_bit(argument: u8, bits: u64) -> Result<Vec<SeccompRule>, Lack> {
    let single = (0..64).map(|shift| 1_u64 << shift);
    single
        .filter(|bit| bits & bit != 0)
        .map(|bit| {
            let condition = SeccompCondition::new(argument, Len::Qword, Op::MaskedEq(bit), bit);
            SeccompRule::new(vec![condition.map_err(wrong)?]).map_err(wrong)
        })
        .collect()
}

/// The name of a call that is refused unless it is allowed, if it is one: by number and
/// arguments.
pub(crate) fn refused(number: u64, arguments: [u64; 6]) -> Option<&'static str> {
    let number = i64::try_from(number).ok()?;
    let (called, allowed_by) = if number == libc::SYS_clone {
        ("clone", "unshare")
    } else {
        let (name, _) = NUMBERS.iter().find(|(_, one)| *one == number)?;
        (*name, *name)
    };
    let when = conditions(called);
    let is_refused = when.is_empty() || when.iter().any(|one| one.holds(arguments));
    is_refused.then_some(allowed_by)
}

fn allowing_families(names: &[&str]) -> Result<BpfProgram, Lack> {
    let numbers = names.iter().filter_map(|name| family(name));
    let others = numbers.map(|number| {
        let number = u64::from(number.unsigned_abs());
        SeccompCondition::new(0, Len::Dword, Op::Ne, number).map_err(wrong)
    });
    let none_of_them = SeccompRule::new(others.collect::<Result<_, _>>()?).map_err(wrong)?;
    let calls = [libc::SYS_socket, libc::SYS_socketpair];
    let rules = calls.map(|call| (call, vec![none_of_them.clone()]));
    compile(rules.into(), libc::EAFNOSUPPORT)
}

fn refusing_rings() -> Result<BpfProgram, Lack> {
    let rules = BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]);
    compile(rules, libc::EPERM)
}

/// What connects to a port without `connect` of a TCP socket: other protocols over TCP, and
/// data that is sent with the connection.
fn refusing_other_connections() -> Result<BpfProgram, Lack> {
    const MPTCP: u64 = 262;
    const SMC: u64 = 256;
    let fast_open = u64::from(libc::MSG_FASTOPEN.unsigned_abs());
    let protocol = |number| {
        let condition = SeccompCondition::new(2, Len::Dword, Op::Eq, number).map_err(wrong)?;
        SeccompRule::new(vec![condition]).map_err(wrong)
    };
    let mut rules = BTreeMap::from([(libc::SYS_socket, vec![protocol(MPTCP)?, protocol(SMC)?])]);
    for (call, flags) in [
        (libc::SYS_sendto, 3),
        (libc::SYS_sendmsg, 2),
        (libc::SYS_sendmmsg, 3),
    ] {
        rules.insert(call, any_bit(flags, fast_open)?);
    }
    compile(rules, libc::EACCES)
}

fn family(name: &str) -> Option<i32> {
    Some(match name {
        "unix" => libc::AF_UNIX,
        "inet" => libc::AF_INET,
        "inet6" => libc::AF_INET6,
        "netlink" => libc::AF_NETLINK,
        "packet" => libc::AF_PACKET,
        "vsock" => libc::AF_VSOCK,
        "alg" => libc::AF_ALG,
        "can" => libc::AF_CAN,
        "bluetooth" => libc::AF_BLUETOOTH,
        "xdp" => libc::AF_XDP,
        "tipc" => libc::AF_TIPC,
        "rds" => libc::AF_RDS,
        _ => return None,
    })
}

/// The name of a family, or its number if no option names it.
pub(crate) fn family_name(number: i32) -> String {
    let name = ADDRESS_FAMILIES
        .iter()
        .find(|name| family(name) == Some(number));
    name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> Result<BpfProgram, Lack> {
    let refusal = SeccompAction::Errno(errno.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into().map_err(wrong)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, architecture);
    filter.and_then(TryInto::try_into).map_err(wrong)
}

/// `clone3` has its flags where no filter sees them, and the numbers of the x32 interface
/// are other numbers for the same calls: both are as if the kernel did not have them, and
/// the C library goes on with `clone`.
fn without_other_numbers() -> BpfProgram {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const JUMP_FROM: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const X32: u32 = 0x4000_0000;
    let clone3 = u32::try_from(libc::SYS_clone3).unwrap_or(u32::MAX);
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        // The first field of `seccomp_data`.
        step(LOAD_NUMBER, 0, 0, 0),
        step(JUMP_EQUAL, 1, 0, clone3),
        step(JUMP_FROM, 0, 1, X32),
        step(
            RETURN,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
        ),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

fn install(program: &BpfProgram) -> Result<(), Lack> {
    Ok(sys::install_filter(program)?)
}

fn wrong(error: seccompiler::BackendError) -> Lack {
    Lack::Kernel(error.to_string())
}

#[cfg(test)]
mod tests {
    use wsgid_protocol::isolation::REFUSED_CALLS;

    use super::*;

    #[test]
    fn every_name_has_its_number() {
        let names: Vec<&str> = NUMBERS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, REFUSED_CALLS);
        assert!(ADDRESS_FAMILIES.iter().all(|name| family(name).is_some()));
        assert!(
            USUAL_FAMILIES
                .iter()
                .all(|name| ADDRESS_FAMILIES.contains(name))
        );
    }

    #[test]
    fn calls_that_are_refused_have_their_names_under_the_same_conditions() {
        let named = |number: i64, arguments| refused(number.unsigned_abs(), arguments);
        for (name, number) in NUMBERS {
            // Of the thread that calls, with nothing that is refused.
            let mut harmless = [0; 6];
            harmless[0] = u64::from(*name == "ioprio_set");
            let is_always = conditions(name).is_empty();
            assert_eq!(named(*number, harmless), is_always.then_some(*name));
            assert_eq!(named(*number, [u64::MAX; 6]), Some(*name));
        }
        let of_another = |last| [7, 0, last, 0, 0, 0];
        assert_eq!(named(libc::SYS_prlimit64, of_another(0)), None);
        assert_eq!(
            named(libc::SYS_prlimit64, of_another(1 << 40)),
            Some("prlimit64")
        );
        assert_eq!(named(libc::SYS_sched_setscheduler, of_another(0)), None);
        let clone = |flags: i32| [u64::from(flags.unsigned_abs()), 0, 0, 0, 0, 0];
        assert_eq!(
            named(libc::SYS_clone, clone(libc::CLONE_NEWUSER)),
            Some("unshare")
        );
        assert_eq!(named(libc::SYS_clone, clone(libc::SIGCHLD)), None);
        assert_eq!(named(libc::SYS_getpid, [0; 6]), None);
    }

    #[test]
    fn programs_fit_into_the_kernels_bounds() {
        let program = refusing(&[]).unwrap();
        assert!(program.len() < 4096, "{}", program.len());
    }
}
