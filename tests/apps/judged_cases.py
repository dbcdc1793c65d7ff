"""What applications do at the edge of PEP 3333, for two servers to be compared.

`/names` lists all cases; `/case?N` runs one of them. A case of the first kind
is a function that is called as the application; one of the second kind
returns what the client is to be told.
"""

import io
import json
import os
import sys
import tempfile

import apache
import mod_wsgi

PLAIN = [("Content-Type", "text/plain")]
FINISHED = {}
PAYLOADS = {}


@mod_wsgi.subscribe_events
def note(name, **payload):
    PAYLOADS[name] = {key: type(value).__name__ for key, value in payload.items()}
    if name == "request_finished":
        FINISHED.update({key: payload[key] for key in ("status", "input_length", "output_writes")})


DIRECTORY = tempfile.mkdtemp()
KINDS = {}


def direct(function):
    KINDS[function.__name__] = function
    return function


def attempted(work):
    """The value, or the type of the exception."""
    try:
        return repr(work())
    except BaseException as error:
        return type(error).__name__


def told(**attempts):
    """Each attempt is one case; it gets environ and returns something to show."""
    for name, work in attempts.items():
        def application(environ, start_response, work=work):
            text = attempted(lambda: work(environ))
            start_response("200 OK", PLAIN)
            return [text.encode("utf-8", "backslashreplace")]
        KINDS[name] = application


# start_response

def started(name, *arguments, **keywords):
    """One call; the exception leaves the application."""
    def application(environ, start_response):
        start_response(*arguments, **keywords)
        return [b"body"]
    KINDS["start " + name] = application


def after_data(name, info):
    """exc_info once the head has gone."""
    def application(environ, start_response):
        write = start_response("200 OK", PLAIN)
        write(b"begun,")
        text = attempted(lambda: start_response("500 Late", PLAIN, info()))
        return [text.encode()]
    KINDS["late exc_info " + name] = application


def raised():
    try:
        raise KeyError("key")
    except KeyError:
        return sys.exc_info()


for status in ("100 Continue", "101 Up", "199 Odd", "600 Odd", "700 Odd", "999 Odd", "000 Odd", "099 Odd", "200 ", "200  Two",
               "200\tOK", "200 OK ", "200 O\x7fK", "200 \x80", "\uff12\uff10\uff10 OK", "+20 OK", "2 0 OK", "200.0 OK",
               "200 \ud800"):
    started("status %r" % status, status, PLAIN)
for pair in (("X\x7f", "a"), ("X\x80", "a"), ("X", "\x80"), ("X", "\x7f"), ("X", "\x00"), ("X", " a"), ("X", "\ta"), ("X", "a "),
             ("X", "\ud800"), ("X\ud800", "a"), ("X", "\x0b"), ("X\"", "a"), ("X'", "a"), ("X/", "a"), ("X?", "a"), ("X=", "a"),
             ("X;", "a"), ("X,", "a"), ("X@", "a"), ("X{", "a"), ("X\\", "a"), ("X|", "a"), ("X~", "a"),
             ("Status", "404 Lost"), ("Content-Length", " 4"), ("Content-Length", "4 "), ("Content-Length", "+4"),
             ("Content-Length", "4, 4"), ("Content-Length", "0x4"), ("Content-Length", "9" * 30), ("Content-Length", "4.0"),
             ("Content-Length", "\u0664"), ("content-length", "x"), ("Trailer", "X"), ("Keep-Alive", "timeout=9"), ("Upgrade", "websocket"),
             ("Proxy-Authenticate", "a"), ("Content-Range", "bytes 0-3/9"), ("Last-Modified", "never"),
             ("Last-Modified", "Tue, 01 Jan 2999 00:00:00 GMT"), ("Content-Type", ""), ("Content-Type", "x"), ("Date", "never"),
             ("ETag", "unquoted"), ("Content-Encoding", "gzip"), ("Location", "relative"), ("Location", "//other.example/x"),
             ("TE", "x"), ("Via", "1.0 x"), ("Accept-Ranges", "none"), ("Age", "1"), ("Link", "<a>"), ("X-", "a"), ("-", "a"), ("1", "a")):
    started("header %s" % ascii(pair), "200 OK", [pair])
