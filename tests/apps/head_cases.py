"""Responses as the request asks for them.

The query's `spec` is JSON: `status`, `headers` (pairs), `body` (a list of
latin-1 texts), and switches for all that an application can do wrong.
"""

import json
import sys
from urllib.parse import parse_qsl

PLAIN = [["Content-Type", "text/plain"]]


def spec_of(environ):
    return json.loads(dict(parse_qsl(environ.get("QUERY_STRING", ""))).get("spec", "{}"))


def described(error):
    return "%s: %s" % (type(error).__name__, error)


def respond(environ, start_response):
    spec = spec_of(environ)
    body = [piece.encode("latin-1") for piece in spec.get("body", ["body\n"])]
    headers = [tuple(pair) for pair in spec.get("headers", PLAIN)]
    # A client of HTTP/1.0 cannot have them: then the key is not there.
    early_hints = environ.get("wsgi.early_hints", lambda hints: None)
    for hints in spec.get("hints", []):
        early_hints([tuple(pair) for pair in hints])
    start_response(spec.get("status", "200 OK"), headers)
    if spec.get("generator"):
        return (piece for piece in body)
    return body


def misuse(environ, start_response):
    """Wrong calls of start_response and write; the exception is the answer."""
    which = spec_of(environ)["which"]
    try:
        MISUSES[which](start_response)
        text = "no exception"
    except BaseException as error:
        text = described(error)
    try:
        raise ValueError("to begin again")
    except ValueError:
        start_response("200 OK", [("Content-Type", "text/plain")], sys.exc_info())
    return [text.encode("utf-8", "replace")]


def _twice(start_response):
    start_response("200 OK", [])
    start_response("200 OK", [])


def _twice_with_data(start_response):
    start_response("200 OK", [])(b"")
    start_response("200 OK", [])


class _List(list):
    pass


class _Str(str):
    pass


MISUSES = {
    "no arguments": lambda start: start(),
    "one argument": lambda start: start("200 OK"),
    "four arguments": lambda start: start("200 OK", [], None, None),
    "status bytes": lambda start: start(b"200 OK", []),
    "status int": lambda start: start(200, []),
    "status none": lambda start: start(None, []),
    "status empty": lambda start: start("", []),
    "status short": lambda start: start("20", []),
    "status word": lambda start: start("abc OK", []),
    "status four digits": lambda start: start("2000 OK", []),
    "status no space": lambda start: start("200OK", []),
    "status number only": lambda start: start("200", []),
    "status number and space": lambda start: start("200 ", []),
    "status leading space": lambda start: start(" 200 OK", []),
    "status new line": lambda start: start("200 OK\nX: y", []),
    "status return": lambda start: start("200 OK\r\nX: y", []),
    "status nul": lambda start: start("200 OK\x00", []),
    "status tab": lambda start: start("200 O\tK", []),
    "status latin": lambda start: start("200 caf\xe9", []),
    "status wide": lambda start: start("200 \u20ac", []),
    "status subclass": lambda start: start(_Str("200 OK"), []),
    "headers tuple": lambda start: start("200 OK", ()),
    "headers none": lambda start: start("200 OK", None),
    "headers dict": lambda start: start("200 OK", {}),
    "headers iterator": lambda start: start("200 OK", iter([])),
    "headers subclass": lambda start: start("200 OK", _List()),
    "header list": lambda start: start("200 OK", [["A", "b"]]),
    "header text": lambda start: start("200 OK", ["A: b"]),
    "header one": lambda start: start("200 OK", [("A",)]),
    "header three": lambda start: start("200 OK", [("A", "b", "c")]),
    "header none": lambda start: start("200 OK", [None]),
    "name bytes": lambda start: start("200 OK", [(b"A", "b")]),
    "name int": lambda start: start("200 OK", [(1, "b")]),
    "name empty": lambda start: start("200 OK", [("", "b")]),
    "name space": lambda start: start("200 OK", [("A B", "c")]),
    "name colon": lambda start: start("200 OK", [("A:", "c")]),
    "name new line": lambda start: start("200 OK", [("A\n", "c")]),
    "name return": lambda start: start("200 OK", [("A\r\nB", "c")]),
    "name nul": lambda start: start("200 OK", [("A\x00", "c")]),
    "name latin": lambda start: start("200 OK", [("Caf\xe9", "c")]),
    "name wide": lambda start: start("200 OK", [("\u20ac", "c")]),
    "name bracket": lambda start: start("200 OK", [("A(b)", "c")]),
    "name tab": lambda start: start("200 OK", [("A\tb", "c")]),
    "value bytes": lambda start: start("200 OK", [("A", b"b")]),
    "value int": lambda start: start("200 OK", [("A", 1)]),
    "value none": lambda start: start("200 OK", [("A", None)]),
    "value empty": lambda start: start("200 OK", [("A", "")]),
    "value new line": lambda start: start("200 OK", [("A", "b\nC: d")]),
    "value return": lambda start: start("200 OK", [("A", "b\rc")]),
    "value folded": lambda start: start("200 OK", [("A", "b\r\n c")]),
    "value nul": lambda start: start("200 OK", [("A", "b\x00c")]),
    "value tab": lambda start: start("200 OK", [("A", "b\tc")]),
    "value bell": lambda start: start("200 OK", [("A", "b\x07c")]),
    "value latin": lambda start: start("200 OK", [("A", "caf\xe9")]),
    "value wide": lambda start: start("200 OK", [("A", "\u20ac")]),
    "length word": lambda start: start("200 OK", [("Content-Length", "many")]),
    "length negative": lambda start: start("200 OK", [("Content-Length", "-1")]),
    "length empty": lambda start: start("200 OK", [("Content-Length", "")]),
    "exc_info text": lambda start: start("200 OK", [], "wrong"),
    "exc_info list": lambda start: start("200 OK", [], []),
    "exc_info none": lambda start: start("200 OK", [], None),
    "exc_info empty": lambda start: start("200 OK", [], ()),
    "exc_info word": lambda start: start("200 OK", [], exc_info=None),
    "twice": _twice,
    "twice with no data": _twice_with_data,
    "write text": lambda start: start("200 OK", [])("text"),
    "write none": lambda start: start("200 OK", [])(None),
    "write nothing": lambda start: start("200 OK", [])(),
    "write bytearray": lambda start: start("200 OK", [])(bytearray(b"text")),
    "write two": lambda start: start("200 OK", [])(b"a", b"b"),
}


