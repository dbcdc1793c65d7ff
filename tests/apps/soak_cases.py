"""What the soak asks for. Every request has an id; the journal beside this
script says which process began and which ended it."""

import os
import time
from urllib.parse import parse_qsl

import pattern

JOURNAL = os.open(os.path.join(os.path.dirname(__file__), "journal"), os.O_WRONLY | os.O_APPEND)
MEBIBYTE = 1 << 20


def note(what, query):
    os.write(JOURNAL, "{} {} {}\n".format(what, query["id"], os.getpid()).encode())


def hello(environ, query):
    return [b"Hello World!"]


def slow(environ, query):
    time.sleep(0.4)
    return [b"Hello World!"]


def post(environ, query):
    return [environ["wsgi.input"].read()]


def upload(environ, query):
    checker = pattern.Checker()
    while True:
        piece = environ["wsgi.input"].read(50000)
        if not piece:
            break
        checker.feed(piece)
    return [f"{checker.length} {checker.wrong_at}".encode()]


def echo(environ, query):
    """Reads and answers by turns."""
    read = environ["wsgi.input"].read
    return iter(lambda: read(50000), b"")


def stream(environ, query):
    return pattern.pieces(MEBIBYTE)


def file(environ, query):
    handle = open(os.path.join(os.path.dirname(__file__), "pattern.bin"), "rb")
    return environ["wsgi.file_wrapper"](handle)


def application(environ, start_response):
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    note("begun", query)
    body = globals()[environ["PATH_INFO"].strip("/")](environ, query)
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return body
