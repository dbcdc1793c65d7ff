"""Attacks on what another site talks by: sockets, queues, shared memory, keys, terminals."""

import ctypes
import fcntl
import os
import socket
import time

from calls import LIBC, Refused, call, changed, in_child, libc, state, with_secret


def connect(address, target):
    with socket.socket(socket.AF_UNIX) as own:
        own.settimeout(5)
        own.connect(address)
        return with_secret(own.recv(1000), target)


def attack_abstract_socket(target):
    return connect(b"\0" + target["places"]["abstract"].encode(), target)


def attack_abstract_datagrams(target):
    before = state(target)["datagrams"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
        own.sendto(b"x", b"\0" + target["places"]["datagram"].encode())
    end = time.monotonic() + 1
    while time.monotonic() < end:
        if state(target)["datagrams"] > before:
            return "the other has received it"
        time.sleep(0.02)
    raise Refused("the other receives nothing")


def attack_socket_in_tmp(target):
    return connect(target["places"]["sockets"]["tmp"], target)


def attack_socket_in_run(target):
    return connect(target["places"]["sockets"]["run"], target)


def attack_socket_beside(target):
    return connect(target["places"]["sockets"]["beside"], target)


def attack_bus(target):
    """Where the user's systemd and its programs listen."""
    return connect(target["places"]["sockets"]["bus"], target)


def attack_port(target):
    with socket.create_connection(("127.0.0.1", target["places"]["port"]), 5) as own:
        return with_secret(own.recv(1000), target)


def attack_names_of_sockets(target):
    with open("/proc/net/unix") as file:
        if target["places"]["abstract"] not in file.read():
            raise Refused("it is not in the list")
    return "the names of the other's sockets"


def attack_shared_memory(target):
    part = libc("shmget", target["places"]["key"], 4096, 0)
    LIBC.shmat.restype = ctypes.c_void_p
    ctypes.set_errno(0)
    address = LIBC.shmat(part, None, 0o10000)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "shmat")
    return with_secret(ctypes.string_at(address, 100), target)


def attack_message_queue(target):
    queue = libc("msgget", target["places"]["key"], 0)
    buffer = ctypes.create_string_buffer(1000)
    libc("msgrcv", queue, buffer, 900, 0, 0o4000)
    return with_secret(buffer.raw, target)


def attack_semaphore(target):
    semaphore = libc("semget", target["places"]["key"], 0, 0)
    libc("semctl", semaphore, 0, 16, 7)
    return changed(target, "semaphore_value", 7)


def attack_posix_queue(target):
    queue = call("mq_open", target["places"]["queue"].encode(), os.O_RDWR | os.O_NONBLOCK, 0, None)
    buffer = ctypes.create_string_buffer(65536)
    call("mq_timedreceive", queue, buffer, len(buffer), None, None)
    os.close(queue)
    return with_secret(buffer.raw, target)


def attack_key(target):
    """The keyring of the user, -4, which all its processes share."""
    key = call("keyctl", 10, -4, b"user", target["places"]["keyring"].encode(), 0)
    buffer = ctypes.create_string_buffer(1000)
    call("keyctl", 11, key, buffer, len(buffer))
    return with_secret(buffer.raw, target)


def attack_own_key(target):
    return "key %d" % call("add_key", b"user", b"own", b"own", 3, -2)


def attack_terminal(target):
    """Text on a terminal of the other's."""
    word = "typed-%d" % os.getpid()
    terminal = os.open(target["places"]["terminal"], os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.ioctl(terminal, 0x5412, b"x")  # TIOCSTI
        how = "as if typed"
    except OSError as error:
        how = "written (TIOCSTI: %s)" % error.strerror
    os.write(terminal, word.encode())
    end = time.monotonic() + 1
    while time.monotonic() < end:
        if word in state(target)["terminal"]:
            return how
        time.sleep(0.02)
    raise Refused("the other's terminal has another text")


def attack_typed(target):
    """TIOCSTI on a terminal of its own."""
    def body():
        os.setsid()
        _, slave = os.openpty()
        fcntl.ioctl(slave, 0x540E, 0)  # TIOCSCTTY
        fcntl.ioctl(slave, 0x5412, b"x")
        return "typed"
    return in_child(body)
