"""The life of a worker process, as far as Python is concerned.

Called once by `run` of the extension with the core and a dict of facts; the
core does everything that a request needs.
"""

import _thread
import faulthandler
import io
import os
import signal
import sys
import threading
import time
import types

RequestTimeout = None
# The module of that name, once something was looked up, and what it is made of.
callables = callables_source = None
# As they are before the application is loaded: gevent and eventlet replace them,
# and what they make of a thread stops this process.
start_native, get_ident, allocate_lock = _thread.start_new_thread, _thread.get_ident, _thread.allocate_lock
OF_THREADING = {name: vars(threading).get(name)
                for name in ("Thread", "Event", "Condition", "_start_new_thread", "_start_joinable_thread")}
# What the signals of a worker do, by number.
handlers = {}
set_handler = signal.signal
# Of the thread that forks: the signals that it had blocked.
forking = threading.local()


def main(core, facts):
    """Becomes a worker. Does not return."""
    global RequestTimeout, callables_source
    set_title(facts["title"] + (" preloader" if facts["preloader"] else ""), facts["display_name"])
    # A crash in native code leaves the Python stacks in the log.
    faulthandler.enable(2)
    mod_wsgi = install_modules(core, facts)
    RequestTimeout = mod_wsgi.RequestTimeout
    callables_source = facts["callables_source"]
    sys.stdout = core.stream("sys.stdout")
    sys.stderr = core.stream("sys.stderr")
    io.TextIOBase.register(type(sys.stderr))
    io.BufferedIOBase.register(type(sys.stderr.buffer))
    wake_read, wake_write = make_wake_pipe()
    core.prepare(environ_template(facts, mod_wsgi), mod_wsgi, [sys.stdout, sys.stderr], os.dup(wake_write))
    os.register_at_fork(before=lambda: before_fork(core), after_in_child=lambda: after_fork_in_child(core),
                        after_in_parent=lambda: after_fork_in_parent(core))
    set_locale(facts["lang"], facts["locale"])
    if facts["switch_interval"]:
        sys.setswitchinterval(facts["switch_interval"])
    if facts["stack_size"]:
        threading.stack_size(facts["stack_size"])
    if facts["restrict_stdin"]:
        sys.stdin = ClosedStdin()
    service = facts["threads"] == 0
    install_signals(core, mod_wsgi, wake_write, service, facts["restrict_signal"])
    failed = None
    if facts["preloader"]:
        prepare_path(facts)
        attach_package(mod_wsgi)
        failed = load_all(core, facts)
        from_file("preloader", facts["preloader_source"]).serve_orders(core, wake_read, failed)
        wake_read = become_worker(core, (wake_read, wake_write))
        set_title(facts["title"], facts["display_name"])
    start_thread("wsgid-control", core.control_thread)
    if failed is None:
        prepare_path(facts)
        attach_package(mod_wsgi)
    if service:
        serve_without_requests(core, facts, wake_read)
    else:
        serve_requests(core, facts, failed, wake_read)
    leave(core, mod_wsgi)


def make_wake_pipe():
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    return wake_read, wake_write


def become_worker(core, inherited):
    """In a process that a preloader forked."""
    wake_read, wake_write = make_wake_pipe()
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for descriptor in inherited:
        os.close(descriptor)
    core.become_worker(os.dup(wake_write))
    return wake_read


def from_file(name, source):
    module = types.ModuleType("_wsgid_" + name)
    exec(compile(source, "wsgid/%s.py" % name, "exec"), module.__dict__)
    return module


def unusable(module, name):
    """Why a name of a script cannot be called; see `callables.py`."""
    global callables
    if callables is None:
        callables = from_file("callables", callables_source)
    return callables.unusable(module, name)


def load_all(core, facts):
    """Loads the scripts that are known; gives those that failed, with the reason."""
    return [(path, text) for path in facts["preload"] for text in [core.preload(path)] if text]


def serve_requests(core, facts, failed, wake_read):
    if failed is None:
        failed = load_all(core, facts)
    for slot in range(facts["threads"]):
        start_thread("wsgid-%d" % (slot + 1), request_thread, core, slot)
    core.serve_until_end(sys.version_info[:3], failed, wake_read)


