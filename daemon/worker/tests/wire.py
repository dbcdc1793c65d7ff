"""The wire format, written by hand: what httpd and the supervisor would send.

Deliberately not derived from the protocol crate, so that a mistake there shows; only the
bytes of the kinds are, which its golden files pin.
Called by harness.py; see protocol/PROTOCOL.md.
"""

import json
import struct

# Kinds of frame, as protocol/tests/docs.rs prints them.
HELLO = 0x01
REQUEST = 0x02
BODY = 0x03
BODY_ERROR = 0x04
CANCEL = 0x05
VARIABLE = 0x06
SPAN = 0x07
WANT = 0x21
INTERIM = 0x22
RESPONSE = 0x23
DATA = 0x24
FILE = 0x25
LOG = 0x26
END = 0x27
FAIL = 0x28
ANSWER = 0x29
LOOKUP = 0x2a
CONTROL = 0x41
FLAG_END, FLAG_FLUSH, FLAG_CLOSE = 1, 2, 4


def uint(value):
    if value < 251:
        return bytes([value])
    if value < 1 << 16:
        return b"\xfb" + struct.pack("<H", value)
    if value < 1 << 32:
        return b"\xfc" + struct.pack("<I", value)
    return b"\xfd" + struct.pack("<Q", value)


def text(value):
    value = value.encode("utf-8") if isinstance(value, str) else value
    return uint(len(value)) + value


def sequence(values, encode):
    return uint(len(values)) + b"".join(map(encode, values))


def flag(value):
    return b"\1" if value else b"\0"


def pair(value):
    return text(value[0]) + text(value[1])


# The versions that this file speaks.
VERSIONS = (2, 2)


def option_text(value):
    """The text of an option's value, as an administrator would write it; a fraction is one of seconds."""
    if isinstance(value, bool):
        return "On" if value else "Off"
    if isinstance(value, float):
        return "%dms" % round(value * 1000)
    if isinstance(value, list):
        return ":".join(value)
    return str(value)


def preload(value):
    script, application_group, callable_name = value
    return json.dumps({"script": script, "application_group": application_group, "callable": callable_name})


def group(**options):
    """A group's definition: its options by name, `graceful_timeout=10` for `graceful-timeout`."""
    options.setdefault("threads", 2)
    files, directories = options.pop("runs", ([], ["/"]))
    named = [["script", path] for path in files] + [["script-directories", path] for path in directories]
    named += [["preload-script", preload(value)] for value in options.pop("preload_scripts", [])]
    named += [[name.replace("_", "-"), option_text(value)] for name, value in options.items()]
    return {"name": "test", "origin": "test:1", "options": named}


def spec(application_group="", preloader=False, versions=VERSIONS, **options):
    """ToWorker::Spec or ToWorker::Preload: the kind, the fixed front, and JSON."""
    front = struct.pack("<HHQI", *versions, 1, 0)
    body = {
        "group": group(**options),
        "application_group": application_group,
        "identity": {"uid": 0, "gid": 0, "groups": [], "user": "root", "home": "/", "shell": "", "change": False},
        "slot": 0,
        "generation": 1,
        "server": {
            "version": [2, 4, 71], "description": "Apache/2.4.71 (test)", "mpm": "event",
            "maximum_processes": 4, "threads_per_process": 25,
        },
        "log_level": "info",
    }
    return uint(7 if preloader else 0) + front + text(json.dumps(body))


def fork(slot):
    return uint(8) + uint(slot)


def assign(connection, nonce):
    return uint(1) + uint(connection) + uint(nonce)


DRAIN, DUMP, QUERY = uint(2), uint(4), uint(5)


def stop(within_ms):
    return uint(3) + uint(within_ms)


def interrupt(connection):
    return uint(6) + uint(connection)


def frame(kind, ident, payload=b"", flags=0, code=0):
    return struct.pack("<IBBHQ", len(payload), kind, flags, code, ident) + payload


