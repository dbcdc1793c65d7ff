"""Attacks by parts of the kernel that a site has no business with."""

import ctypes
import mmap
import os
import socket
import struct
import time

from calls import (
    CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, MACHINE, Lacking, Refused, any_reached, by_number, call,
    in_child)

BAD = 0x10


def attack_mount_calls(target):
    """What the kernel says to wrong arguments before it asks for a privilege."""
    return any_reached([
        ("mount", None, BAD, BAD, 0, None), ("umount2", b"/", 0xFFFF), ("open_tree", -100, b"/", 0),
        ("move_mount", -1, b"", -1, b"", 0xFFFFFFF), ("mount_setattr", -1, b"", 0, BAD, 32)])


def attack_mount(target):
    def body():
        call("unshare", CLONE_NEWUSER | CLONE_NEWNS)
        before = os.stat("/mnt").st_dev
        call("mount", b"none", b"/mnt", b"tmpfs", 0, None)
        if os.stat("/mnt").st_dev == before:
            raise Refused("nothing is mounted")
        return "a file system of its own on /mnt"
    return in_child(body)


def made_name_space(flags):
    def body():
        call("unshare", flags)
        return "made"
    return in_child(body)


def attack_user_name_space(target):
    return made_name_space(CLONE_NEWUSER)


def attack_mount_name_space(target):
    return made_name_space(CLONE_NEWUSER | CLONE_NEWNS)


def attack_pid_name_space(target):
    return made_name_space(CLONE_NEWUSER | CLONE_NEWPID)


def attack_network_name_space(target):
    return made_name_space(CLONE_NEWUSER | CLONE_NEWNET)


def born(make):
    """A child that a system call has made, which ends at once."""
    child = make()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "made"


def attack_clone(target):
    return born(lambda: call("clone", CLONE_NEWUSER | 17, None, None, None, None))


def attack_clone3(target):
    arguments = struct.pack("QQQQQQQQ", CLONE_NEWUSER, 0, 0, 0, 17, 0, 0, 0)
    return born(lambda: call("clone3", arguments, len(arguments)))


def attack_join_name_space(target):
    """setns to the user name space that a child of its own has made."""
    def body():
        out, into = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                call("unshare", CLONE_NEWUSER)
            finally:
                os.write(into, b"x")
                time.sleep(30)
                os._exit(0)
        os.read(out, 1)
        try:
            with open("/proc/%d/ns/user" % child) as space:
                if os.readlink("/proc/%d/ns/user" % child) == os.readlink("/proc/self/ns/user"):
                    # It could make none; what does the call itself say?
                    with open("/proc/self/ns/user") as own:
                        call("setns", own.fileno(), CLONE_NEWUSER)
                call("setns", space.fileno(), CLONE_NEWUSER)
            return "joined"
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
    return in_child(body)


def attack_bpf(target):
    return any_reached([("bpf", 0, BAD, 32)])


def attack_user_faults(target):
    os.close(call("userfaultfd", 1))  # of user space alone
    return "opened"


def attack_io_uring(target):
    parameters = ctypes.create_string_buffer(120)
    os.close(call("io_uring_setup", 4, parameters))
    return "opened"


def attack_quota(target):
    return any_reached([("quotactl", 0xFFFFFFF, None, 0, None)])


def attack_administration(target):
    """What only root may, and a worker has not even where it runs without isolation."""
    return any_reached([
        ("kexec_load", 0, 0, None, 0), ("init_module", None, 0, b""), ("delete_module", b"x", 0),
        ("swapon", b"/nonexistent", 0), ("reboot", 0, 0, 0, None), ("acct", b"/nonexistent")])


def attack_x32(target):
    """keyctl by the number of the x32 machine, which a filter has to know too."""
    if MACHINE != "x86_64":
        raise Lacking("there are no such numbers on " + MACHINE)
    by_number(0x40000000 + 250, 0, -3, 0)
    return "the number of the session keyring"


def attack_32_bit(target):
    """unshare by the gate for programs of 32 bit."""
    if MACHINE != "x86_64":
        raise Lacking("there is no such gate on " + MACHINE)

    def body():
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        # push rbx; mov eax, edi; mov ebx, esi; int 0x80; pop rbx; ret
        code.write(bytes.fromhex("5389f889f3cd805bc3"))
        gate = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)(
            ctypes.addressof(ctypes.c_char.from_buffer(code)))
        result = gate(310, CLONE_NEWUSER)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return "a user name space"
    return in_child(body)


def made_socket(*what):
    socket.socket(*what).close()
    return "opened"


def with_own_network(*what):
    """As who is root in a user name space of its own."""
    try:
        return made_socket(*what)
    except PermissionError:
        def body():
            call("unshare", CLONE_NEWUSER | CLONE_NEWNET)
            return made_socket(*what)
        return in_child(body)


def attack_raw_socket(target):
    return with_own_network(socket.AF_INET, socket.SOCK_RAW, 1)


def attack_packet_socket(target):
    return with_own_network(socket.AF_PACKET, socket.SOCK_RAW, 0)


def attack_vsock(target):
    return made_socket(socket.AF_VSOCK, socket.SOCK_STREAM)


def attack_alg(target):
    return made_socket(socket.AF_ALG, socket.SOCK_SEQPACKET)