def serve_without_requests(core, facts, wake_read):
    """threads=0: the scripts run in the main thread, and when they have ended,
    so has the process. A script that fails ends it as a crash does."""
    core.ready(sys.version_info[:3], [])
    if not facts["preload"]:
        print("the process group has threads=0 and no script; see WSGIImportScript", file=sys.stderr)
        core.wait_for_end(wake_read)
        return
    try:
        for path in facts["preload"]:
            load_script(path)
        wait_for_threads()
        core.end_child(None)
    except SystemExit as error:
        core.end_child(error)
    except BaseException as error:
        core.end_child(error)
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        core.exit(1)
    core.finish()
    core.wait_for_end(wake_read)


def wait_for_threads():
    """Threads of the script that are no daemons keep the process alive."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()


def leave(core, mod_wsgi):
    """Runs what the application asked to be run, then ends the process."""
    try:
        reason = {"shutdown_reason": core.shutdown_reason()}
        mod_wsgi._publish("process_stopping", dict(reason), mod_wsgi.shutdown_callbacks)
        mod_wsgi._publish("process_stopping", dict(reason))
        import atexit

        atexit._run_exitfuncs()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        core.exit(0)


def start_thread(name, target, *args):
    if all(vars(threading).get(name) is value for name, value in OF_THREADING.items()):
        threading.Thread(name=name, target=target, args=args, daemon=True).start()
    else:
        begun = allocate_lock()
        begun.acquire()
        start_native(native_thread, (begun, name, target, args))
        begun.acquire()


def native_thread(begun, name, target, args):
    """Where `threading` is no longer Python's own. Its first wait makes what gevent
    needs in each thread, which two threads cannot do at the same time."""
    try:
        threading.current_thread().name = name
        time.sleep(0)
    except Exception:
        pass
    begun.release()
    target(*args)


def request_thread(core, slot):
    core.request_thread(slot, get_ident())


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
        home = os.fspath(facts["home"])
        added = [home] + [entry for entry in added if entry != home]
    sys.path[:] = added + [entry for entry in sys.path if entry not in added]


def install_modules(core, facts):
    mod_wsgi = types.ModuleType("mod_wsgi")
    exec(compile(facts["mod_wsgi_source"], "wsgid/mod_wsgi.py", "exec"), mod_wsgi.__dict__)
    mod_wsgi.version = (6, 1, 1)
    mod_wsgi.process_group = facts["process_group"]
    mod_wsgi.application_group = facts["application_group"]
    mod_wsgi.maximum_processes = facts["processes"]
    mod_wsgi.threads_per_process = mod_wsgi._threads = facts["threads"]
    mod_wsgi._core = core
    sys.modules["mod_wsgi"] = mod_wsgi
    apache = types.ModuleType("apache")
    apache.version = facts["apache_version"]
    apache.description = facts["apache_description"]
    apache.mpm_name = facts["apache_mpm"]
    # httpd says when it was built to its own modules only.
    apache.build_date = ""
    apache.maximum_processes = facts["apache_maximum_processes"]
    apache.threads_per_process = facts["apache_threads_per_process"]
    sys.modules["apache"] = apache
    return mod_wsgi


def attach_package(mod_wsgi):
    """Sub-modules of an installed mod_wsgi package stay importable."""
    from importlib.machinery import PathFinder

    try:
        spec = PathFinder.find_spec("mod_wsgi")
    except Exception:
        return
    if spec is not None and spec.submodule_search_locations:
        mod_wsgi.__path__ = list(spec.submodule_search_locations)


def set_locale(lang, locale):
    """`locale=` is in force for C too, as in mod_wsgi; a name that the system
    does not know is told, for nothing else would."""
    import _locale

    for option, name in (("lang", lang), ("locale", locale)):
        if not name:
            continue
        before = _locale.setlocale(_locale.LC_ALL)
        try:
            _locale.setlocale(_locale.LC_ALL, name)
        except _locale.Error:
            # Standard error would make it an error; configurations name locales that a machine has not.
            print("%s=%s is no locale of this system (`locale -a` lists them): the worker goes on without it"
                  % (option, name), file=sys.__stdout__, flush=True)
            continue
        if option == "lang":
            _locale.setlocale(_locale.LC_ALL, before)


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


class ClosedStdin:
    """WSGIRestrictStdin: any use raises."""

    def __getattr__(self, name):
        raise OSError("sys.stdin access is restricted by mod_wsgi (WSGIRestrictStdin)")


def install_signals(core, mod_wsgi, wake, service, restrict):
    """The main thread handles them while it waits."""

    def stop(number, frame):
        core.stop()
        if service:
            raise SystemExit

    def recycle(number, frame):
        core.recycle(signal.Signals(number).name)

    def publish(number, frame):
        payload = {"signame": signal.Signals(number).name, "signum": int(number)}
        mod_wsgi._publish("process_signal", payload, mod_wsgi.signal_callbacks)

    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for numbers, handler in (
        ((signal.SIGTERM, signal.SIGINT), stop),
        ((signal.SIGUSR1, signal.SIGXCPU), recycle),
        ((signal.SIGHUP, signal.SIGUSR2), publish),
    ):
        for number in numbers:
            handlers[number] = handler
            set_handler(number, handler)
    if restrict and not service:
        signal.signal = refuse_signal


def before_fork(core):
    """A signal that comes to the child before it has put off what is the worker's
    would be lost."""
    forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, handlers)
    core.before_fork()


def after_fork_in_parent(core):
    core.after_fork_in_parent()
    signal.pthread_sigmask(signal.SIG_SETMASK, forking.mask)


def after_fork_in_child(core):
    """A child of the application is no worker: what a signal does to a worker must
    not happen to it, and `terminate()` has to end it."""
    try:
        if core.after_fork_in_child():
            signal.set_wakeup_fd(-1)
            for number, handler in handlers.items():
                if signal.getsignal(number) is handler:
                    set_handler(number, signal.SIG_DFL)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, forking.mask)


def refuse_signal(number, handler):
    """WSGIRestrictSignal: says so and changes nothing."""
    print("a handler for signal %d was not installed: WSGIRestrictSignal is On" % number, file=sys.stderr)
    import traceback

    traceback.print_stack()
    return signal.getsignal(number)


def set_title(title, is_asked):
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
        # Without /proc there is no name; that is told to who has asked for one.
        if is_asked:
            print("display-name could not be set: %s" % error, file=sys.stderr)


def digest_of(name):
    """hashlib brings OpenSSL into the process: a megabyte for a name. It names
    a module, nothing more."""
    try:
        from _md5 import md5
    except ImportError:
        from hashlib import md5
    return md5(name).hexdigest()


def load_script(path, source=None):
    """Compiles and executes a script as a module of its own. `source` is what was
    read of it, where somebody has looked whether it may be run."""
    path = os.fspath(path)
    name = "_mod_wsgi_" + digest_of(os.fsencode(path))
    if source is None:
        with open(path, "rb") as file:
            source = file.read()
    module = types.ModuleType(name)
    module.__file__ = path
    module.__mtime__ = os.stat(path).st_mtime
    code = compile(source, path, "exec", dont_inherit=True)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def stacks(ident=None):
    """The Python stacks of all threads, or of one."""
    import traceback

    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = []
    for thread, frame in sys._current_frames().items():
        if ident is None or thread == ident:
            lines.append("thread %s (%d):" % (names.get(thread, "?"), thread))
            lines += [line.rstrip("\n") for line in traceback.format_stack(frame)]
    return "\n".join(lines)


def stacks_of(idents):
    """The Python stacks of these threads, by ident; what stands above the application is left out."""
    import traceback

    found = {}
    frames = sys._current_frames()
    for ident in idents:
        if ident in frames:
            entries = traceback.extract_stack(frames[ident])
            ours = [number for number, entry in enumerate(entries) if entry.filename == "wsgid/runtime.py"]
            entries = entries[max(ours, default=-1) + 1:]
            found[ident] = "".join(traceback.format_list(entries)).rstrip("\n")
    return found
