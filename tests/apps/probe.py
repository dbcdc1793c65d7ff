"""One application with a switch for everything the suites look at.

The path names a function below, the query its arguments.
"""

import json
import os
import signal
import sys
import threading
import time
from urllib.parse import parse_qsl

import pattern

PLAIN = [("Content-Type", "text/plain")]


def answer(start_response, value):
    body = json.dumps(value, sort_keys=True).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def hello(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"Hello World!"]


def info(environ, start_response):
    """Who and where this worker is."""
    return answer(start_response, {
        "pid": os.getpid(),
        "version": list(sys.version_info[:3]),
        "prefix": sys.prefix,
        "executable": sys.executable,
        "uid": list(os.getresuid()),
        "gid": list(os.getresgid()),
        "groups": sorted(os.getgroups()),
        "cwd": os.getcwd(),
        "umask": _umask(),
        "argv": sys.argv,
        "path": sys.path,
        "environment": dict(os.environ),
        "thread": threading.current_thread().name,
    })


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def environ(environ, start_response):
    """The environ: texts as they are, all else as its repr."""
    return answer(start_response, {
        key: value if isinstance(value, str) else repr(value) for key, value in environ.items()})


def echo(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [
        ("Content-Type", environ.get("CONTENT_TYPE") or "application/octet-stream"),
        ("Content-Length", str(len(body)))])
    return [body]


def lines(environ, start_response):
    """The body by the given way of reading."""
    stream = environ["wsgi.input"]
    how = arguments(environ).get("how", "iterate")
    found = {
        "iterate": lambda: list(stream),
        "readlines": lambda: stream.readlines(),
        "readline": lambda: list(iter(stream.readline, b"")),
        "readline5": lambda: list(iter(lambda: stream.readline(5), b"")),
        "read3": lambda: list(iter(lambda: stream.read(3), b"")),
    }[how]()
    return answer(start_response, [line.decode("latin-1") for line in found])


def upload(environ, start_response):
    """Reads a body of the pattern and says what came."""
    checker = pattern.Checker()
    stream = environ["wsgi.input"]
    while True:
        data = stream.read(256 * 1024)
        if not data:
            break
        checker.feed(data)
    return answer(start_response, {"length": checker.length, "wrong_at": checker.wrong_at})


def download(environ, start_response):
    """Bytes of the pattern, with or without Content-Length."""
    length = int(arguments(environ)["length"])
    headers = [("Content-Type", "application/octet-stream")]
    if "chunked" not in arguments(environ):
        headers.append(("Content-Length", str(length)))
    start_response("200 OK", headers)
    return pattern.pieces(length)


def duplex(environ, start_response):
    """Gives the body back while it comes."""
    stream = environ["wsgi.input"]
    start_response("200 OK", PLAIN)
    return iter(lambda: stream.read(64 * 1024), b"")


def reject(environ, start_response):
    """Refuses a body without looking at it."""
    start_response("413 Request Entity Too Large", PLAIN)
    return [b"too large\n"]


def sleep(environ, start_response):
    """Takes its time; tells the log that it has begun, if it has a name."""
    if "name" in arguments(environ):
        print("running: " + arguments(environ)["name"], file=environ["wsgi.errors"])
    time.sleep(float(arguments(environ).get("seconds", "1")))
    return answer(start_response, {"pid": os.getpid()})


def stream(environ, start_response):
    """Pieces with a pause after each; the first names the process."""
    query = arguments(environ)
    pieces, pause = int(query.get("pieces", "10")), float(query.get("pause", "0.1"))
    start_response("200 OK", PLAIN)

    def parts():
        yield b"%d\n" % os.getpid()
        for number in range(pieces):
            time.sleep(pause)
            yield b"piece %d\n" % number
    return parts()


def write(environ, start_response):
    """The imperative way."""
    out = start_response("200 OK", PLAIN)
    out(b"one ")
    out(b"two ")
    return [b"three"]


def status(environ, start_response):
    query = arguments(environ)
    headers = [(name, value) for name, value in parse_qsl(query.get("headers", ""), separator=";")]
    start_response(query.get("line", "200 OK"), headers or PLAIN)
    return [query.get("body", "").encode()]


def file(environ, start_response):
    """A file by wsgi.file_wrapper."""
    path = arguments(environ)["path"]
    start_response("200 OK", [
        ("Content-Type", "application/octet-stream"), ("Content-Length", str(os.path.getsize(path)))])
    return environ["wsgi.file_wrapper"](open(path, "rb"))


def log(environ, start_response):
    text = arguments(environ).get("text", "a line")
    environ["wsgi.errors"].write("errors: %s\n" % text)
    print("stdout: %s" % text)
    print("stderr: %s" % text, file=sys.stderr)
    return hello(environ, start_response)


def fail(environ, start_response):
    """Raises before the response, or after its first piece."""
    if arguments(environ).get("when") == "later":
        start_response("200 OK", PLAIN)

        def parts():
            yield b"first piece\n"
            # Long enough for the piece to be with the client.
            time.sleep(0.3)
            raise RuntimeError("raised on purpose, later")
        return parts()
    raise RuntimeError("raised on purpose")


def late(environ, start_response):
    """Raises after start_response and begins again with exc_info."""
    try:
        start_response("200 OK", PLAIN)
        raise ValueError("second thoughts")
    except ValueError:
        start_response("503 Second Thoughts", PLAIN, sys.exc_info())
    return [b"replaced"]


CLOSED = []


def closing(environ, start_response):
    """An iterable whose close() is counted; see /closed."""
    name = arguments(environ).get("name", "")

    class Body:
        def __iter__(self):
            for number in range(int(arguments(environ).get("pieces", "1"))):
                yield b"piece %d\n" % number * 1000

        def close(self):
            CLOSED.append(name)
    start_response("200 OK", PLAIN)
    return Body()


def closed(environ, start_response):
    return answer(start_response, CLOSED)


def crash(environ, start_response):
    """Ends the process: before the response, or after its first piece."""
    number = getattr(signal, arguments(environ).get("signal", "SIGKILL"))
    if arguments(environ).get("when") == "later":
        start_response("200 OK", PLAIN)

        def parts():
            yield b"first piece\n"
            time.sleep(0.3)
            os.kill(os.getpid(), number)
            time.sleep(60)
        return parts()
    os.kill(os.getpid(), number)
    time.sleep(60)


def leave(environ, start_response):
    os._exit(int(arguments(environ).get("code", "7")))


def system_exit(environ, start_response):
    sys.exit("left on purpose")


def arguments(environ):
    return dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))


def application(environ_, start_response):
    name = environ_["PATH_INFO"].strip("/").split("/")[0]
    function = globals().get(name)
    if not callable(function):
        start_response("404 Not Found", PLAIN)
        return [b"no such function: " + name.encode("latin-1")]
    return function(environ_, start_response)