started("content-type twice", "200 OK", [("Content-Type", "a/b"), ("Content-Type", "c/d")])
started("content-length twice", "200 OK", [("Content-Length", "4"), ("Content-Length", "4")])
started("content-length twice, different", "200 OK", [("Content-Length", "9"), ("Content-Length", "4")])
started("last-modified twice", "200 OK", [("Last-Modified", "x"), ("Last-Modified", "y")])
started("location twice", "302 Found", [("Location", "http://a/"), ("Location", "http://b/")])
started("no length", "304 Same", [("Content-Length", "4"), ("ETag", '"x"')])
started("204 with length", "204 None", [("Content-Length", "4")])
started("205", "205 Reset", PLAIN)
started("keywords", status="200 OK", headers=PLAIN)
started("five", "200 OK", PLAIN, None, None)
for name, info in (("real", raised), ("empty", tuple), ("one", lambda: (ValueError,)), ("two", lambda: (ValueError, ValueError())),
                   ("four", lambda: raised() + (1,)), ("nones", lambda: (None, None, None)), ("no value", lambda: (ValueError, None, None)),
                   ("value only", lambda: (None, ValueError("x"), None)), ("texts", lambda: ("a", "b", "c")),
                   ("no traceback", lambda: (KeyError, KeyError("x"), None)), ("wrong traceback", lambda: (KeyError, KeyError("x"), 1)),
                   ("text value", lambda: (KeyError, "text", None)), ("list", lambda: [1, 2, 3]), ("text", lambda: "abc"),
                   ("none", lambda: None), ("number", lambda: 1)):
    after_data(name, info)


@direct
def exc_info_before_data(environ, start_response):
    start_response("200 OK", [("X-First", "1")])
    start_response("501 Second", [("X-Second", "2")], raised())
    return [b"replaced"]


@direct
def twice_before_data(environ, start_response):
    start_response("200 OK", [("X-First", "1")])
    start_response("501 Second", [("X-Second", "2")])
    return [b"replaced"]


@direct
def twice_after_empty_write(environ, start_response):
    start_response("200 OK", PLAIN)(b"")
    return [attempted(lambda: start_response("200 OK", [])).encode()]


