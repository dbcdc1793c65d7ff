"""The wire format, written by hand: what httpd and the supervisor would send.

Deliberately not derived from the protocol crate, so that a mistake there shows.
Called by harness.py; see protocol/PROTOCOL.md.
"""

import struct

HELLO, REQUEST, BODY, BODY_ERROR, CANCEL = 1, 2, 3, 4, 5
WANT, INTERIM, RESPONSE, DATA, FILE, LOG, END, FAIL, ANSWER = range(0x21, 0x2A)
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


def option(value, encode):
    return b"\0" if value is None else b"\1" + encode(value)


def sequence(values, encode):
    return uint(len(values)) + b"".join(map(encode, values))


def flag(value):
    return b"\1" if value else b"\0"


def duration(seconds):
    whole = int(seconds)
    return uint(whole) + uint(round((seconds - whole) * 1e9))


def pair(value):
    return text(value[0]) + text(value[1])


def preload(value):
    return text(value[0]) + text(value[1]) + option(value[2], text)


def application(value):
    group, python_path, switch_interval_us, *restrictions = value
    out = text(group) + sequence(python_path, text) + option(switch_interval_us, uint)
    return out + b"".join(option(restriction, flag) for restriction in restrictions)


# name, encoding, default: the fields of GroupConfig in their order.
GROUP = [
    ("name", text, "test"), ("origin", text, "test:1"),
    ("user", lambda v: option(v, text), None), ("group", lambda v: option(v, text), None),
    ("supplementary_groups", lambda v: option(v, lambda l: sequence(l, text)), None),
    ("umask", lambda v: option(v, uint), None), ("home", lambda v: option(v, text), None),
    ("chroot", lambda v: option(v, text), None), ("script_user", lambda v: option(v, text), None),
    ("script_group", lambda v: option(v, text), None), ("socket_user", lambda v: option(v, text), None),
    ("lang", lambda v: option(v, text), None), ("locale", lambda v: option(v, text), None),
    ("env", lambda v: sequence(v, pair), []), ("env_file", lambda v: option(v, text), None),
    ("display_name", lambda v: option(v, text), None), ("python_home", lambda v: option(v, text), None),
    ("python_path", lambda v: sequence(v, text), []), ("python_eggs", lambda v: option(v, text), None),
    ("python_optimize", lambda v: bytes([v]), 0), ("python_warnings", lambda v: sequence(v, text), []),
    ("python_hash_seed", lambda v: option(v, text), None), ("dont_write_bytecode", flag, False),
    ("switch_interval_us", lambda v: option(v, uint), None), ("restrict_stdin", flag, False),
    ("restrict_stdout", flag, False), ("restrict_signal", flag, True),
    ("processes", uint, 1), ("processes_max", lambda v: option(v, uint), None), ("multiprocess", flag, False),
    ("threads", uint, 2), ("stack_size", lambda v: option(v, uint), None), ("listen_backlog", uint, 100),
    ("cpu_priority", lambda v: option(v, uint), None),
    ("startup_timeout", duration, 0), ("queue_timeout", duration, 0), ("connect_timeout", duration, 15),
    ("socket_timeout", duration, 0), ("response_socket_timeout", duration, 0), ("request_timeout", duration, 0),
    ("interrupt_timeout", duration, 0), ("deadlock_timeout", duration, 300), ("inactivity_timeout", duration, 0),
    ("idle_stop", duration, 0), ("graceful_timeout", duration, 15), ("eviction_timeout", duration, 0),
    ("shutdown_timeout", duration, 5), ("restart_interval", duration, 0), ("cpu_time_limit", duration, 0),
    ("response_flush_delay", duration, 0.005),
    ("maximum_requests", uint, 0), ("maximum_requests_jitter", uint, 0), ("memory_recycle", uint, 0),
    ("memory_limit", uint, 0), ("virtual_memory_limit", uint, 0), ("restart_burst", uint, 10),
    ("restart_window", duration, 60), ("preload", flag, False),
    ("send_buffer_size", uint, 0), ("receive_buffer_size", uint, 0), ("header_buffer_size", uint, 0),
    ("response_buffer_size", uint, 0), ("server_metrics", flag, False),
    ("preload_scripts", lambda v: sequence(v, preload), []), ("log", uint, 0), ("process_limit", uint, 0),
    ("applications", lambda v: sequence(v, application), []),
    ("cpu_weight", uint, 0), ("memory_max", uint, 0), ("tasks_max", uint, 0), ("no_new_privileges", flag, True),
]


def group(**options):
    encoded = b"".join(encode(options.pop(name, default)) for name, encode, default in GROUP)
    assert not options, "unknown options: %s" % options
    return encoded


def spec(application_group="", preloader=False, **options):
    """ToWorker::Spec or ToWorker::Preload."""
    identity = uint(0) + uint(0) + sequence([], uint) + text("root") + text("/") + text("") + flag(False)
    server = uint(2) + uint(4) + uint(71) + text("Apache/2.4.71 (test)") + text("event") + uint(4) + uint(25)
    worker = group(**options) + text(application_group) + identity + uint(0) + uint(1) + server + text("info")
    worker += sequence([], pair)
    return uint(7 if preloader else 0) + worker


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

    def end(self):
        assert self.at == len(self.data), "bytes left over"


def response_head(payload):
    reader = Reader(payload)
    status, reason = reader.uint(), reader.bytes()
    headers = [(reader.bytes(), reader.bytes()) for _ in range(reader.uint())]
    reader.end()
    return status, reason, headers


RECYCLE = ["ScriptChanged", "MaximumRequests", "Memory", "RestartInterval", "Inactivity", "CpuTimeLimit", "Signal",
           "RequestTimeout", "LoadFailed"]


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
        result = ("Report", report)
    elif kind == 5:
        result = ("Dumped", reader.text())
    elif kind in (6, 7):
        result = ("Heartbeat" if kind == 6 else "Forked",)
    elif kind in (8, 9):
        result = ("CannotFork" if kind == 8 else "Loaded", reader.text())
    else:
        assert kind == 10, kind
        result = ("Called", reader.text(), reader.text())
    reader.end()
    return result
