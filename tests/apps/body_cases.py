"""Request bodies: every way to read one, and what happens when it breaks.

The path names a function below. What an application saw of a broken body is
kept and told by /seen, because its client is gone by then.
"""

import hashlib
import json
import time
from urllib.parse import parse_qsl

import pattern

PLAIN = [("Content-Type", "text/plain")]
SEEN = {}
CALLS = {}
KEPT = {}


def arguments(environ):
    return dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))


def answer(start_response, value):
    body = json.dumps(value, sort_keys=True).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def described(error):
    return {
        "type": type(error).__name__,
        "oserror": isinstance(error, OSError),
        "text": str(error),
    }


def read(environ, start_response):
    """All of it by one read(), and what environ said about it."""
    body = environ["wsgi.input"].read()
    return answer(start_response, {
        "length": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "content_length": environ.get("CONTENT_LENGTH"),
        "terminated": environ.get("wsgi.input_terminated"),
        "method": environ["REQUEST_METHOD"],
        "again": environ["wsgi.input"].read().decode("latin-1"),
    })


def sized(environ, start_response):
    """All of it in blocks, as a careful application reads."""
    digest, length = hashlib.sha256(), 0
    while True:
        block = environ["wsgi.input"].read(100000)
        if not block:
            break
        digest.update(block)
        length += len(block)
    return answer(start_response, {"length": length, "sha256": digest.hexdigest()})


def ways(environ, start_response):
    """One body through a list of calls: read:N, readline:N, readlines:N, next, rest."""
    stream = environ["wsgi.input"]
    results = []
    for call in arguments(environ)["calls"].split(","):
        name, _, count = call.partition(":")
        try:
            if name == "next":
                result = next(iter(stream), None)
            elif count:
                result = getattr(stream, name)(int(count))
            else:
                result = getattr(stream, name)()
            if isinstance(result, list):
                result = [line.decode("latin-1") for line in result]
            elif result is not None:
                result = result.decode("latin-1")
        except Exception as error:
            result = described(error)
        results.append(result)
    return answer(start_response, results)


def broken(environ, start_response):
    """Reads until the end or an error; remembers which; then answers or raises."""
    query = arguments(environ)
    size = int(query.get("size", "65536"))
    length = 0
    if "started" in query:
        start_response("200 OK", PLAIN)("begun\n".encode())
    try:
        while True:
            block = environ["wsgi.input"].read(size)
            if not block:
                SEEN[query["id"]] = {"end": length}
                break
            length += len(block)
    except Exception as error:
        SEEN[query["id"]] = dict(described(error), length=length)
        try:
            environ["wsgi.input"].read(1)
            SEEN[query["id"]]["again"] = "clean"
        except Exception as second:
            SEEN[query["id"]]["again"] = type(second).__name__
        if "swallow" not in query:
            raise
    if "started" in query:
        return [b"done\n"]
    start_response("200 OK", PLAIN)
    return [b"answered\n"]


def seen(environ, start_response):
    return answer(start_response, SEEN.get(arguments(environ)["id"]))


def called(environ, start_response):
    """Counts; see /calls."""
    name = arguments(environ)["id"]
    CALLS[name] = CALLS.get(name, 0) + 1
    start_response("200 OK", PLAIN)
    return [b"called\n"]


def calls(environ, start_response):
    return answer(start_response, CALLS.get(arguments(environ)["id"], 0))


def ignore(environ, start_response):
    """Answers without a look at the body."""
    start_response(arguments(environ).get("status", "200 OK"), PLAIN)
    return [b"ignored\n"]


def one(environ, start_response):
    """Reads one byte."""
    first = environ["wsgi.input"].read(1)
    start_response("200 OK", PLAIN)
    return [b"one:" + first]


def headers_first(environ, start_response):
    """Begins the response, then reads."""
    write = start_response("200 OK", PLAIN)
    write(b"")
    if "piece" in arguments(environ):
        write(b"piece,")
    body = environ["wsgi.input"].read()
    return [b"body:" + body]


def flood(environ, start_response):
    """A large answer to a body that nobody reads."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return pattern.pieces(int(arguments(environ)["length"]))


def duplex(environ, start_response):
    """Gives the body back while it comes."""
    stream = environ["wsgi.input"]
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return iter(lambda: stream.read(64 * 1024), b"")


def later(environ, start_response):
    """Reads after a while."""
    time.sleep(float(arguments(environ)["seconds"]))
    return read(environ, start_response)


def keep(environ, start_response):
    """Keeps its streams for /kept to use after their request."""
    KEPT["input"], KEPT["errors"] = environ["wsgi.input"], environ["wsgi.errors"]
    start_response("200 OK", PLAIN)
    return [b"kept\n"]


def kept(environ, start_response):
    results = {}
    for name, use in (
        ("read", lambda: KEPT["input"].read()),
        ("readline", lambda: KEPT["input"].readline()),
        ("write", lambda: KEPT["errors"].write("a line that comes too late\n")),
    ):
        try:
            results[name] = repr(use())
        except Exception as error:
            results[name] = type(error).__name__
    return answer(start_response, results)


def application(environ, start_response):
    function = globals().get(environ["PATH_INFO"].strip("/").replace("-", "_"))
    if not callable(function):
        start_response("404 Not Found", PLAIN)
        return [b"no such function\n"]
    return function(environ, start_response)