CALLS = {"application": 0, "handler": 1, "check_password": 2, "realm_hash": 3, "groups": 4, "access": 5, "dispatch": 6}


def request_head(script, environ, body, callable="application", call=("application",), reloading=True,
                 file_frames=True, ignore_activity=False, interim=True, times=(0, 0)):
    """RequestHead; `body` is None, a length (inline) or "pull"."""
    out = uint(CALLS[call[0]]) + b"".join(map(text, call[1:]))
    out += text(script) + text(callable)
    out += uint(0) if body is None else uint(2) if body == "pull" else uint(1) + uint(body)
    out += flag(reloading) + flag(file_frames) + flag(ignore_activity) + flag(interim)
    out += uint(times[0]) + uint(times[1])
    return out + sequence(environ, pair)


class Reader:
    """Decodes what a worker sends."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        piece = self.data[self.at:self.at + count]
        assert len(piece) == count, "short payload"
        self.at += count
        return piece

    def uint(self):
        first = self.take(1)[0]
        if first < 251:
            return first
        size, code = {251: (2, "<H"), 252: (4, "<I"), 253: (8, "<Q")}[first]
        return struct.unpack(code, self.take(size))[0]

    def bytes(self):
        return self.take(self.uint())

    def text(self):
        return self.bytes().decode()

    def int(self):
        value = self.uint()
        return value >> 1 ^ -(value & 1)

    def stamp(self):
        """(device, inode, size, nanoseconds), or None."""
        if self.take(1) == b"\0":
            return None
        place = [self.uint() for _ in range(3)]
        return (*place, self.int() * 10**9 + self.int())

    def end(self):
        assert self.at == len(self.data), "bytes left over"


def response_head(payload):
    reader = Reader(payload)
    status, reason = reader.uint(), reader.bytes()
    headers = [(reader.bytes(), reader.bytes()) for _ in range(reader.uint())]
    reader.end()
    return status, reason, headers


RECYCLE = ["ScriptChanged", "MaximumRequests", "Memory", "RestartInterval", "Inactivity", "CpuTimeLimit", "Signal",
           "RequestTimeout", "LoadFailed", "NoDescriptors"]


def from_worker(payload):
    """(name, values...) of a FromWorker message."""
    reader = Reader(payload)
    kind = reader.uint()
    if kind == 0:
        python = tuple(reader.uint() for _ in range(3))
        result = ("Ready", python, [(reader.text(), reader.text()) for _ in range(reader.uint())])
    elif kind in (1, 2):
        result = ("Release" if kind == 1 else "Closed", reader.uint())
    elif kind == 3:
        result = ("Recycle", RECYCLE[reader.uint()])
    elif kind == 4:
        names = ["requests", "in_flight", "in_flight_max", "connections", "busy_us"]
        report = {name: reader.uint() for name in names}
        report["histogram"] = [reader.uint() for _ in range(reader.uint())]
        report["running"] = [(reader.uint(), reader.text(), reader.uint()) for _ in range(reader.uint())]
        for name in ("memory", "cpu_us"):
            report[name] = reader.uint() if reader.take(1) == b"\1" else None
        result = ("Report", report)
    elif kind == 5:
        result = ("Dumped", reader.text())
    elif kind in (6, 7):
        result = ("Heartbeat" if kind == 6 else "Forked",)
    elif kind in (8, 9):
        result = ("CannotFork" if kind == 8 else "Loaded", reader.text())
    elif kind == 10:
        result = ("Called", reader.text(), reader.text())
    elif kind == 11:
        result = ("Stamps", [(reader.text(), reader.stamp()) for _ in range(reader.uint())])
    elif kind == 12:
        result = ("Changed", reader.text(), reader.stamp())
    elif kind == 13:
        result = ("Reloading", reader.text(), reader.take(1) == b"\1")
    else:
        assert kind == 14, kind
        result = ("Looks", reader.text())
    reader.end()
    return result