def misuses(environ, start_response):
    """The names of all of them."""
    body = json.dumps(list(MISUSES)).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]


def wrong(environ, start_response):
    """What an application can return wrongly."""
    which = spec_of(environ)["which"]
    if which == "no start":
        return [b"without start_response"]
    if which == "no start, empty":
        return []
    if which == "late start":
        def parts():
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield b"late but right"
        return parts()
    if which == "start after data":
        def parts():
            yield b"too early"
            start_response("200 OK", [])
        return parts()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return {
        "text": ["a text"],
        "none item": [None],
        "int item": [1],
        "bytearray item": [bytearray(b"array")],
        "memoryview item": [memoryview(b"view")],
        "none": None,
        "int": 7,
        "string": "a text",
        "bytes": b"bytes",
        "empty bytes": b"",
        "empty list": [],
        "empty items": [b"", b"", b"only", b""],
        "tuple": (b"a ", b"tuple"),
        "set": {b"a set"},
        "dict": {b"a key": 1},
        "generator": (piece for piece in (b"a ", b"generator")),
        "text later": [b"first ", "then a text"],
        "iterator": iter([b"an ", b"iterator"]),
    }[which]


def second_head(environ, start_response):
    """exc_info after data: the exception comes back."""
    start_response("200 OK", [("Content-Type", "text/plain")])(b"first,")
    try:
        raise KeyError("in the middle")
    except KeyError:
        try:
            start_response("500 Oops", [("Content-Type", "text/plain")], sys.exc_info())
        except KeyError as error:
            return [("raised again: %s" % error).encode()]
    return [b"not raised"]


def head(environ, start_response):
    """An answer whose length depends on nothing; for HEAD and GET alike."""
    body = b"the same for HEAD and GET\n"
    headers = [("Content-Type", "text/plain"), ("X-Method", environ["REQUEST_METHOD"])]
    if "length" in environ["QUERY_STRING"]:
        headers.append(("Content-Length", str(len(body))))
    start_response("200 OK", headers)
    return [body]


def etag(environ, start_response):
    """Answers a conditional GET itself."""
    if environ.get("HTTP_IF_NONE_MATCH") == '"one"':
        start_response("304 Not Modified", [("ETag", '"one"')])
        return []
    start_response("200 OK", [("Content-Type", "text/plain"), ("ETag", '"one"')])
    return [b"the whole\n"]


def inside(environ, start_response):
    """The target of redirects and of ErrorDocument: says how it was reached."""
    keys = ("REQUEST_METHOD", "CONTENT_LENGTH", "REDIRECT_STATUS", "REDIRECT_URL", "PATH_INFO", "QUERY_STRING")
    body = json.dumps({key: environ.get(key) for key in keys}, sort_keys=True).encode()
    if "fail" in environ["PATH_INFO"]:
        raise RuntimeError("the error page fails too")
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def many(environ, start_response):
    """So many fields, each so long."""
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    value = "x" * int(query["length"])
    start_response("200 OK", [("X-Many-%d" % number, value) for number in range(int(query["fields"]))])
    return [b"many\n"]


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/").split("/")[0].replace("-", "_")
    function = globals().get(name)
    if not callable(function):
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"no such function\n"]
    return function(environ, start_response)
