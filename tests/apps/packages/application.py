"""Each path is a package, or a part of the standard library, that does one thing.

`settings.json` beside it says where the servers of the test are. Which paths there are
and what they do is written in the suite `isolation_packages`.
"""

import importlib
import json
import traceback

MODULES = ["of_computing", "of_files", "of_network", "of_system", "of_places", "of_heavy"]


def named(name):
    for module in MODULES:
        function = getattr(importlib.import_module(module), name, None)
        if callable(function):
            return function
    raise LookupError("no package has the name " + name)


def application(environ, start_response):
    """Says null if it was done, else why not."""
    failed = None
    try:
        named(environ["PATH_INFO"].strip("/"))()
    except BaseException:
        failed = traceback.format_exc()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(failed).encode()]
