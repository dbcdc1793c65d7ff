"""A site with something to lose: files, memory, sockets, queues, each with its secret.

`places.json` beside it says where; what it cannot have is in `missing`, with the reason.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import struct
import tempfile
import threading
import tty
from urllib.parse import parse_qsl

import calls

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "places.json")) as places_file:
    PLACES = json.load(places_file)
PLACES.update(fd=999, port=1, terminal="/dev/pts/999")
SECRET = os.environ["SITE_SECRET"]
MEMORY = ctypes.create_string_buffer(("memory " + SECRET).encode(), 128)
SEEN = {"signals": 0, "datagrams": 0, "terminal": ""}
MISSING = {}
KEPT = []


def on_signal(*_):
    SEEN["signals"] += 1


def serve(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.sendall(SECRET.encode())
            except OSError:
                pass


def listen(address):
    listener = socket.socket(socket.AF_UNIX)
    if isinstance(address, str) and os.path.lexists(address):
        os.unlink(address)
    listener.bind(address)
    if isinstance(address, str):
        os.chmod(address, 0o666)
    listener.listen(8)
    KEPT.append(listener)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()


def datagrams():
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(b"\0" + PLACES["datagram"].encode())
    KEPT.append(receiver)

    def count():
        while receiver.recv(100):
            SEEN["datagrams"] += 1
    threading.Thread(target=count, daemon=True).start()


def tcp():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(8)
    KEPT.append(listener)
    PLACES["port"] = listener.getsockname()[1]
    threading.Thread(target=serve, args=(listener,), daemon=True).start()


def open_file():
    """One that has no name any more."""
    file = tempfile.TemporaryFile(dir=HERE)
    file.write(SECRET.encode())
    file.flush()
    KEPT.append(file)
    PLACES["fd"] = file.fileno()


def temporary_file():
    with open(PLACES["temporary"], "w") as file:
        file.write(SECRET)


def terminal():
    master, slave = os.openpty()
    tty.setraw(slave)
    PLACES["terminal"] = os.ttyname(slave)
    KEPT.append(slave)

    def watch():
        while True:
            SEEN["terminal"] += os.read(master, 100).decode("latin-1")
    threading.Thread(target=watch, daemon=True).start()


def shared_memory():
    part = calls.libc("shmget", PLACES["key"], 4096, 0o1600)
    calls.LIBC.shmat.restype = ctypes.c_void_p
    address = calls.LIBC.shmat(part, None, 0)
    ctypes.memmove(address, SECRET.encode() + b"\0", len(SECRET) + 1)


def message_queue():
    queue = calls.libc("msgget", PLACES["key"], 0o1600)
    message = struct.pack("l", 1) + SECRET.encode()
    for _ in range(8):
        calls.libc("msgsnd", queue, message, len(SECRET), 0o4000)


def semaphore():
    PLACES["semaphore"] = calls.libc("semget", PLACES["key"], 1, 0o1600)


def posix_queue():
    queue = calls.call("mq_open", PLACES["queue"].encode(), os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600, None)
    KEPT.append(queue)
    for _ in range(8):
        calls.call("mq_timedsend", queue, SECRET.encode(), len(SECRET), 0, None)


def key():
    """In the keyring that all processes of a user share, readable for the user. By the link this
    process may say so."""
    calls.call("keyctl", 8, -4, -3)
    made = calls.call("add_key", b"user", PLACES["keyring"].encode(), SECRET.encode(), len(SECRET), -4)
    calls.call("keyctl", 5, made, 0x3F3F0000)


def prepare():
    signal.signal(signal.SIGURG, on_signal)
    steps = [("abstract", lambda: listen(b"\0" + PLACES["abstract"].encode())), ("datagrams", datagrams),
             ("tcp", tcp), ("open_file", open_file), ("temporary_file", temporary_file), ("terminal", terminal),
             ("shared_memory", shared_memory), ("message_queue", message_queue), ("semaphore", semaphore),
             ("posix_queue", posix_queue), ("key", key)]
    steps += [("socket " + path, lambda path=path: listen(path)) for path in PLACES["sockets"].values()]
    for name, step in steps:
        try:
            step()
        except (OSError, calls.Lacking) as error:
            MISSING[name] = str(error)


def semaphore_value():
    try:
        return calls.libc("semctl", PLACES["semaphore"], 0, 12)
    except (OSError, KeyError) as error:
        return str(error)


def state(query):
    with open("/proc/self/oom_score_adj") as file:
        score = int(file.read())
    found = {
        "pid": os.getpid(), "process_group": os.getpgrp(),
        "thread": max(map(int, os.listdir("/proc/self/task"))), "address": ctypes.addressof(MEMORY), "length": len(MEMORY),
        "memory": MEMORY.value.decode(), "nice": os.getpriority(os.PRIO_PROCESS, os.getpid()),
        "processors": sorted(os.sched_getaffinity(os.getpid())),
        "scheduler": os.sched_getscheduler(os.getpid()), "oom_score_adj": score,
        "message_queues": resource.getrlimit(resource.RLIMIT_MSGQUEUE)[0],
        "priority": calls.call("ioprio_get", 1, os.getpid()), "semaphore_value": semaphore_value(),
        "files": sorted(os.listdir(HERE)), "places": PLACES, "missing": MISSING, **SEEN}
    with open(os.path.join(HERE, "settings.py")) as file:
        found["settings"] = file.read()
    if "read" in query:
        try:
            with open(query["read"]) as file:
                found["cache"] = file.read()
        except OSError as error:
            found["cache"] = str(error)
    return found


def application(environ, start_response):
    body = json.dumps(state(dict(parse_qsl(environ["QUERY_STRING"])))).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


prepare()
print("started with", SECRET)
