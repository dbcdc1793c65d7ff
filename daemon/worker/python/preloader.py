"""The life of a preloader: loads the scripts once, then forks a worker for
each order of the supervisor. Executed by `runtime.py`; in a forked worker
`serve_orders` returns to it.
"""

import gc
import os
import sys
import threading


def serve_orders(core, wake_read, failed):
    """Returns once for each worker: in the process that is to become it."""
    # What is there now stays: a collection in a worker would write to every
    # page that it shares with the others.
    gc.collect()
    gc.freeze()
    is_announced = False

    def step():
        nonlocal is_announced
        if not is_announced:
            announce(core, failed)
            is_announced = True
        core.wait_for_order(wake_read)
        why = other_threads()
        if why:
            core.cannot_fork(why)
            return False
        if not core.step_aside():
            return False
        fork_worker()
        return True

    core.repeat(step)


def announce(core, failed):
    why = other_threads()
    if why:
        core.cannot_fork(why)
    else:
        core.ready(sys.version_info[:3], failed)


def report():
    try:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    except BaseException:
        # Another one.
        pass


def fork_worker():
    """Runs in a helper that ends at once, so that the worker becomes a child of
    the supervisor. The fork is Python's: hooks of the application run."""
    try:
        if os.fork() == 0:
            return
    except BaseException:
        report()
        os._exit(1)
    os._exit(0)


def other_threads():
    """Who runs beside the main thread, in words; a fork would stop them in the
    middle of whatever they do."""
    count = len(os.listdir("/proc/self/task")) - 1
    if not count:
        return ""
    names = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    native = count - len(names)
    parts = ["`%s`" % name for name in names]
    if native > 0:
        parts.append("%d of a library (%s)" % (native, ", ".join(sorted(set(native_names())))))
    return "%d other threads run in it: %s" % (count, ", ".join(parts))


def native_names():
    """The kernel's names of all threads but the main one."""
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            try:
                with open("/proc/self/task/%s/comm" % task) as file:
                    yield file.read().strip()
            except OSError:
                pass