@direct
def twice_after_empty_block(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b""
    yield attempted(lambda: callable(start_response("201 Made", []))).encode()


@direct
def empty_write_then_exc_info(environ, start_response):
    start_response("200 OK", PLAIN)(b"")
    return [attempted(lambda: start_response("500 Late", [], raised())).encode()]


@direct
def write_in_the_middle(environ, start_response):
    write = start_response("200 OK", PLAIN)
    yield b"one,"
    write(b"two,")
    yield b"three"


@direct
def write_and_return(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"one,")
    write(b"")
    write(b"two,")
    return [b"three"]


@direct
def write_beyond_the_length(environ, start_response):
    write = start_response("200 OK", [("Content-Length", "4")])
    write(b"123")
    write(b"456")
    return [b"789"]


@direct
def write_keyword(environ, start_response):
    write = start_response("200 OK", PLAIN)
    return [attempted(lambda: write(data=b"x")).encode()]


@direct
def start_in_generator_twice(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"one,"
    yield attempted(lambda: start_response("200 OK", [])).encode()


# Exceptions and what is returned

def raising(name, make, after=0):
    def application(environ, start_response):
        if after == 0:
            raise make()
        start_response("200 OK", PLAIN)
        if after == 1:
            raise make()

        def parts():
            if after > 2:
                yield b"part,"
            raise make()
            yield b"never"
        return parts()
    KINDS["raises %s %d" % (name, after)] = application


class Odd(Exception):
    def __str__(self):
        raise ValueError("no text")


for after in range(4):
    raising("ValueError", lambda: ValueError("value"), after)
    raising("SystemExit", lambda: SystemExit(3), after)
    raising("KeyboardInterrupt", KeyboardInterrupt, after)
    raising("GeneratorExit", GeneratorExit, after)
    raising("StopIteration", lambda: StopIteration("x"), after)
    raising("Odd", Odd, after)
    raising("wide", lambda: ValueError("\u20ac \ud800"), after)
    raising("lines", lambda: ValueError("one\ntwo\x00three"), after)
    raising("OSError", lambda: OSError(5, "of mine"), after)
    raising("BrokenPipeError", lambda: BrokenPipeError(32, "of mine"), after)


class Body:
    """An iterable as odd as it is told."""

    def __init__(self, blocks=(b"a block",), **attributes):
        self.blocks = blocks
        self.__dict__.update(attributes)

    def __iter__(self):
        return iter(self.blocks)


def fail(*arguments):
    raise LookupError("it fails")


class Indexed:
    def __getitem__(self, index):
        return (b"by ", b"index")[index]


class Block(bytes):
    pass


class Listed(list):
    def close(self):
        print("closed a list", file=sys.stderr)


class Unlisted(list):
    def __iter__(self):
        return iter([b"by __iter__"])


class Counted(Body):
    def __len__(self):
        return 1


class BadLength(Body):
    def __len__(self):
        raise LookupError("no length")


class Endless:
    def __next__(self):
        return b"x"


def gone():
    error = ValueError("while closing")
    try:
        yield b"before"
    finally:
        raise error


def returning(**results):
    for name, make in results.items():
        def application(environ, start_response, make=make):
            start_response("200 OK", PLAIN)
            return make()
        KINDS["returns " + name] = application


returning(
    close_fails=lambda: Body(close=fail), close_is_none=lambda: Body(close=None), close_is_a_number=lambda: Body(close=1),
    close_wants_more=lambda: Body(close=lambda more: None), close_exits=lambda: Body(close=sys.exit),
    close_after_failure=lambda: Body([b"a", 1], close=lambda: print("closed after failure", file=sys.stderr)),
    close_fails_after_failure=lambda: Body([b"a", 1], close=fail), indexed=Indexed, block_subclass=lambda: [Block(b"a subclass")],
    listed=lambda: Listed([b"listed"]), unlisted=lambda: Unlisted([b"not this"]), counted=Counted, bad_length=BadLength, endless=Endless,
    text_later=lambda: [b"first,", "text"], none_later=lambda: iter([b"first,", None]), generator_that_fails_in_the_end=gone,
    iterator_without_iter=lambda: Body(blocks=5), nested=lambda: [[b"x"]], file=lambda: io.BytesIO(b"line\nline\n"),
    text_file=lambda: io.StringIO("line\n"), map=lambda: map(bytes, [b"a", b"b"]), keys=lambda: {b"k": 1}.keys(), number=lambda: 0,
    true=lambda: True, callable=lambda: fail, kind=lambda: Body, ellipsis=lambda: ..., empty_tuple=lambda: (), empty_text=lambda: "",
    memory=lambda: memoryview(b"ab"), array=lambda: bytearray(b"ab"), empties_only=lambda: [b"", b""], empty_iterator=lambda: iter(()),
)


def sized(name, length, blocks, status="200 OK"):
    def application(environ, start_response):
        start_response(status, [("Content-Length", str(length))])
        return (block for block in blocks)
    KINDS["length " + name] = application


sized("too short for the blocks", 4, [b"123", b"456", b"789"])
sized("zero with blocks", 0, [b"123"])
sized("exact", 6, [b"123", b"456"])
sized("zero", 0, [])


@direct
def no_start_generator(environ, start_response):
    yield b"no start"


@direct
def no_start_empty_generator(environ, start_response):
    return
    yield


@direct
def start_after_the_end(environ, start_response):
    def parts():
        return
        yield
    result = Body(parts(), close=lambda: start_response("200 OK", PLAIN))
    return result


@direct
def environ_emptied(environ, start_response):
    environ.clear()
    start_response("200 OK", PLAIN)
    return [b"emptied"]


@direct
def recursion(environ, start_response):
    return recursion(environ, start_response)


KINDS["not callable"] = 7
KINDS["a kind"] = type("Application", (Body,), {"__init__": lambda self, environ, start: (start("200 OK", PLAIN), None)[1], "blocks": [b"kind"]})

# wsgi.input

told(
    input_text=lambda e: e["wsgi.input"].read("3"), input_float=lambda e: e["wsgi.input"].read(1.5),
    input_none=lambda e: e["wsgi.input"].read(None), input_huge=lambda e: e["wsgi.input"].read(2 ** 70),
    input_large=lambda e: e["wsgi.input"].read(2 ** 62), input_two=lambda e: e["wsgi.input"].read(1, 2),
    input_keyword=lambda e: e["wsgi.input"].read(size=1), input_true=lambda e: e["wsgi.input"].read(True),
    input_far_below=lambda e: e["wsgi.input"].read(-100), line_text=lambda e: e["wsgi.input"].readline("3"),
    line_none=lambda e: e["wsgi.input"].readline(None), line_float=lambda e: e["wsgi.input"].readline(2.0),
    line_huge=lambda e: e["wsgi.input"].readline(2 ** 70), line_keyword=lambda e: e["wsgi.input"].readline(size=2),
    line_large=lambda e: e["wsgi.input"].readline(2 ** 62), lines_none=lambda e: e["wsgi.input"].readlines(None),
    lines_text=lambda e: e["wsgi.input"].readlines("x"), lines_negative=lambda e: e["wsgi.input"].readlines(-1),
    lines_keyword=lambda e: e["wsgi.input"].readlines(hint=1), lines_one=lambda e: e["wsgi.input"].readlines(1),
    input_iter_is_itself=lambda e: iter(e["wsgi.input"]) is e["wsgi.input"], input_list=lambda e: list(e["wsgi.input"]),
    input_len=lambda e: len(e["wsgi.input"]), input_with=lambda e: e["wsgi.input"].__enter__(),
    input_wrapped=lambda e: io.BufferedReader(e["wsgi.input"]).read(), input_closed=lambda e: e["wsgi.input"].closed,
    input_close_arguments=lambda e: e["wsgi.input"].close(1), input_fileno=lambda e: e["wsgi.input"].fileno(),
    input_tell=lambda e: e["wsgi.input"].tell(), input_seek=lambda e: e["wsgi.input"].seek(0),
    input_readinto=lambda e: e["wsgi.input"].readinto(bytearray(3)), input_attribute=lambda e: setattr(e["wsgi.input"], "x", 1),
    input_read_close_read=lambda e: (e["wsgi.input"].read(2), e["wsgi.input"].close(), e["wsgi.input"].read()),
    input_next_after_end=lambda e: (e["wsgi.input"].read(), next(e["wsgi.input"], "end"), e["wsgi.input"].readline(), e["wsgi.input"].readlines()),
    input_zero=lambda e: (e["wsgi.input"].read(0), e["wsgi.input"].readline(0), e["wsgi.input"].readlines(0)),
    input_mixed=lambda e: (e["wsgi.input"].readline(3), next(e["wsgi.input"]), e["wsgi.input"].read(1), e["wsgi.input"].readlines()),
)

# wsgi.errors

told(
    errors_bytes=lambda e: e["wsgi.errors"].write(b"x"), errors_number=lambda e: e["wsgi.errors"].write(1),
    errors_none=lambda e: e["wsgi.errors"].write(None), errors_nothing=lambda e: e["wsgi.errors"].write(),
    errors_two=lambda e: e["wsgi.errors"].write("a", "b"), errors_returns=lambda e: e["wsgi.errors"].write("four"),
    errors_wide=lambda e: e["wsgi.errors"].write("\u20ac\n"), errors_surrogate=lambda e: e["wsgi.errors"].write("\ud800\n"),
    errors_lines=lambda e: e["wsgi.errors"].writelines(["a", "b\n"]), errors_lines_text=lambda e: e["wsgi.errors"].writelines("ab\n"),
    errors_lines_numbers=lambda e: e["wsgi.errors"].writelines([1]), errors_lines_none=lambda e: e["wsgi.errors"].writelines(None),
    errors_lines_generator=lambda e: e["wsgi.errors"].writelines(x for x in ("a\n",)), errors_flush=lambda e: e["wsgi.errors"].flush(),
    errors_flush_argument=lambda e: e["wsgi.errors"].flush(1), errors_print=lambda e: print("printed", file=e["wsgi.errors"]),
    errors_buffer=lambda e: e["wsgi.errors"].buffer.write(b"bytes\n"), errors_buffer_text=lambda e: e["wsgi.errors"].buffer.write("x"),
    errors_closed=lambda e: e["wsgi.errors"].closed, errors_isatty=lambda e: e["wsgi.errors"].isatty(),
    errors_fileno=lambda e: e["wsgi.errors"].fileno(), errors_writable=lambda e: e["wsgi.errors"].writable(),
    errors_readable=lambda e: e["wsgi.errors"].readable(), errors_seekable=lambda e: e["wsgi.errors"].seekable(),
    errors_encoding=lambda e: e["wsgi.errors"].encoding, errors_errors=lambda e: e["wsgi.errors"].errors,
    errors_read=lambda e: e["wsgi.errors"].read(), errors_tell=lambda e: e["wsgi.errors"].tell(),
    errors_newlines=lambda e: e["wsgi.errors"].newlines, errors_line_buffering=lambda e: e["wsgi.errors"].line_buffering,
    errors_write_after_close=lambda e: (e["wsgi.errors"].close(), e["wsgi.errors"].write("x\n")),
    errors_text_stream=lambda e: isinstance(e["wsgi.errors"], io.TextIOBase), errors_detach=lambda e: e["wsgi.errors"].detach() and 1,
    errors_reconfigure=lambda e: e["wsgi.errors"].reconfigure(line_buffering=True), errors_with=lambda e: e["wsgi.errors"].__enter__() and 1,
    stderr_bytes=lambda e: sys.stderr.write(b"x"), stderr_returns=lambda e: sys.stderr.write("four\n"),
    stdout_returns=lambda e: sys.stdout.write("four\n"), stderr_lines=lambda e: sys.stderr.writelines(["a\n", 1]),
    stderr_isatty=lambda e: sys.stderr.isatty(), stderr_closed=lambda e: sys.stderr.closed, stderr_name=lambda e: sys.stderr.name,
    stderr_fileno=lambda e: sys.stderr.fileno(), stdout_fileno=lambda e: sys.stdout.fileno(), stderr_encoding=lambda e: sys.stderr.encoding,
    stderr_errors=lambda e: sys.stderr.errors, stderr_mode=lambda e: sys.stderr.mode, stderr_buffer=lambda e: sys.stderr.buffer.write(b"b\n"),
    stdin=lambda e: sys.stdin.read(), stdin_line=lambda e: sys.stdin.readline(),
    stderr_line_buffering=lambda e: sys.stderr.line_buffering, stderr_newlines=lambda e: sys.stderr.newlines,
    stderr_text_stream=lambda e: isinstance(sys.stderr, io.TextIOBase),
    stderr_reconfigure=lambda e: sys.stderr.reconfigure(errors="replace"),
)

# wsgi.file_wrapper


def real(content=b"0123456789", mode="rb", at=0, name="file"):
    path = os.path.join(DIRECTORY, name)
    with open(path, "wb") as file:
        file.write(content)
    opened = open(path, mode)
    opened.seek(at)
    return opened


def truncated():
    file = real(name="truncated")
    os.truncate(file.name, 3)
    file.seek(5)
    return file


class Shape:
    """A file-like object with only what it is told."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


def piped(data):
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    return os.fdopen(read, "rb")


def reader(*blocks):
    left = list(blocks)
    return lambda size: left.pop(0) if left else b""


def wrapped(name, make, headers=PLAIN, status="200 OK", before=None, use=None):
    def application(environ, start_response):
        write = start_response(status, headers)
        if before is not None:
            write(before)
        result = environ["wsgi.file_wrapper"](make())
        return use(result) if use else result
    KINDS["wraps " + name] = application


wrapped("a file", real)
wrapped("the rest of a file", lambda: real(at=4))
wrapped("a file read to the end", lambda: real(at=10))
wrapped("a file beyond its end", lambda: real(at=99))
wrapped("an empty file", lambda: real(b""))
wrapped("a text file", lambda: real(mode="r"))
wrapped("an unbuffered file", lambda: open(real().name, "rb", 0))
wrapped("a file with a short length", real, [("Content-Length", "4")])
wrapped("a file with length zero", real, [("Content-Length", "0")])
wrapped("a file after data", real, before=b"data,")
wrapped("a file after an empty write", real, before=b"")
wrapped("a file for 404", real, status="404 Lost")
wrapped("a file for 204", real, status="204 None")
wrapped("a file for 304", real, status="304 Same")
wrapped("a truncated file", truncated)
wrapped("bytes", lambda: io.BytesIO(b"in memory"))
wrapped("a text", lambda: io.StringIO("text"))
wrapped("a pipe", lambda: piped(b"through a pipe"))
wrapped("a number", lambda: 1)
wrapped("none", lambda: None)
wrapped("no read", Shape)
wrapped("read only", lambda: Shape(read=reader(b"one,", b"two")))
wrapped("read of text", lambda: Shape(read=reader("text")))
wrapped("read of none", lambda: Shape(read=lambda size: None))
wrapped("read that fails", lambda: Shape(read=fail))
wrapped("read that fails later", lambda: Shape(read=iter([b"one", 1]).__next__))
wrapped("fileno that fails", lambda: Shape(read=reader(b"read"), fileno=fail, tell=lambda: 0))
wrapped("fileno of text", lambda: Shape(read=reader(b"read"), fileno=lambda: "1", tell=lambda: 0))
wrapped("fileno below zero", lambda: Shape(read=reader(b"read"), fileno=lambda: -1, tell=lambda: 0))
wrapped("fileno of nothing", lambda: Shape(read=reader(b"read"), fileno=lambda: 9999, tell=lambda: 0))
wrapped("fileno without tell", lambda: Shape(read=reader(b"read"), fileno=lambda: 0))
wrapped("tell that fails", lambda: Shape(read=reader(b"read"), fileno=lambda: 0, tell=fail))
wrapped("tell below zero", lambda: Shape(read=reader(b"read"), fileno=real(name="tell").fileno, tell=lambda: -1))
wrapped("close that fails", lambda: Shape(read=reader(b"read"), close=fail))
wrapped("a closed file", lambda: (lambda file: (file.close(), file)[1])(real()))
wrapped("a wrapper inside a generator", real, use=lambda result: (block for block in result))
wrapped("a wrapper in a list", real, use=lambda result: [b"".join(result)])


@direct
def wrapper_replaced(environ, start_response):
    start_response("200 OK", PLAIN)
    wrapper = environ["wsgi.file_wrapper"]
    environ["wsgi.file_wrapper"] = None
    return wrapper(real())


@direct
def wrapper_subclass(environ, start_response):
    class Wrapper(environ["wsgi.file_wrapper"]):
        pass
    start_response("200 OK", PLAIN)
    return Wrapper(real())


@direct
def wrapper_begun(environ, start_response):
    start_response("200 OK", PLAIN)
    wrapper = environ["wsgi.file_wrapper"](real(), 3)
    next(wrapper)
    return wrapper


told(
    wrapper_nothing=lambda e: e["wsgi.file_wrapper"]() and 1, wrapper_three=lambda e: e["wsgi.file_wrapper"](1, 2, 3) and 1,
    wrapper_text_size=lambda e: e["wsgi.file_wrapper"](real(), "x") and 1, wrapper_zero=lambda e: list(e["wsgi.file_wrapper"](real(), 0)),
    wrapper_blocks=lambda e: list(e["wsgi.file_wrapper"](real(), 4)), wrapper_all=lambda e: list(e["wsgi.file_wrapper"](real(), -1)),
    wrapper_attributes=lambda e: (e["wsgi.file_wrapper"](io.BytesIO(b"x"), 3).blksize, e["wsgi.file_wrapper"](io.BytesIO(b"x")).blksize),
    wrapper_filelike=lambda e: e["wsgi.file_wrapper"](io.BytesIO(b"x")).filelike.read(),
    wrapper_keywords=lambda e: list(e["wsgi.file_wrapper"](filelike=io.BytesIO(b"abc"), blksize=2)),
    wrapper_block=lambda e: list(e["wsgi.file_wrapper"](io.BytesIO(b"abc"), block_size=2)),
    wrapper_close=lambda e: (lambda file: (e["wsgi.file_wrapper"](file).close(), file.closed))(io.BytesIO()),
    wrapper_close_without=lambda e: e["wsgi.file_wrapper"](Shape()).close(),
    wrapper_iter=lambda e: (lambda wrapper: iter(wrapper) is wrapper)(e["wsgi.file_wrapper"](real())),
    wrapper_index=lambda e: e["wsgi.file_wrapper"](io.BytesIO(b"abcd"), 2)[1], wrapper_set=lambda e: setattr(e["wsgi.file_wrapper"](1), "x", 1),
    wrapper_is_known=lambda e: e["wsgi.file_wrapper"] is __import__("mod_wsgi").FileWrapper,
    wrapper_read=lambda e: e["wsgi.file_wrapper"](io.BytesIO(b"abcd")).read(),
    wrapper_len=lambda e: len(e["wsgi.file_wrapper"](io.BytesIO(b"abcd"))),
)


# The modules mod_wsgi and apache


def names(module):
    return sorted(name for name in dir(module) if not name.startswith("_"))


def recorded(function):
    mod_wsgi.start_recording_metrics()
    return sorted((key, type(value).__name__) for key, value in function().items())


told(
    module_names=lambda e: names(mod_wsgi), apache_names=lambda e: names(apache),
    module_values=lambda e: (mod_wsgi.version, mod_wsgi.process_group, mod_wsgi.application_group, mod_wsgi.maximum_processes,
                             mod_wsgi.threads_per_process, apache.version, apache.mpm_name),
    module_before=lambda e: (mod_wsgi.request_metrics(), mod_wsgi.process_metrics(), mod_wsgi.server_metrics()),
    module_request_metrics=lambda e: recorded(mod_wsgi.request_metrics), module_process_metrics=lambda e: recorded(mod_wsgi.process_metrics),
    module_thread_metrics=lambda e: sorted(mod_wsgi.process_metrics()["threads"][0]), module_server_metrics=lambda e: mod_wsgi.server_metrics(),
    module_active=lambda e: (type(mod_wsgi.active_requests).__name__, len(mod_wsgi.active_requests),
                             mod_wsgi.active_requests[e["mod_wsgi.request_id"]] is mod_wsgi.request_data()),
    module_subscribe=lambda e: [getattr(mod_wsgi, name)(print) is print for name in ("subscribe_shutdown", "subscribe_signals")],
    module_callbacks=lambda e: [type(getattr(mod_wsgi, name)).__name__ for name in ("event_callbacks", "shutdown_callbacks", "signal_callbacks")],
    module_subscribe_nothing=lambda e: mod_wsgi.subscribe_events(), module_subscribe_two=lambda e: mod_wsgi.subscribe_events(note, note),
    module_timeout=lambda e: (mod_wsgi.RequestTimeout.__mro__[1].__name__, mod_wsgi.RequestTimeout.__module__),
    module_log_handler=lambda e: mod_wsgi.LogHandler.__mro__[1].__name__,
    event_started=lambda e: sorted(PAYLOADS["request_started"].items()), event_response=lambda e: sorted(PAYLOADS["response_started"].items()),
    event_finished=lambda e: sorted(PAYLOADS["request_finished"].items()), event_exception=lambda e: sorted(PAYLOADS["request_exception"].items()),
)


def application(environ, start_response):
    if environ["PATH_INFO"] == "/names":
        body = json.dumps(list(KINDS)).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]
    if environ["PATH_INFO"] == "/mark":
        environ["wsgi.errors"].write("mark %s\n" % environ["QUERY_STRING"])
        body = json.dumps(FINISHED, sort_keys=True).encode()
        FINISHED.clear()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    return list(KINDS.values())[int(environ["QUERY_STRING"])](environ, start_response)
