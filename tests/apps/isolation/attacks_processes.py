"""Attacks on the processes of another site."""

import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import time

from calls import Refused, call, changed, read, state, with_secret


def attack_environ(target):
    return read("/proc/%d/environ" % target["pid"], target)


def attack_memory(target):
    with open("/proc/%d/mem" % target["pid"], "rb", buffering=0) as memory:
        memory.seek(target["address"])
        return with_secret(memory.read(target["length"]), target)


def attack_open_file(target):
    return read("/proc/%d/fd/%d" % (target["pid"], target["places"]["fd"]), target)


def attack_directory(target):
    return read("/proc/%d/cwd/settings.py" % target["pid"], target)


def attack_root(target):
    return read("/proc/%d/root%s/settings.py" % (target["pid"], target["home"]), target)


def attack_maps(target):
    with open("/proc/%d/maps" % target["pid"]) as maps:
        if "[stack]" not in maps.read():
            raise Refused("it is empty")
    return "where the other's memory is"


def attack_thread_environ(target):
    """By the number of a thread, which no list of processes has."""
    return read("/proc/%d/environ" % target["thread"], target)


def attack_command_line(target):
    with open("/proc/%d/cmdline" % target["pid"]) as file:
        return "the other's title: " + file.read().strip("\0")


def attack_list_processes(target):
    if str(target["pid"]) not in os.listdir("/proc"):
        raise Refused("it is not in the list of processes")
    return "the other is in the list of processes"


def attack_control_group(target):
    """In the trees of the kernel's control groups, which name groups and their processes."""
    for directory, _, files in os.walk("/sys/fs/cgroup"):
        if "cgroup.procs" in files and target["name"] in os.path.basename(directory):
            with open(directory + "/cgroup.procs") as file:
                if str(target["pid"]) in file.read().split():
                    return "the other is in " + directory
    raise Refused("no control group has it")


def attack_memory_score(target):
    with open("/proc/%d/oom_score_adj" % target["pid"], "w") as file:
        file.write("900")
    return changed(target, "oom_score_adj", 900)


def signalled(target, send):
    """That the other gets SIGURG, which nobody else minds."""
    before = state(target)["signals"]
    send()
    end = time.monotonic() + 1
    while time.monotonic() < end:
        if state(target)["signals"] > before:
            return "the other has counted the signal"
        time.sleep(0.02)
    raise Refused("the other gets no signal")


def attack_kill(target):
    return signalled(target, lambda: os.kill(target["pid"], signal.SIGURG))


def attack_kill_thread(target):
    return signalled(target, lambda: call("tgkill", target["pid"], target["pid"], int(signal.SIGURG)))


def attack_kill_by_descriptor(target):
    descriptor = call("pidfd_open", target["pid"], 0)
    return signalled(target, lambda: call("pidfd_send_signal", descriptor, int(signal.SIGURG), None, 0))


def attack_queue_signal(target):
    information = struct.pack("iii4xii", signal.SIGURG, 0, -1, os.getpid(), os.getuid()).ljust(128, b"\0")
    return signalled(target, lambda: call("rt_sigqueueinfo", target["pid"], int(signal.SIGURG), information))


def attack_kill_all(target):
    return signalled(target, lambda: os.kill(-1, signal.SIGURG))


def attack_kill_group(target):
    return signalled(target, lambda: os.killpg(target["process_group"], signal.SIGURG))


def attack_signal_by_socket(target):
    """The kernel signals whoever is named as the owner of a descriptor."""
    own, other = socket.socketpair()

    def send():
        fcntl.fcntl(own, 10, int(signal.SIGURG))  # F_SETSIG
        fcntl.fcntl(own, fcntl.F_SETOWN, target["pid"])
        fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
        other.send(b"x")
    return signalled(target, send)


def attack_trace(target):
    call("ptrace", 16, target["pid"], None, None)  # PTRACE_ATTACH
    os.waitpid(target["pid"], 0x40000000)
    try:
        text = b""
        while len(text) < target["length"]:
            word = ctypes.c_long()
            call("ptrace", 1, target["pid"], target["address"] + len(text), ctypes.byref(word))
            text += bytes(word)
        return with_secret(text, target)
    finally:
        call("ptrace", 17, target["pid"], None, None)


