"""Upload, streaming download, cookies and redirects with Flask."""

import hashlib
import time
from wsgiref.validate import validator

from flask import Flask, Response, jsonify, make_response, redirect, request, send_file

application = Flask(__name__)


@application.post("/upload")
def upload():
    data = request.files["file"].read()
    return jsonify(length=len(data), sha256=hashlib.sha256(data).hexdigest(), field=request.form["field"],
                   name=request.files["file"].filename)


@application.post("/raw")
def raw():
    # The referee wants every read() to have a size.
    data = b"".join(iter(lambda: request.stream.read(65536), b""))
    return jsonify(length=len(data), sha256=hashlib.sha256(data).hexdigest())


@application.get("/stream")
def stream():
    count = int(request.args["pieces"])

    def pieces():
        for number in range(count):
            time.sleep(0.01)
            yield "piece %d\n" % number
    return Response(pieces(), mimetype="text/plain")


@application.get("/file")
def file():
    return send_file(__file__, mimetype="text/plain")


@application.get("/cookies")
def cookies():
    response = make_response(jsonify(dict(request.cookies)))
    response.set_cookie("first", "one")
    response.set_cookie("second", "two")
    return response


@application.get("/redirect")
def away():
    return redirect("landed?by=redirect")


@application.get("/landed")
def landed():
    return jsonify(by=request.args["by"], root=request.script_root)


@application.get("/fail")
def fail():
    raise RuntimeError("raised on purpose")


validated = validator(application)
