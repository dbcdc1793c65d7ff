"""What the options of a process group are tried on. The path names a function."""

import ctypes
import json
import os
import threading
import time
from urllib.parse import parse_qsl

KEPT = []


def pid(query):
    return os.getpid()


def sleep(query):
    time.sleep(float(query["seconds"]))
    return os.getpid()


def spin(query):
    """Uses CPU time."""
    end = time.process_time() + float(query["seconds"])
    while time.process_time() < end:
        pass
    return os.getpid()


def allocate(query):
    """Takes memory, keeps it, and touches every page of it."""
    KEPT.append(b"x" * (int(query["mib"]) << 20))
    return os.getpid()


def lock(query):
    """Holds the interpreter lock: a C extension that has gone wrong."""
    ctypes.PyDLL(None).sleep(int(query["seconds"]))
    return os.getpid()


def environment(query):
    return dict(os.environ)


def path(query):
    import sys
    return sys.path


def stack(query):
    return threading.stack_size()


def deeper(query):
    """Python calls within the stack of this thread."""
    def down(level):
        return 0 if level == 0 else 1 + down(level - 1)
    return down(int(query["levels"]))


def application(environ, start_response):
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    body = json.dumps(globals()[environ["PATH_INFO"].strip("/")](query)).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
