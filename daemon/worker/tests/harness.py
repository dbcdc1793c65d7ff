"""A worker process under test: this program plays the supervisor and httpd.

The extension is given by WSGID_WORKER_SO, the interpreter is the one that runs
the tests. Nothing here sleeps for a fixed time; every wait has a deadline.
"""

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

import wire

LIMIT = float(os.environ.get("WSGID_TEST_LIMIT", "20"))
HERE = os.path.dirname(os.path.abspath(__file__))
LAUNCH = """
import os, sys
control, extension, bootstrap = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
os.dup2(control, 63); os.dup2(extension, 64)
os.dup2(63, 3, inheritable=True); os.dup2(64, 4, inheritable=True)
os.closerange(5, 65)
os.execv(sys.executable, [sys.executable, "-c", bootstrap])
"""


class Answer:
    """What came back for one request."""

    def __init__(self):
        self.status = self.reason = self.failure = self.text = self.file = self.flags = self.answer = None
        self.headers, self.logs, self.blocks, self.interims, self.kinds = [], [], [], [], []

    @property
    def body(self):
        return b"".join(self.blocks)

    @property
    def log(self):
        return "\n".join(line.decode("utf-8", "replace") for _, line in self.logs)


class Connection:
    """One request connection, seen from httpd."""

    def __init__(self, sock, nonce):
        self.socket, self.nonce, self.count, self.buffer, self.fds = sock, nonce, 0, b"", []
        sock.settimeout(LIMIT)

    def ident(self):
        return self.nonce << 32 | self.count

    def send(self, data):
        self.socket.sendall(data)

    def begin(self, script, body=None, method="GET", environ=(), pull=False, code=0, **options):
        self.count += 1
        variables = {"REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": "",
                     "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1"}
        if body is not None and not pull:
            variables["CONTENT_LENGTH"] = str(len(body))
        variables.update(environ)
        kind = "pull" if pull else None if body is None else len(body)
        head = wire.request_head(script, list(variables.items()), kind, **options)
        data = wire.frame(wire.REQUEST, self.ident(), head, wire.FLAG_END if kind is None else 0, code)
        if body is not None and not pull:
            data += wire.frame(wire.BODY, self.ident(), body, wire.FLAG_END)
        self.send(data)

    def frame(self):
        """kind, flags, code, id, payload; None at the end of the connection."""
        while True:
            if len(self.buffer) >= 16:
                length, kind, flags, code, ident = struct.unpack_from("<IBBHQ", self.buffer)
                if len(self.buffer) >= 16 + length:
                    payload, self.buffer = self.buffer[16:16 + length], self.buffer[16 + length:]
                    return kind, flags, code, ident, payload
            data, ancillary, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
            for _, _, numbers in ancillary:
                self.fds += struct.unpack("%di" % (len(numbers) // 4), numbers)
            if not data:
                assert not self.buffer, "connection ended in a frame"
                return None
            self.buffer += data

    def answer(self, on_want=None, on_lookup=None):
        """Reads until END or FAIL."""
        answer = Answer()
        while True:
            got = self.frame()
            assert got is not None, "connection ended before END; log: %s" % answer.log
            kind, flags, code, ident, payload = got
            assert ident == self.ident(), (ident, self.ident())
            answer.kinds.append(kind)
            if kind == wire.LOG:
                answer.logs.append((code, payload))
            elif kind == wire.RESPONSE:
                answer.status, answer.reason, answer.headers = wire.response_head(payload)
            elif kind == wire.INTERIM:
                answer.interims.append(wire.response_head(payload))
            elif kind == wire.DATA:
                answer.blocks.append(payload)
            elif kind == wire.FILE:
                reader = wire.Reader(payload)
                answer.file = (self.fds.pop(0), reader.uint(), reader.uint())
            elif kind == wire.WANT:
                on_want(self, struct.unpack("<Q", payload)[0])
            elif kind == wire.LOOKUP:
                on_lookup(self, payload)
            elif kind == wire.ANSWER:
                answer.answer = payload
            elif kind in (wire.END, wire.FAIL):
                answer.flags = flags
                if kind == wire.FAIL:
                    answer.failure, answer.text = code, payload.decode()
                return answer
            else:
                raise AssertionError("unexpected frame %#x" % kind)

    def get(self, script, body=None, on_want=None, on_lookup=None, **options):
        self.begin(script, body, **options)
        return self.answer(on_want, on_lookup)

    def close(self):
        self.socket.close()


class Worker:
    """One worker process and its control socket."""

    def __init__(self, application_group="", env=None, **options):
        with open(os.path.join(HERE, "..", "bootstrap.py")) as file:
            bootstrap = file.read()
        self.control, theirs = socket.socketpair()
        self.control.settimeout(LIMIT)
        extension = os.open(os.environ["WSGID_WORKER_SO"], os.O_RDONLY)
        self.stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(theirs.fileno()), str(extension), bootstrap],
            pass_fds=[theirs.fileno(), extension], stdin=subprocess.DEVNULL, stdout=self.stderr, stderr=self.stderr,
            env=dict(os.environ if env is None else env))
        theirs.close()
        os.close(extension)
        self.buffer, self.assigned, self.seen, self.connections = b"", 0, [], []
        self.tell(wire.spec(application_group, **options))

    def tell(self, message, fds=()):
        socket_data = wire.frame(wire.CONTROL, 0, message, code=len(fds))
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("%di" % len(fds), *fds))] if fds else []
        self.control.sendmsg([socket_data], ancillary)

    def message(self, timeout=None):
        """The next message; None at the end of the socket."""
        deadline = time.monotonic() + (LIMIT if timeout is None else timeout)
        while True:
            if len(self.buffer) >= 16:
                length, kind, _, _, _ = struct.unpack_from("<IBBHQ", self.buffer)
                if len(self.buffer) >= 16 + length:
                    payload, self.buffer = self.buffer[16:16 + length], self.buffer[16 + length:]
                    assert kind == wire.CONTROL
                    return wire.from_worker(payload)
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.control], [], [], left)[0]:
                raise AssertionError("no message in time; seen %r; stderr:\n%s" % (self.seen, self.output()))
            data = self.control.recv(1 << 16)
            if not data:
                return None
            self.buffer += data

    def expect(self, name, timeout=None):
        """The next message of this name; others are kept in `seen`."""
        for at, got in enumerate(self.seen):
            if got[0] == name:
                return self.seen.pop(at)
        while True:
            got = self.message(timeout)
            assert got is not None, "control socket ended before %s; stderr:\n%s" % (name, self.output())
            if got[0] == name:
                return got
            self.seen.append(got)

    def connect(self, nonce=0xABCD1234):
        """Assigns a new connection; returns httpd's end of it."""
        ours, theirs = socket.socketpair()
        self.assigned += 1
        self.tell(wire.assign(self.assigned, nonce), [theirs.fileno()])
        theirs.close()
        connection = Connection(ours, nonce)
        connection.number = self.assigned
        self.connections.append(connection)
        return connection

    def wait(self):
        try:
            return self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError("the worker did not end; stderr:\n%s" % self.output())

    def output(self):
        self.stderr.seek(0)
        return self.stderr.read().decode("utf-8", "replace")

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for each in self.connections + [self.control, self.stderr]:
            each.close()


