"""The commands of mod_wsgi-express for programs that call them. Each becomes the
program `wsgid`, with the arguments as they are, and does not come back."""

import os
import shutil
import sys


def start(*arguments):
    """Serves: the arguments are those of `start-server`."""
    become("start-server", *arguments)


def main():
    """The command line of this process, as `mod_wsgi-express` takes it."""
    become(*sys.argv[1:])


def become(*arguments):
    """Executes `wsgid`. An application runs by the Python that asks for it, unless
    the arguments name another."""
    arguments = list(arguments)
    if arguments[:1] in (["start-server"], ["setup-server"]) and not has(arguments, "--python-home"):
        arguments[1:1] = ["--python-home", sys.prefix]
    path = program()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(path, [path] + [os.fspath(word) for word in arguments])


def has(arguments, option):
    return any(word == option or os.fspath(word).startswith(option + "=") for word in arguments)


def program():
    beside = os.path.join(os.path.dirname(sys.executable), "wsgid")
    found = beside if os.path.exists(beside) else shutil.which("wsgid")
    if found is None:
        sys.exit("mod_wsgi-express: the program `wsgid` was not found beside this Python or on PATH")
    return found
