"""A site that does everything wrong; the path says what."""

import ctypes, os, sys, threading, time

def answer():
    pass

def hang():
    time.sleep(600)

def spin():
    while True: pass

def fork():
    """As many as the limit allows, each of which burns."""
    deadline = time.time() + 3
    while time.time() < deadline:
        try:
            if os.fork() == 0:
                end = time.time() + 3
                while time.time() < end: pass
                os._exit(0)
        except OSError:
            time.sleep(0.1)

def flood():
    line = "x" * 500
    deadline = time.time() + 3
    while time.time() < deadline:
        print(line)
        print(line, file=sys.stderr)

def crash():
    os.kill(os.getpid(), 11)

def memory():
    kept = []
    while True: kept.append(bytearray(1 << 20))

def application(environ, start_response):
    globals()[environ["PATH_INFO"].strip("/")]()
    start_response("200 OK", [])
    return [b"never mind"]
