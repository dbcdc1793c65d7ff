"""What an application of mod_wsgi may rely on, asked by the suite `contract`: methods of
streams, failures, files, parts of answers."""

import gzip
import io
import json
import os
import sys
import tempfile
import zipfile

import mod_wsgi

DIRECTORY = tempfile.TemporaryDirectory()
HERE = DIRECTORY.name + "/"
KEPT = {}

ATTRIBUTES = ("closed", "encoding", "newlines", "line_buffering", "write_through", "name")
# By the method: arguments that it is called with.
CALLS = {
    "write": [(), ("a",), (b"a",), (bytearray(b"a"),), (memoryview(b"a"),), (1,), (None,), ("a", "b"), ("\ud800",),
              ("\xe4",), ("a\0b",), ("",), ("two\nlines\n",)],
    "writelines": [(), (["a", "b"],), ([b"a"],), ([b"a", bytearray(b"b"), memoryview(b"c")],), ([1],), ("ab",), (b"ab",),
                   (1,), (None,), ((),)],
    "flush": [(), (1,)], "isatty": [()], "readable": [()], "writable": [()], "seekable": [()], "fileno": [()],
    "read": [(), (1,), (-1,), (None,), ("x",)], "readline": [(), (1,), ("x",)], "readlines": [(), (1,)],
    "readinto": [(bytearray(1),)], "read1": [()], "tell": [()], "seek": [(), (0,), (0, 2)], "truncate": [(), (0,)],
    "__iter__": [()], "__next__": [()], "reconfigure": [()], "getvalue": [()],
}
CLEANED_UP = {"flush": [()], "isatty": [()], "close": [()], "__exit__": [(None, None, None)]}


def outcome(call):
    """The exception's type, a plain value, or else the kind of the result."""
    try:
        result = call()
    except BaseException as error:
        # An UnsupportedOperation is an OSError, and told apart by few.
        return "OSError" if isinstance(error, OSError) else type(error).__name__
    plain = (str, int, bytes, bool, list, type(None))
    return repr(result) if isinstance(result, plain) else "an object"


def shown(argument):
    if isinstance(argument, list):
        return "[%s]" % ", ".join(shown(item) for item in argument)
    return "memoryview" if isinstance(argument, memoryview) else ascii(argument)


def table(name, stream, calls=None):
    results = {} if calls else {"%s.%s" % (name, attribute): outcome(lambda: getattr(stream, attribute)) for attribute in ATTRIBUTES}
    for method, tuples in (calls or CALLS).items():
        for arguments in tuples:
            key = "%s.%s(%s)" % (name, method, ", ".join(shown(argument) for argument in arguments))
            results[key] = outcome(lambda: getattr(stream, method)(*arguments))
    results["%s print" % name] = outcome(lambda: print("printed", file=stream))
    results["%s is text" % name] = isinstance(stream, io.TextIOBase)
    return results


def streams(environ):
    errors = environ["wsgi.errors"]
    return {"wsgi.errors": errors, "errors.buffer": errors.buffer, "sys.stderr": sys.stderr, "stderr.buffer": sys.stderr.buffer,
            "sys.stdout": sys.stdout, "stdout.buffer": sys.stdout.buffer, "wsgi.input": environ["wsgi.input"]}


class Twice:
    """Fails in the iteration, and again when it is closed."""

    def __iter__(self):
        return self

    def __next__(self):
        raise ValueError("contract iteration")

    def close(self):
        raise KeyError("contract close")


def gives_up(start_response, *blocks):
    start_response("200 OK", [])
    yield from blocks
    raise mod_wsgi.RequestTimeout("contract")


class OwnRead:
    """Has a descriptor, and reads otherwise."""

    def __init__(self, file):
        self.file = file

    def fileno(self):
        return self.file.fileno()

    def tell(self):
        return self.file.tell()

    def read(self, size=-1):
        return self.file.read(size).upper()


class OwnReader(io.BufferedReader):
    def read(self, size=-1):
        return super().read(size).upper()


def at(file, position):
    file.seek(position)
    return file


def full(file):
    file.write(b"contents")
    file.seek(0)
    return file


def plain(mode="rb", buffering=-1):
    return open(HERE + "plain", mode, buffering)


FILES = {
    "plain": plain, "unbuffered": lambda: plain(buffering=0), "updated": lambda: plain("r+b"), "text": lambda: plain("r"),
    "in the middle": lambda: at(plain(), 3), "read from": lambda: [file for file in [plain()] if file.read(3)][0],
    "BytesIO": lambda: io.BytesIO(b"contents"), "BytesIO in the middle": lambda: at(io.BytesIO(b"contents"), 3),
    "named temporary": lambda: full(tempfile.NamedTemporaryFile()), "temporary": lambda: full(tempfile.TemporaryFile()),
    "spooled on disk": lambda: full(tempfile.SpooledTemporaryFile(4)), "spooled in memory": lambda: full(tempfile.SpooledTemporaryFile(400)),
    "zip member": lambda: zipfile.ZipFile(HERE + "packed.zip").open("member"),
    "gzip": lambda: gzip.open(HERE + "packed.gz"), "reader of gzip": lambda: io.BufferedReader(gzip.open(HERE + "packed.gz")),
    "own read": lambda: OwnRead(plain()), "own reader": lambda: OwnReader(io.FileIO(HERE + "plain")),
}


def make_files():
    with open(HERE + "plain", "wb") as file:
        file.write(b"contents")
    with gzip.open(HERE + "packed.gz", "wb") as file:
        file.write(b"contents")
    with zipfile.ZipFile(HERE + "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member", b"contents")


def application(environ, start_response):
    what, query = environ["PATH_INFO"].strip("/"), environ["QUERY_STRING"].replace("%20", " ")
    result = {}
    if what == "streams":
        for name, stream in streams(environ).items():
            result.update(table(name, stream))
    elif what == "keep":
        KEPT.update((name, stream) for name, stream in streams(environ).items() if not name.startswith(("sys", "std")))
    elif what == "kept":
        for name, stream in KEPT.items():
            result.update(table(name, stream))
            result.update(table(name, stream, {method: calls for method, calls in CLEANED_UP.items() if hasattr(stream, method)}))
    elif what == "timeout":
        if query == "call":
            raise mod_wsgi.RequestTimeout("contract")
        return gives_up(start_response, *{"iterate": [], "empty": [b""], "late": [b"begun"]}[query])
    elif what == "twice":
        start_response("200 OK", [])
        return Twice()
    elif what == "names":
        make_files()
        result = dict.fromkeys(FILES)
    elif what == "file":
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](FILES[query]())
    elif what == "part":
        head = json.loads(environ["HTTP_X_HEAD"])
        start_response("200 OK", [tuple(field) for field in head["fields"]])
        if head["kind"] == "file":
            return environ["wsgi.file_wrapper"](plain())
        return [b"contents" * head["count"]]
    elif what == "nothing":
        return Nothing(start_response)
    body = json.dumps(result).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


class Nothing:
    """Yields nothing, for ever."""

    def __init__(self, start_response):
        start_response("200 OK", [])
        print("contract nothing begins", file=sys.stderr)

    def __iter__(self):
        return self

    def __next__(self):
        return b""

    def close(self):
        print("contract nothing is closed", file=sys.stderr)
