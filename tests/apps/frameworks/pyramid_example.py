"""Upload, streaming download, cookies and redirects with Pyramid."""

import hashlib
import time
from wsgiref.validate import validator

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound
from pyramid.response import FileResponse, Response


def upload(request):
    uploaded = request.POST["file"]
    data = uploaded.file.read()
    return {"length": len(data), "sha256": hashlib.sha256(data).hexdigest(), "field": request.POST["field"],
            "name": uploaded.filename}


def raw(request):
    data = request.body
    return {"length": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def stream(request):
    count = int(request.GET["pieces"])

    def pieces():
        for number in range(count):
            time.sleep(0.01)
            yield b"piece %d\n" % number
    return Response(app_iter=pieces(), content_type="text/plain")


def file(request):
    return FileResponse(__file__, request, content_type="text/plain")


def cookies(request):
    request.response.set_cookie("first", "one")
    request.response.set_cookie("second", "two")
    return dict(request.cookies)


def away(request):
    return HTTPFound("landed?by=redirect")


def landed(request):
    return {"by": request.GET["by"], "root": request.script_name}


def fail(request):
    raise RuntimeError("raised on purpose")


def _application():
    config = Configurator()
    for view in (upload, raw, stream, file, cookies, away, landed, fail):
        name = "redirect" if view is away else view.__name__
        config.add_route(name, "/" + name)
        plain = view in (stream, file, away)
        config.add_view(view, route_name=name, **({} if plain else {"renderer": "json"}))
    return config.make_wsgi_app()


application = _application()
validated = validator(application)
