"""A Flask application as `make serve` shows it."""

import os
import sys

from flask import Flask, jsonify

application = Flask(__name__)


@application.get("/")
def index():
    return (
        "<!doctype html><title>wsgid</title><h1>It works</h1>"
        f"<p>Flask in process {os.getpid()} on Python {sys.version.split()[0]}, "
        "behind httpd. See also <a href=/about>/about</a>.</p>"
    )


@application.get("/about")
def about():
    return jsonify(python=sys.version, prefix=sys.prefix, uid=os.getuid(), pid=os.getpid())
