"""A Flask application that says who runs it."""

import os
import sys

import flask

application = flask.Flask(__name__)


@application.get("/who")
def who():
    return {
        "framework": "flask",
        "version": list(sys.version_info[:2]),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "prefix": sys.prefix,
        "pid": os.getpid(),
    }


@application.post("/echo")
def echo():
    return flask.Response(flask.request.get_data(), mimetype="application/octet-stream")
