"""Loads the application that handler.json beside this file names, and hands
requests to it (`handle_request`, see WSGIHandlerScript).

Runs in the worker process, in the Python of the application. The tools of
`start-server` for developers are in express_tools.py and are imported only
when one of them is asked for.
"""

import importlib
import json
import os
import sys
import types

import mod_wsgi

_HERE = os.path.dirname(os.path.abspath(__file__))

with open(os.path.join(_HERE, "handler.json"), encoding="utf-8") as _stream:
    SETTINGS = json.load(_stream)

# What the flags of code say (`inspect`, which is imported only for a message).
_CO_COROUTINE = 0x80
_CO_ASYNC_GENERATOR = 0x200


def _load_script(path):
    """Runs a WSGI script, whatever its name ends with, as a module."""
    module = types.ModuleType("__wsgi__")
    module.__file__ = path
    with open(path, "rb") as stream:
        code = compile(stream.read(), path, "exec", dont_inherit=True)
    sys.modules["__wsgi__"] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        sys.modules.pop("__wsgi__", None)
        raise
    return module


def _load_application():
    """The application object and the file it came from."""
    kind, entry, name = SETTINGS["type"], SETTINGS["entry"], SETTINGS["callable"]
    if kind == "paste":
        from paste.deploy import loadapp

        return loadapp("config:" + entry), entry
    module = importlib.import_module(entry) if kind == "module" else _load_script(entry)
    path = getattr(module, "__file__", None)
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            text = "`%s` has no object named `%s`%s"
            raise AttributeError(text % (path or entry, name, _what_is_there(module)))
        found = getattr(found, part)
    _check(found, name, path or entry)
    return found, path


def _check(found, name, place):
    """Refuses what every request would fail with."""
    if not callable(found):
        text = "`%s` in `%s` is no application: a `%s` cannot be called"
        raise TypeError(text % (name, place, type(found).__name__))
    if _is_asynchronous(found):
        text = "`%s` in `%s` is an ASGI application, and this server speaks WSGI; a2wsgi's ASGIMiddleware makes one of it"
        raise TypeError(text % (name, place))


def _is_asynchronous(found):
    try:
        call = found if hasattr(found, "__code__") else type(found).__call__
        return bool(call.__code__.co_flags & (_CO_COROUTINE | _CO_ASYNC_GENERATOR))
    except Exception:
        # A class, a callable written in C, a proxy of nothing yet.
        return False


def _what_is_there(module):
    """Which objects of the module may be meant, in words."""
    names = [name for name, value in vars(module).items() if not name.startswith("_") and _may_be_meant(value, module)]
    if not names:
        return "; name the application with --callable-object"
    if len(names) == 1:
        return "; `%s` exists: --callable-object %s" % (names[0], names[0])
    there = ", ".join("`%s`" % name for name in names[:9])
    return "; these exist: %s; name one with --callable-object" % there


def _may_be_meant(value, module):
    """Whether a server could call it: an object, or a function of the module itself."""
    import inspect

    try:
        if isinstance(value, type) or not callable(value) or _is_asynchronous(value):
            return False
        if inspect.isroutine(value) and value.__module__ != module.__name__:
            return False
        inspect.signature(value).bind({}, None)
    except Exception:
        # Whatever it is, it cannot be looked at.
        return False
    return True


def _watch(path):
    """Has new processes started when the application's file changes."""
    if SETTINGS["reloading"] and path:
        mod_wsgi._core.watch([os.path.abspath(path)])


class _Entry:
    """What httpd's requests come to: sets SCRIPT_NAME and PATH_INFO as the
    mount point wants them."""

    def __init__(self, application, mount_point):
        self._application = application
        self._mount_point = mount_point.rstrip("/")

    def __call__(self, environ, start_response):
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        mount = self._mount_point
        if mount and (path == mount or path.startswith(mount + "/")):
            environ["SCRIPT_NAME"] = mount
            environ["PATH_INFO"] = path[len(mount):]
        else:
            environ["SCRIPT_NAME"] = ""
            environ["PATH_INFO"] = path
        return self._application(environ, start_response)


_tools = _after_loading = None
if SETTINGS["tools"]:
    sys.path.insert(0, _HERE)
    import express_tools as _tools

    sys.path.remove(_HERE)
    _after_loading = _tools.before_loading(SETTINGS)

if SETTINGS["type"] != "module":
    _watch(SETTINGS["entry"])
try:
    _application, _path = _load_application()
finally:
    if _after_loading is not None:
        _after_loading()
_watch(_path)
if _tools is not None:
    _application = _tools.wrap(_application, SETTINGS)
application = handle_request = _Entry(_application, SETTINGS["mount_point"])
