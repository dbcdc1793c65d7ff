"""Loads the application that handler.json beside this file names, and hands
requests to it (`handle_request`, see WSGIHandlerScript).

Runs in the worker process, in the Python of the application.
"""

import importlib
import importlib.util
import json
import os
import sys
import types


def _settings():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "handler.json")
    with open(path, encoding="utf-8") as stream:
        return json.load(stream)


SETTINGS = _settings()


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
        del sys.modules["__wsgi__"]
        raise
    return module


def _load_application():
    kind, entry, name = SETTINGS["type"], SETTINGS["entry"], SETTINGS["callable"]
    if kind == "paste":
        from paste.deploy import loadapp

        return loadapp("config:" + entry), entry
    module = importlib.import_module(entry) if kind == "module" else _load_script(entry)
    path = getattr(module, "__file__", None)
    target = module
    for part in name.split("."):
        try:
            target = getattr(target, part)
        except AttributeError:
            raise AttributeError(
                "%s has no object named %r; --callable-object names another" % (path or entry, name)
            ) from None
    return target, path


def _modified(path):
    try:
        return os.stat(path).st_mtime_ns if path else None
    except OSError:
        return None


class _Mount:
    """Sets SCRIPT_NAME and PATH_INFO for an application that is not at `/`."""

    def __init__(self, application, mount_point):
        self._application = application
        self._mount_point = mount_point

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


_started = _modified(SETTINGS["entry"]) if SETTINGS["type"] != "module" else None
_application, _source = _load_application()
if _started is None:
    _started = _modified(_source)

handle_request = application = _Mount(_application, SETTINGS["mount_point"].rstrip("/"))


def reload_required(resource):
    """Whether the application's file changed since it was loaded."""
    return _modified(_source) != _started
