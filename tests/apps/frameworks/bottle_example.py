"""Upload, streaming download, cookies and redirects with Bottle."""

import hashlib
import os
import time
from wsgiref.validate import validator

from bottle import Bottle, redirect, request, response, static_file

application = Bottle()


@application.post("/upload")
def upload():
    uploaded = request.files["file"]
    data = uploaded.file.read()
    return {"length": len(data), "sha256": hashlib.sha256(data).hexdigest(), "field": request.forms["field"],
            "name": uploaded.raw_filename}


@application.post("/raw")
def raw():
    data = request.body.read()
    return {"length": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@application.get("/stream")
def stream():
    response.content_type = "text/plain"
    for number in range(int(request.query["pieces"])):
        time.sleep(0.01)
        yield "piece %d\n" % number


@application.get("/file")
def file():
    return static_file(os.path.basename(__file__), os.path.dirname(__file__), mimetype="text/plain")


@application.get("/cookies")
def cookies():
    response.set_cookie("first", "one")
    response.set_cookie("second", "two")
    return dict(request.cookies)


@application.get("/redirect")
def away():
    redirect("landed?by=redirect", 302)


@application.get("/landed")
def landed():
    return {"by": request.query["by"], "root": request.script_name.rstrip("/")}


@application.get("/fail")
def fail():
    raise RuntimeError("raised on purpose")


validated = validator(application)
