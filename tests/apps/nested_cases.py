"""Pages that a filter of httpd's puts together from other requests (mod_include).

The path names a page below; /deep/N includes /deep/N-1.
"""

TEXT = [("Content-Type", "text/html")]
INCLUDE = b'<!--#include virtual="/%s" -->'
# More than the module gathers before it passes anything on.
MUCH = 100_000


def breaks():
    """Raises in the middle, after more than is kept back."""
    yield b"first|"
    yield b"x" * MUCH
    raise RuntimeError("raised in the middle")


def breaks_around(mount):
    """The same, around a part that is whole."""
    yield INCLUDE % (mount + b"/hello")
    yield from breaks()


def page(mount, name, number):
    pages = {
        b"hello": lambda: [b"HELLO"],
        b"one": lambda: [b"A", INCLUDE % (mount + b"/hello"), b"B"],
        b"many": lambda: [INCLUDE % (mount + b"/hello") * 30],
        b"guarded": lambda: [b"A", INCLUDE % b"guarded/hello", b"B", INCLUDE % b"closed/hello", b"C"],
        b"static": lambda: [b"A", INCLUDE % b"part.txt", b"B"],
        b"breaks": breaks,
        b"around": lambda: breaks_around(mount),
        b"broken": lambda: [b"A", INCLUDE % (mount + b"/breaks"), b"tail"],
        b"failed": lambda: [b"A", INCLUDE % (mount + b"/early"), b"B"],
        b"deep": lambda: [b"%d," % number, INCLUDE % (mount + (b"/deep/%d" % (number - 1) if number else b"/hello"))],
        b"deepbroken": lambda: [b"%d," % number, INCLUDE % (mount + (b"/deepbroken/%d" % (number - 1) if number else b"/breaks")), b"tail"],
    }
    return pages[name]()


def application(environ, start_response):
    mount = environ["SCRIPT_NAME"].strip("/").encode()
    _, name, *more = environ["PATH_INFO"].encode().split(b"/")
    if name == b"early":
        raise RuntimeError("raised early")
    start_response("200 OK", TEXT)
    return page(mount, name, int(more[0]) if more else 0)
