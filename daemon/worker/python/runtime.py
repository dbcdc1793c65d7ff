"""The life of a worker process, as far as Python is concerned.

Called once by `run` of the extension with the core and a dict of facts; the
core does everything that a request needs.
"""

import os
import signal
import sys
import threading
import traceback
import types

RequestTimeout = None


def main(core, facts):
    """Becomes a worker. Does not return."""
    global RequestTimeout
    prepare_path(facts)
    mod_wsgi = install_modules(facts)
    RequestTimeout = mod_wsgi.RequestTimeout
    sys.stdout = core.stream("sys.stdout")
    sys.stderr = core.stream("sys.stderr")
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    core.prepare(environ_template(facts, mod_wsgi), mod_wsgi.FileWrapper, sys.stdout, sys.stderr, os.dup(wake_write))
    install_signals(core, wake_write)
    if facts["title"]:
        set_title(facts["title"])
    if facts["switch_interval"]:
        sys.setswitchinterval(facts["switch_interval"])
    if facts["stack_size"]:
        threading.stack_size(facts["stack_size"])
    start_thread("wsgid-control", core.control_thread)
    failed = [(path, text) for path in facts["preload"] for text in [core.preload(path)] if text]
    for slot in range(facts["threads"]):
        start_thread("wsgid-%d" % (slot + 1), request_thread, core, slot)
    core.ready(sys.version_info[:3], failed)
    while not core.is_leaving():
        os.read(wake_read, 64)
    leave(core)


def leave(core):
    import atexit

    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        core.exit(0)


def start_thread(name, target, *args):
    threading.Thread(name=name, target=target, args=args, daemon=True).start()


def request_thread(core, slot):
    core.request_thread(slot, threading.get_ident())


def prepare_path(facts):
    """home first, then python-path with its .pth files, then the rest."""
    import site

    sys.argv = ["mod_wsgi"]
    if sys.path and sys.path[0] == "":
        del sys.path[0]
    added = []
    for directory in facts["python_path"]:
        directory = os.fspath(directory)
        before = set(sys.path)
        site.addsitedir(directory)
        added += [entry for entry in sys.path if entry not in before and entry not in added]
        if directory in before and directory not in added:
            added.append(directory)
    if facts["home"]:
        added.insert(0, os.fspath(facts["home"]))
    sys.path[:] = added + [entry for entry in sys.path if entry not in added]


def install_modules(facts):
    mod_wsgi = types.ModuleType("mod_wsgi")
    exec(compile(facts["mod_wsgi_source"], "wsgid/mod_wsgi.py", "exec"), mod_wsgi.__dict__)
    mod_wsgi.version = (6, 1, 1)
    mod_wsgi.process_group = facts["process_group"]
    mod_wsgi.application_group = facts["application_group"]
    mod_wsgi.maximum_processes = facts["processes"]
    mod_wsgi.threads_per_process = facts["threads"]
    sys.modules["mod_wsgi"] = mod_wsgi
    apache = types.ModuleType("apache")
    apache.version = facts["apache_version"]
    apache.description = facts["apache_description"]
    apache.mpm_name = facts["apache_mpm"]
    apache.maximum_processes = facts["apache_maximum_processes"]
    apache.threads_per_process = facts["apache_threads_per_process"]
    sys.modules["apache"] = apache
    return mod_wsgi


def environ_template(facts, mod_wsgi):
    return {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": facts["threads"] != 1,
        "wsgi.multiprocess": facts["multiprocess"],
        "wsgi.run_once": facts["run_once"],
        "wsgi.input_terminated": True,
        "wsgi.file_wrapper": mod_wsgi.FileWrapper,
        "apache.version": facts["apache_version"],
        "mod_wsgi.version": mod_wsgi.version,
        "mod_wsgi.process_group": facts["process_group"],
        "mod_wsgi.application_group": facts["application_group"],
    }


def install_signals(core, wake):
    """The main thread handles them between two reads of its pipe."""
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    stop = lambda number, frame: core.stop()
    recycle = lambda number, frame: core.recycle(signal.Signals(number).name)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGUSR1, recycle)
    signal.signal(signal.SIGXCPU, recycle)


def set_title(title):
    """What ps shows: the title over the arguments, and as the name of the process."""
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        room = end - start
        text = os.fsencode(title)[: room - 1]
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            memory.write(text + bytes(room - len(text)))
        with open("/proc/self/comm", "wb", buffering=0) as file:
            file.write(os.fsencode(title)[:15])
    except (OSError, ValueError, IndexError) as error:
        print("display-name could not be set: %s" % error, file=sys.stderr)


def load_script(path):
    """Compiles and executes a script as a module of its own."""
    import hashlib

    path = os.fspath(path)
    try:
        digest = hashlib.md5(os.fsencode(path), usedforsecurity=False).hexdigest()
    except TypeError:
        digest = hashlib.md5(os.fsencode(path)).hexdigest()
    name = "_mod_wsgi_" + digest
    with open(path, "rb") as file:
        source = file.read()
    module = types.ModuleType(name)
    module.__file__ = path
    code = compile(source, path, "exec", dont_inherit=True)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def stacks():
    """The Python stacks of all threads."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = []
    for ident, frame in sys._current_frames().items():
        lines.append("thread %s (%d):" % (names.get(ident, "?"), ident))
        lines += [line.rstrip("\n") for line in traceback.format_stack(frame)]
    return "\n".join(lines)
