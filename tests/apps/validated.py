"""The probe, watched by the standard library's referee for PEP 3333."""

from wsgiref.validate import validator

import probe


def _with_sizes(environ, start_response):
    # The referee wants read() to be given a size, and close() is its own.
    if environ["PATH_INFO"] == "/whole":
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]
    return probe.application(environ, start_response)


application = validator(_with_sizes)
