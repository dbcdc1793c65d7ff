# Passed to the site's python with -c by `wsgid check`, inside the group's isolation: loads one
# script as a worker does, with the worker's own `runtime.py`, and writes what came of it to
# descriptor 3 as one line of JSON. Nothing is served.
import faulthandler
import json
import os
import sys
import types

RECORD = 3


class Core:
    """What the extension is to an application that is being loaded: there is nothing to ask."""

    def active_requests(self):
        return {}

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def place(error):
    """Where in the site's own code it was, else where it was."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno
    places = []
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith(("wsgid/", "<")):
            places.append((file, trace.tb_lineno))
        trace = trace.tb_next
    libraries = tuple({os.path.join(prefix, "lib") + os.sep for prefix in (sys.prefix, sys.base_prefix, "/usr")})
    own = [one for one in places if not one[0].startswith(libraries)]
    return (own or places or [(None, None)])[-1]


def words(error):
    text = str(error).partition("\n")[0]
    return type(error).__name__ + (": " + text if text else "")


def first_cause(error):
    """What an error was made of, and that of another: libraries wrap them."""
    for _ in range(10):
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is None:
            break
        error = before
    return error


def load(runtime_source, mod_wsgi_source, callables_source, facts):
    facts = json.loads(facts)
    script, callable_name = facts["script"], facts["callable"]
    facts["apache_version"] = tuple(facts["apache_version"])
    facts["mod_wsgi_source"] = mod_wsgi_source
    faulthandler.dump_traceback_later(facts["seconds"], exit=True, file=RECORD)
    runtime = types.ModuleType("_wsgid_runtime")
    exec(compile(runtime_source, "wsgid/runtime.py", "exec"), runtime.__dict__)
    core = Core()
    mod_wsgi = runtime.install_modules(core, facts)
    runtime.RequestTimeout = mod_wsgi.RequestTimeout
    runtime.callables_source = callables_source
    runtime.set_locale(facts["lang"], facts["locale"])
    if facts["stack_size"]:
        import threading

        threading.stack_size(facts["stack_size"])
    if facts["restrict_stdin"]:
        sys.stdin = runtime.ClosedStdin()
    if facts["restrict_signal"]:
        import signal

        signal.signal = runtime.refuse_signal
    runtime.prepare_path(facts)
    runtime.attach_package(mod_wsgi)
    try:
        module = runtime.load_script(script)
    except BaseException as error:
        file, line = place(error)
        text, cause = words(error), words(first_cause(error))
        text += "" if cause in text else " (it came of %s)" % cause
        return {"Raised": {"text": text, "file": file, "line": line}}
    why = callable_name and runtime.unusable(module, callable_name)
    return {"Unusable": why} if why else "Works"


def main():
    pid = os.getpid()
    outcome = json.dumps({"Came": load(*sys.argv[1:])})
    # What the application has forked is not asked.
    if os.getpid() == pid:
        os.write(RECORD, outcome.encode() + b"\n")
    os._exit(0)


main()
