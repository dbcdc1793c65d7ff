"""Streams, files and failures in the middle of them.

The path names a function below. What happened to an iterable whose client has
gone is told by /events.
"""

import io
import json
import os
import signal
import tempfile
import threading
import time
from urllib.parse import parse_qsl

import pattern

PLAIN = [("Content-Type", "text/plain")]
BINARY = [("Content-Type", "application/octet-stream")]
EVENTS = {}
LOCK = threading.Lock()


def arguments(environ):
    return dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))


def answer(start_response, value):
    body = json.dumps(value, sort_keys=True).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def note(name, event):
    with LOCK:
        EVENTS.setdefault(name, []).append(event)


def events(environ, start_response):
    return answer(start_response, EVENTS.get(arguments(environ)["id"], []))


def pid(environ, start_response):
    return answer(start_response, os.getpid())


class Watched:
    """An iterable that tells what is done with it."""

    def __init__(self, name, pieces, fail=None):
        self.name, self.pieces, self.fail = name, pieces, fail

    def __iter__(self):
        note(self.name, "iter")
        try:
            for piece in self.pieces:
                yield piece
        except GeneratorExit:
            note(self.name, "left")
            raise
        note(self.name, "end")

    def close(self):
        note(self.name, "close")
        if self.fail:
            raise RuntimeError(self.fail)


def timed(environ, start_response):
    """Pieces with a pause between them."""
    query = arguments(environ)
    count, pause, size = int(query["count"]), float(query["pause"]), int(query.get("size", "8"))
    headers = list(PLAIN)
    if "length" in query:
        headers.append(("Content-Length", str(count * size)))
    start_response("200 OK", headers)

    def parts():
        for number in range(count):
            if number:
                time.sleep(pause)
            yield (b"%d" % (number % 10)) * (size - 1) + b"\n"
    return Watched(query.get("id", ""), parts())


def download(environ, start_response):
    query = arguments(environ)
    headers = list(BINARY)
    if "length" in query:
        headers.append(("Content-Length", query["size"]))
    start_response("200 OK", headers)
    return Watched(query.get("id", ""), pattern.pieces(int(query["size"])))


def block(environ, start_response):
    """A body of one block."""
    start_response("200 OK", BINARY)
    return [pattern.piece(0, int(arguments(environ)["size"]))]


def single(environ, start_response):
    """A whole body in memory, then says that it is done."""
    query = arguments(environ)
    body = b"x" * int(query["size"])
    start_response("200 OK", BINARY + [("Content-Length", query["size"])])
    return Watched(query.get("id", ""), [body])


def fail(environ, start_response):
    """Raises: early, before, between, in close."""
    query = arguments(environ)
    name, when = query.get("id", ""), query["when"]
    if when == "early":
        raise RuntimeError("raised early")
    headers = PLAIN + ([("Content-Length", "1000")] if "length" in query else [])
    start_response("200 OK", headers)

    def parts():
        if when == "before":
            raise RuntimeError("raised before the first piece")
        yield b"first piece\n"
        time.sleep(float(query.get("pause", "0.1")))
        if when == "between":
            raise RuntimeError("raised between pieces")
        yield b"second piece\n"
    return Watched(name, parts(), "raised in close" if when == "close" else None)


def short(environ, start_response):
    """Fewer or more bytes than announced, in one piece or in several."""
    query = arguments(environ)
    start_response("200 OK", PLAIN + [("Content-Length", query["announce"])])
    pause = float(query.get("pause", "0"))

    def parts():
        for size in query["send"].split(","):
            yield b"x" * int(size)
            time.sleep(pause)
    return Watched(query.get("id", ""), parts())


def crash(environ, start_response):
    """Ends the process by a signal or an exit: before the head, or after a piece."""
    query = arguments(environ)
    note(query.get("id", ""), "called")
    if query["when"] == "before":
        _end(query)
    headers = PLAIN + ([("Content-Length", "100000")] if "length" in query else [])
    start_response("200 OK", headers)

    def parts():
        yield b"first piece\n" * int(query.get("times", "1"))
        time.sleep(float(query.get("pause", "0.6")))
        _end(query)
    return parts()


def _end(query):
    if "code" in query:
        os._exit(int(query["code"]))
    os.kill(os.getpid(), getattr(signal, query.get("signal", "SIGKILL")))
    time.sleep(60)


def hang(environ, start_response):
    """Says nothing for a while: before the head, or after a piece."""
    query = arguments(environ)
    if query["when"] == "before":
        time.sleep(float(query["seconds"]))
    start_response("200 OK", PLAIN)

    def parts():
        yield b"first piece\n"
        time.sleep(float(query["seconds"]))
        yield b"second piece\n"
    return parts()


def marked(environ, start_response):
    """Notes that it ran, and tells the log if it has a name; after a pause."""
    query = arguments(environ)
    note(query["id"], "called")
    if "name" in query:
        print("running: " + query["name"], file=environ["wsgi.errors"])
    time.sleep(float(query.get("seconds", "0")))
    start_response("200 OK", PLAIN)
    return [b"marked\n"]


def writes(environ, start_response):
    """write() until the client has gone."""
    query = arguments(environ)
    write = start_response("200 OK", PLAIN)
    try:
        for _ in range(int(query["count"])):
            write(b"w" * 65536)
    except OSError as error:
        note(query["id"], "write: " + type(error).__name__)
        raise
    note(query["id"], "all written")
    return []


def _file(size):
    handle = tempfile.TemporaryFile()
    for piece in pattern.pieces(size):
        handle.write(piece)
    handle.seek(0)
    return handle


class Told:
    """A file that tells when it is closed, and has its descriptor."""

    def __init__(self, handle, name):
        self.handle, self.name = handle, name

    def read(self, *size):
        return self.handle.read(*size)

    def fileno(self):
        return self.handle.fileno()

    def tell(self):
        return self.handle.tell()

    def close(self):
        note(self.name, "close")
        self.handle.close()


def file(environ, start_response):
    """wsgi.file_wrapper around all sorts of things."""
    query = arguments(environ)
    size, kind = int(query.get("size", "3000000")), query.get("kind", "file")
    status, headers = query.get("status", "200 OK"), list(BINARY)
    handle = {
        "file": lambda: Told(_file(size), query.get("id", "")),
        "path": lambda: open(query["path"], "rb"),
        "memory": lambda: io.BytesIO(pattern.piece(0, 60000)),
        "unbuffered": lambda: open(query["path"], "rb", 0),
        "pipe": _pipe,
        "closed": _closed,
        "writing": _writing,
    }[kind]()
    if "offset" in query:
        (handle.handle if kind == "file" else handle).seek(int(query["offset"]))
    for name in ("ETag", "Last-Modified", "Content-Range", "Content-Length"):
        if name in query:
            headers.append((name, query[name]))
    start_response(status, headers)
    if "truncate" in query:
        os.truncate(query["path"], int(query["truncate"]))
    wrapper = environ["wsgi.file_wrapper"]
    return wrapper(handle, int(query["block"])) if "block" in query else wrapper(handle)


def _pipe():
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    return os.fdopen(reading, "rb")


def _closed():
    handle = tempfile.TemporaryFile()
    handle.close()
    return handle


def _writing():
    number, path = tempfile.mkstemp()
    os.write(number, b"not to be read")
    os.close(number)
    handle = open(path, "ab")
    os.unlink(path)
    return handle


def wrapped(environ, start_response):
    """A file_wrapper that a middleware iterates itself."""
    start_response("200 OK", PLAIN)
    return (piece for piece in environ["wsgi.file_wrapper"](_file(100000), 4096))


def log(environ, start_response):
    """All the ways to the log."""
    text = arguments(environ).get("text", "a line")
    environ["wsgi.errors"].write("errors %s\n" % text)
    environ["wsgi.errors"].writelines(["lines %s\n" % text, "unfinished %s" % text])
    environ["wsgi.errors"].flush()
    print("stdout %s" % text)
    start_response("200 OK", PLAIN)
    return [b"logged\n"]


def application(environ, start_response):
    function = globals().get(environ["PATH_INFO"].strip("/").replace("-", "_"))
    if not callable(function):
        start_response("404 Not Found", PLAIN)
        return [b"no such function\n"]
    return function(environ, start_response)
