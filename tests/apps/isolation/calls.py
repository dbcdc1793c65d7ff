"""System calls by number, and what is common to the attacks."""

import ctypes
import errno
import json
import os
import platform
import urllib.parse
import urllib.request

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long

CLONE_NEWNS = 0x20000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# Name: x86_64, aarch64. From 424 on all machines have the same.
NUMBERS = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "clone": (56, 220),
    "clone3": (435, 435), "delete_module": (176, 106), "fsopen": (430, 430), "init_module": (175, 105),
    "io_uring_setup": (425, 425), "ioprio_get": (252, 31), "ioprio_set": (251, 30),
    "kcmp": (312, 272), "kexec_load": (246, 104), "keyctl": (250, 219), "mount": (165, 40),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "mq_open": (240, 180),
    "mq_timedreceive": (243, 183), "mq_timedsend": (242, 182), "mq_unlink": (241, 181), "open_tree": (428, 428),
    "perf_event_open": (298, 241), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "prlimit64": (302, 261), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60),
    "reboot": (169, 142), "rt_sigqueueinfo": (129, 138), "sched_setattr": (314, 274), "setns": (308, 268),
    "swapon": (167, 224), "tgkill": (234, 131), "umount2": (166, 39), "unshare": (272, 97),
    "userfaultfd": (323, 282),
}

MACHINE = platform.machine()


class Refused(Exception):
    """The attack did not come to anything, for another reason than an error of the kernel's."""


class Lacking(Exception):
    """This machine has not what the attack is about, so nothing was tried."""


def number(name):
    if MACHINE not in ("x86_64", "aarch64"):
        raise Lacking("no numbers of system calls for " + MACHINE)
    return NUMBERS[name][MACHINE == "aarch64"]


def by_number(call, *arguments):
    ctypes.set_errno(0)
    result = LIBC.syscall(
        ctypes.c_long(call),
        *[ctypes.c_long(value) if isinstance(value, int) else value for value in arguments])
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def call(name, *arguments):
    """A system call; an error of the kernel's is an OSError."""
    return by_number(number(name), *arguments)


def libc(name, *arguments):
    """A function of the C library that gives -1 and errno."""
    ctypes.set_errno(0)
    result = getattr(LIBC, name)(*arguments)
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, "%s: %s" % (name, os.strerror(error)))
    return result


def reaches(name, *arguments):
    """Whether the kernel looks at the arguments of a call: they are wrong in a way that it finds
    before it asks for a privilege."""
    try:
        call(name, *arguments)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            return None
        return "%s: %s" % (name, errno.errorcode[error.errno])
    return name


def any_reached(calls):
    """Gives those that the kernel has looked at, or raises with what it said to all."""
    found = [text for text in (reaches(*one) for one in calls) if text]
    if not found:
        raise OSError(errno.EPERM, "%s: none is let through" % ", ".join(one[0] for one in calls))
    return "; ".join(found)


def with_secret(text, target):
    """What was read, which is what was to be read."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if target["secret"] not in text:
        raise Refused("the secret is not in %r" % text[:200])
    return target["secret"]


def read(path, target):
    with open(path, "rb") as file:
        return with_secret(file.read(1 << 20), target)


def state(target, **arguments):
    """What the other site says of itself, asked as any client would."""
    url = target["url"] + "/state?" + urllib.parse.urlencode(arguments)
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def changed(target, key, wanted, **arguments):
    """That the other site has it now so."""
    now = state(target, **arguments)[key]
    if now != wanted:
        raise Refused("%s of the other is %r" % (key, now))
    return "%s of the other is %r" % (key, now)


def in_child(body):
    """Runs it in a process of its own and gives what it returned; its OSError is raised here."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = ["done", body()]
        except OSError as error:
            told = ["error", error.errno, str(error)]
        except Exception as error:
            told = ["refused", str(error)]
        os.write(into, json.dumps(told).encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if not text:
        raise Refused("ended with status %#x" % status)
    told = json.loads(text)
    if told[0] == "error":
        raise OSError(told[1], told[2])
    if told[0] == "refused":
        raise Refused(told[1])
    return told[1]
