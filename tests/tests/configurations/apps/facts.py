# Answers with what it sees: a line for each fact, of the request and of the process.
import grp
import locale
import os
import pwd
import sys


def of_process():
    umask = os.umask(0o077)
    os.umask(umask)
    yield "cwd", os.getcwd()
    yield "umask", "%04o" % umask
    yield "user", pwd.getpwuid(os.getuid()).pw_name
    yield "group", grp.getgrgid(os.getgid()).gr_name
    yield "groups", ",".join(sorted(grp.getgrgid(number).gr_name for number in os.getgroups()))
    yield "locale", locale.setlocale(locale.LC_CTYPE)
    for name in ("LANG", "LC_ALL", "HOME", "USER", "PYTHON_EGG_CACHE"):
        yield "os." + name, os.environ.get(name, "-")
    yield "optimize", str(sys.flags.optimize)
    yield "bytecode", str(not sys.dont_write_bytecode)
    yield "prefix", sys.prefix
    # Without the installation's own.
    installed = (sys.prefix, sys.base_prefix, sys.exec_prefix)
    yield "path", ":".join(dict.fromkeys(path for path in sys.path if path and not path.startswith(installed)))
    yield "argv", repr(sys.argv[:1])
    with open("/proc/self/cmdline", "rb") as line:
        yield "title", line.read().split(b"\0")[0].decode("latin-1")


def of_request(environ):
    for key, value in sorted(environ.items()):
        if isinstance(value, (str, bool, tuple)):
            yield key, str(value)
    size = 0
    while piece := environ["wsgi.input"].read(65536):
        size += len(piece)
    yield "body", str(size)


MORE = {}


def application(environ, start_response):
    facts = [*of_request(environ), *of_process(), *MORE.items()]
    text = "".join("%s=%s\n" % fact for fact in facts).encode("utf-8", "backslashreplace")
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))])
    return [text]