class Forked(Worker):
    """A worker that a preloader forked. Its process is nobody's child here."""

    def __init__(self, preloader, slot=0):
        self.control, theirs = socket.socketpair()
        self.control.settimeout(LIMIT)
        self.stderr = tempfile.TemporaryFile()
        self.buffer, self.assigned, self.seen, self.connections = b"", 0, [], []
        preloader.tell(wire.fork(slot), [theirs.fileno(), self.stderr.fileno(), self.stderr.fileno()])
        theirs.close()

    def kill(self):
        """It ends because its supervisor has gone."""
        for each in self.connections + [self.control, self.stderr]:
            each.close()


class Case(unittest.TestCase):
    """A test with a directory of its own and workers that are killed after it."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.number = 0

    def script(self, source):
        self.number += 1
        path = os.path.join(self.directory.name, "app%d.wsgi" % self.number)
        with open(path, "w") as file:
            file.write(textwrap.dedent(source))
        return path

    def worker(self, *arguments, **options):
        worker = Worker(*arguments, **options)
        self.addCleanup(worker.kill)
        return worker

    def serve(self, source, **options):
        """A ready worker, a connection to it, and the script's path."""
        path = self.script(source)
        worker = self.worker(**options)
        worker.expect("Ready")
        return worker, worker.connect(), path

    def until(self, condition, what="condition"):
        deadline = time.monotonic() + LIMIT
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError("not in time: %s" % what)
            time.sleep(0.01)
