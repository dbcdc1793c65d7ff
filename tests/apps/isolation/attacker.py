"""Runs one attack from inside a worker, in a process that the worker forks.

The body names the attack and says all there is to know of the other site: who attacks is
assumed to know every path, number and key.
"""

import errno
import json
import os
import select
import signal
import traceback

import attacks_files
import attacks_ipc
import attacks_kernel
import attacks_processes
import attacks_sites
import calls

signal.signal(signal.SIGURG, lambda *_: None)
LIMIT = 20


def find(name):
    for module in (attacks_files, attacks_ipc, attacks_kernel, attacks_processes, attacks_sites):
        if hasattr(module, "attack_" + name):
            return getattr(module, "attack_" + name)
    raise LookupError(name)


def told(name, target):
    """What came of it: `done` with its proof, `refused` with the reason, `lacking`, or `broken`."""
    try:
        return {"done": find(name)(target)}
    except OSError as error:
        return {"refused": "%s: %s" % (errno.errorcode.get(error.errno, error.errno), error)}
    except calls.Refused as why:
        return {"refused": str(why)}
    except calls.Lacking as why:
        return {"lacking": str(why)}
    except BaseException:
        return {"broken": traceback.format_exc()}


def attempt(name, target):
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        os.write(into, json.dumps(told(name, target)).encode())
        os._exit(0)
    os.close(into)
    text = b""
    with os.fdopen(out, "rb") as pipe:
        while select.select([pipe], [], [], LIMIT)[0]:
            piece = os.read(pipe.fileno(), 65536)
            if not piece:
                break
            text += piece
        else:
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if text:
        return json.loads(text)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS:
        return {"refused": "SIGSYS"}
    return {"broken": "no answer, status %#x" % status}


def application(environ, start_response):
    asked = json.loads(environ["wsgi.input"].read() or b"{}")
    found = attempt(asked["name"], asked["target"]) if asked else {"pid": os.getpid()}
    body = json.dumps(found).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