def attack_seize(target):
    call("ptrace", 0x4206, target["pid"], None, None)
    return "attached; it is let go with the end of the attack"


class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def transfer(name, target, buffer):
    own = Piece(ctypes.addressof(buffer), len(buffer))
    other = Piece(target["address"], len(buffer))
    call(name, target["pid"], ctypes.byref(own), 1, ctypes.byref(other), 1, 0)


def attack_read_memory(target):
    buffer = ctypes.create_string_buffer(target["length"])
    transfer("process_vm_readv", target, buffer)
    return with_secret(buffer.raw, target)


def attack_write_memory(target):
    text = "memory %s written" % target["secret"]
    transfer("process_vm_writev", target, ctypes.create_string_buffer(text.encode()))
    return changed(target, "memory", text)


def attack_take_descriptor(target):
    descriptor = call("pidfd_open", target["pid"], 0)
    taken = call("pidfd_getfd", descriptor, target["places"]["fd"], 0)
    return with_secret(os.pread(taken, 1000, 0), target)


def attack_compare(target):
    """kcmp: what two processes share; it is a trace to the kernel."""
    return "kcmp: %d" % call("kcmp", os.getpid(), target["pid"], 1, 0, 0)


def attack_limits(target):
    soft, hard = resource.prlimit(target["pid"], resource.RLIMIT_MSGQUEUE)
    resource.prlimit(target["pid"], resource.RLIMIT_MSGQUEUE, (12345, hard))
    try:
        return changed(target, "message_queues", 12345)
    finally:
        resource.prlimit(target["pid"], resource.RLIMIT_MSGQUEUE, (soft, hard))


def lower(target, which, who):
    """One step lower each time: what is lowered is never raised again."""
    now = state(target)["nice"]
    os.setpriority(which, who, now + 1)
    return changed(target, "nice", now + 1)


def attack_priority(target):
    return lower(target, os.PRIO_PROCESS, target["pid"])


def attack_priority_of_group(target):
    return lower(target, os.PRIO_PGRP, target["process_group"])


def attack_priority_of_user(target):
    return lower(target, os.PRIO_USER, target["uid"])


def attack_processors(target):
    all_of_them = os.sched_getaffinity(0)
    if len(all_of_them) < 2:
        one = all_of_them
    else:
        one = {min(all_of_them)}
    os.sched_setaffinity(target["pid"], one)
    try:
        return changed(target, "processors", sorted(one))
    finally:
        os.sched_setaffinity(target["pid"], all_of_them)


def attack_scheduler(target):
    os.sched_setscheduler(target["pid"], os.SCHED_BATCH, os.sched_param(0))
    try:
        return changed(target, "scheduler", os.SCHED_BATCH)
    finally:
        os.sched_setscheduler(target["pid"], os.SCHED_OTHER, os.sched_param(0))


def attack_scheduler_attributes(target):
    # struct sched_attr with SCHED_BATCH.
    attributes = struct.pack("IIQiIQQQ", 48, os.SCHED_BATCH, 0, state(target)["nice"], 0, 0, 0, 0)
    call("sched_setattr", target["pid"], attributes, 0)
    try:
        return changed(target, "scheduler", os.SCHED_BATCH)
    finally:
        os.sched_setscheduler(target["pid"], os.SCHED_OTHER, os.sched_param(0))


def attack_input_priority(target):
    value = (3 << 13) | 7  # the idle class
    call("ioprio_set", 1, target["pid"], value)
    try:
        return changed(target, "priority", value)
    finally:
        call("ioprio_set", 1, target["pid"], 0)


def attack_count_instructions(target):
    """perf_event_open on the other."""
    os.close(perf(target["pid"]))
    return "counts what the other does"


def attack_count_own(target):
    os.close(perf(0))
    return "counts what it does itself"


def perf(pid):
    # A software clock, of user space alone.
    attributes = struct.pack("IIQ", 1, 64, 1) + bytes(24) + struct.pack("Q", 0x60)
    return call("perf_event_open", attributes.ljust(64, b"\0"), pid, -1, -1, 0)
