"""Upload, streaming download, cookies and redirects with Falcon."""

import hashlib
import time
from wsgiref.validate import validator

import falcon


class Upload:
    def on_post(self, request, response):
        found = {}
        for part in request.get_media():
            data = part.stream.read()
            if part.filename:
                found.update(length=len(data), sha256=hashlib.sha256(data).hexdigest(), name=part.filename)
            else:
                found["field"] = data.decode()
        response.media = found


class Raw:
    def on_post(self, request, response):
        data = request.bounded_stream.read()
        response.media = {"length": len(data), "sha256": hashlib.sha256(data).hexdigest()}


class Stream:
    def on_get(self, request, response):
        count = request.get_param_as_int("pieces")

        def pieces():
            for number in range(count):
                time.sleep(0.01)
                yield b"piece %d\n" % number
        response.content_type = "text/plain"
        response.stream = pieces()


class File:
    def on_get(self, request, response):
        response.content_type = "text/plain"
        response.stream = open(__file__, "rb")


class Cookies:
    def on_get(self, request, response):
        response.set_cookie("first", "one", secure=False)
        response.set_cookie("second", "two", secure=False)
        response.media = request.cookies


class Redirect:
    def on_get(self, request, response):
        raise falcon.HTTPFound("landed?by=redirect")


class Landed:
    def on_get(self, request, response):
        response.media = {"by": request.get_param("by"), "root": request.root_path}


class Fail:
    def on_get(self, request, response):
        raise RuntimeError("raised on purpose")


application = falcon.App()
for _resource in (Upload, Raw, Stream, File, Cookies, Redirect, Landed, Fail):
    application.add_route("/" + _resource.__name__.lower(), _resource())
validated = validator(application)
