"""The tools of `start-server` for developers: reloading when any loaded file
changes, post-mortem debugging, profiles, coverage, recorded requests.

Imported by handler.wsgi in the worker process.
"""

import atexit
import io
import itertools
import json
import os
import sys
import threading
import time
import traceback


def before_loading(settings):
    """What must be in place before the application is imported; gives what is
    to be called right after it."""
    after_loading = None
    if settings["debug_mode"]:
        _attach_terminal(settings["terminal"])
    if settings["coverage"]:
        _start_coverage(settings["coverage"])
    if settings["reload_on_changes"]:
        after_loading = watch_modules()
    if settings["debugger_startup"]:
        import pdb

        pdb.set_trace()
    return after_loading


def wrap(application, settings):
    """The application with the tools around it, the recorder outermost."""
    if settings["profiler"]:
        application = Profiler(application, settings["profiler"])
    if settings["debugger"]:
        application = Debugger(application)
    if settings["recorder"]:
        application = Recorder(application, settings["recorder"])
    return application


def _say(text):
    print("start-server: " + text, file=sys.stderr, flush=True)


def _attach_terminal(name):
    """Gives a debugger the terminal in which start-server runs."""
    if not name:
        _say("no terminal, so a debugger has no input")
        return
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_NOCTTY)
    except OSError as error:
        _say("a debugger cannot use the terminal: %s" % error)
        return
    terminal = open(descriptor, "r+b", buffering=0)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(terminal), line_buffering=True)
    sys.stdout = io.TextIOWrapper(io.FileIO(os.dup(descriptor), "w"), write_through=True)


def watch_modules():
    """Has the worker watch the files of all loaded modules: now, and after each request
    those that it has imported."""
    import mod_wsgi

    watched = set()

    def look():
        # In one step, while others import.
        files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        # The source counts, not what was compiled from it.
        files = {path[:-1] if path.endswith((".pyc", ".pyo")) else path
                 for path in files if isinstance(path, str) and os.path.isabs(path)}
        new = files - watched
        if new:
            watched.update(new)
            mod_wsgi._core.watch(sorted(new))

    def on_event(name, **payload):
        if name == "request_finished" and len(sys.modules) != on_event.count:
            on_event.count = len(sys.modules)
            look()

    on_event.count = 0
    mod_wsgi.subscribe_events(on_event)
    return look


class Debugger:
    """Opens pdb in the terminal where an exception leaves the application."""

    def __init__(self, application):
        self._application = application

    def __call__(self, environ, start_response):
        iterable = None
        try:
            iterable = self._application(environ, start_response)
            yield from iterable
        except Exception:
            import pdb

            traceback.print_exc(file=sys.stdout)
            pdb.post_mortem(sys.exc_info()[2])
            raise
        finally:
            if hasattr(iterable, "close"):
                iterable.close()


class Profiler:
    """Profiles calls of the application. Python profiles one thread at a time,
    so a request that comes while another is measured is not."""

    def __init__(self, application, directory):
        import cProfile

        self._application = application
        self._profile = cProfile.Profile()
        self._lock = threading.Lock()
        self._path = os.path.join(directory, "%d-%d.pstats" % (time.time(), os.getpid()))
        atexit.register(self._dump)
        _say("the profile is written to `%s` when the process ends" % self._path)

    def __call__(self, environ, start_response):
        if not self._lock.acquire(blocking=False):
            return self._application(environ, start_response)
        try:
            return self._profile.runcall(self._application, environ, start_response)
        finally:
            self._lock.release()

    def _dump(self):
        try:
            self._profile.dump_stats(self._path)
        except OSError as error:
            _say("the profile could not be written: %s" % error)


def _start_coverage(directory):
    try:
        import coverage
    except ImportError:
        _say("--enable-coverage needs the package `coverage` in the application's Python")
        raise
    # Neither these tools nor what the worker brings along, which has no files.
    omitted = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "*"), "wsgid/*"]
    measured = coverage.Coverage(data_file=None, omit=omitted)
    measured.start()

    def report():
        measured.stop()
        try:
            measured.html_report(directory=directory, ignore_errors=True)
            _say("the coverage report is `%s`" % os.path.join(directory, "index.html"))
        except (OSError, coverage.CoverageException) as error:
            _say("the coverage report could not be written: %s" % error)

    atexit.register(report)


class Recorder:
    """Writes each request and its response to files: `N.request` and
    `N.response`, a line of JSON with the variables or headers, then the body."""

    def __init__(self, application, directory):
        self._application = application
        self._prefix = os.path.join(directory, "%d-%d-" % (time.time(), os.getpid()))
        self._numbers = itertools.count(1)

    def __call__(self, environ, start_response):
        name = "%s%06d" % (self._prefix, next(self._numbers))
        with open(name + ".request", "wb") as request, open(name + ".response", "wb") as response:
            texts = {key: value for key, value in environ.items() if isinstance(value, str)}
            request.write(json.dumps(texts, sort_keys=True).encode() + b"\n")
            environ["wsgi.input"] = _RecordedInput(environ["wsgi.input"], request)

            def recorded(status, headers, exc_info=None):
                response.seek(0)
                response.truncate()
                response.write(json.dumps([status, headers]).encode() + b"\n")
                write = start_response(status, headers, *([exc_info] if exc_info else []))

                def recorded_write(data):
                    response.write(data)
                    return write(data)

                return recorded_write

            iterable = self._application(environ, recorded)
            try:
                for block in iterable:
                    response.write(block)
                    yield block
            finally:
                if hasattr(iterable, "close"):
                    iterable.close()


class _RecordedInput:
    def __init__(self, stream, copy):
        self._stream = stream
        self._copy = copy

    def _keep(self, data):
        self._copy.write(data)
        return data

    def read(self, *size):
        return self._keep(self._stream.read(*size))

    def readline(self, *size):
        return self._keep(self._stream.readline(*size))

    def readlines(self, *hint):
        lines = self._stream.readlines(*hint)
        self._copy.writelines(lines)
        return lines

    def __iter__(self):
        return map(self._keep, self._stream)
