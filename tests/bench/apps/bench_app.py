"""The plain WSGI application of the benchmark: one path for each workload."""

import os
import time
from wsgiref.util import FileWrapper

HELLO = b"Hello, world!\n"
BLOCK = bytes(64 * 1024)
STREAM_BLOCKS = 16
DOWNLOAD_BLOCKS = 1600


def burn(seconds):
    """Compute for so much CPU time of this thread, whoever else runs."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        for number in range(500):
            number * number


def plain(start_response, body):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def blocks(count):
    for _ in range(count):
        yield BLOCK


def upload(environ, start_response):
    stream = environ["wsgi.input"]
    total = 0
    while True:
        block = stream.read(256 * 1024)
        if not block:
            break
        total += len(block)
    return plain(start_response, b"%12d\n" % total)


def send_file(environ, start_response):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "files", "file")
    opened = open(path, "rb")
    start_response(
        "200 OK",
        [("Content-Type", "application/octet-stream"), ("Content-Length", str(os.fstat(opened.fileno()).st_size))],
    )
    # PEP 3333: a server may offer a wrapper; without one the application reads.
    wrapper = environ.get("wsgi.file_wrapper", FileWrapper)
    return wrapper(opened, 64 * 1024)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/hello":
        return plain(start_response, HELLO)
    if path.startswith("/cpu/"):
        burn(int(path[5:]) / 1000)
        return plain(start_response, HELLO)
    if path.startswith("/sleep/"):
        time.sleep(int(path[7:]) / 1000)
        return plain(start_response, HELLO)
    if path.startswith("/bytes/"):
        return plain(start_response, bytes(int(path[7:])))
    if path == "/upload":
        return upload(environ, start_response)
    if path == "/file":
        return send_file(environ, start_response)
    if path in ("/stream", "/download"):
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return blocks(STREAM_BLOCKS if path == "/stream" else DOWNLOAD_BLOCKS)
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []
