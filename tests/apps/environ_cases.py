"""The environ with the type of every value, and what the objects in it can do."""

import json

TIMES = ("mod_wsgi.request_start", "mod_wsgi.queue_start", "mod_wsgi.daemon_start", "mod_wsgi.application_start")
OBJECTS = ("wsgi.input", "wsgi.errors", "wsgi.file_wrapper")


def shown(key, value):
    if key in OBJECTS:
        return sorted(name for name in ("read", "readline", "readlines", "close", "write", "writelines", "flush",
                                        "__iter__", "__next__", "buffer", "encoding") if hasattr(value, name))
    if key in TIMES:
        return 1.5e9 < value < 1e10
    return value if isinstance(value, (str, int, float)) else repr(value)


def application(environ, start_response):
    if environ["PATH_INFO"] == "/error":
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"nothing here"]
    environ["wsgi.input"].read()
    dump = {key: [type(value).__name__, shown(key, value)] for key, value in environ.items()
            if key not in ("wsgi.input", "wsgi.errors", "wsgi.file_wrapper")}
    for key in ("wsgi.input", "wsgi.errors", "wsgi.file_wrapper"):
        if key in environ:
            dump[key] = shown(key, environ[key])
    times = [environ[key] for key in TIMES if key in environ]
    dump["times in order"] = times == sorted(times)
    dump["is a dict"] = type(environ) is dict
    body = json.dumps(dump, sort_keys=True).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
