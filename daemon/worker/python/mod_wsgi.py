"""The module `mod_wsgi` as applications know it.

runtime.py adds version, process_group, application_group, maximum_processes,
threads_per_process, and `_core`, the extension's side of this worker.
"""

import os as _os
import sys as _sys
import time as _time
from operator import index as _index

event_callbacks = []
shutdown_callbacks = []
signal_callbacks = []

_core = None
_threads = 0
_recording = None


class RequestTimeout(BaseException):
    """Raised in a thread whose request has run for too long."""


class FileWrapper:
    """PEP 3333 `wsgi.file_wrapper`: blocks of a file-like object."""

    __slots__ = ("filelike", "blksize", "__weakref__")

    def __init__(self, filelike, blksize=8192):
        if _index(blksize) < 0:
            raise ValueError("a block of a file cannot have %d bytes" % blksize)
        self.filelike = filelike
        self.blksize = blksize

    def close(self):
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()

    def __iter__(self):
        return self

    def __next__(self):
        block = self.filelike.read(self.blksize)
        if not block and isinstance(block, bytes):
            raise StopIteration
        return block


def __getattr__(name):
    """Made when they are asked for: not every site uses logging, or wants a
    dictionary of the requests that are being served to be kept."""
    if name == "active_requests":
        return globals().setdefault(name, _core.active_requests())
    if name != "LogHandler":
        raise AttributeError("module 'mod_wsgi' has no attribute %r" % name)
    import logging

    class LogHandler(logging.Handler):
        """A handler whose records reach httpd's error log with their level."""

        def emit(self, record):
            try:
                _core.log(_level(record.levelno), self.format(record))
            except Exception:
                self.handleError(record)

    LogHandler.__module__ = "mod_wsgi"
    LogHandler.__qualname__ = "LogHandler"
    globals()["LogHandler"] = LogHandler
    return LogHandler


def __dir__():
    return sorted({*globals(), "LogHandler", "active_requests"})


def _level(number):
    """httpd's level for one of Python's."""
    for least, level in ((50, 2), (40, 3), (30, 4), (25, 5), (20, 6)):
        if number >= least:
            return level
    return 7


def request_data():
    """A dictionary that lives as long as the request of the calling thread."""
    return _core.request_data()


def subscribe_events(callback):
    event_callbacks.append(callback)
    return callback


def subscribe_shutdown(callback):
    shutdown_callbacks.append(callback)
    return callback


def subscribe_signals(callback):
    signal_callbacks.append(callback)
    return callback


def _publish(name, payload, callbacks=None):
    """Calls the callbacks; what one returns is merged into the payload."""
    for callback in list(event_callbacks if callbacks is None else callbacks):
        try:
            result = callback(name, **payload)
        except RequestTimeout:
            raise
        except BaseException:
            print("mod_wsgi: a callback for the event %s failed" % name, file=_sys.stderr)
            import traceback

            traceback.print_exc()
            continue
        if isinstance(result, dict):
            payload.update(result)
    return payload


def _memory():
    import resource

    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * _os.sysconf("SC_PAGE_SIZE")
    return resident, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def start_recording_metrics():
    """From now on `request_metrics` and `process_metrics` have something to say."""
    global _recording
    if _recording is None:
        _core.start_metrics()
        _recording = (_time.time(), _os.times()[:2])


def process_metrics():
    """What this process has done since it started; None before recording."""
    if _recording is None:
        return None
    now = _time.time()
    age, requests, active, busy, threads = _core.counters()
    user, system = _os.times()[:2]
    resident, peak = _memory()
    return {
        "pid": _os.getpid(), "restart_time": now - age, "current_time": now, "running_time": int(age),
        "request_count": requests, "request_busy_time": busy, "request_threads": _threads, "active_requests": active,
        "cpu_user_time": user, "cpu_system_time": system, "cpu_time": user + system,
        "memory_rss": resident, "memory_max_rss": peak,
        "threads": [{"thread_id": number, "request_count": count} for number, count in enumerate(threads, 1)],
    }


def request_metrics():
    """What has been served since the last call; None before recording."""
    global _recording
    if _recording is None:
        return None
    began, cpu = _recording
    now, used = _time.time(), _os.times()[:2]
    _recording = (now, used)
    metrics = _core.take_metrics()
    period = max(now - began, 1e-9)
    metrics.update({
        "pid": _os.getpid(), "start_time": began, "stop_time": now, "sample_period": period,
        "request_throughput": metrics["request_count"] / period,
        "request_threads_maximum": _threads, "request_threads_started": _threads,
        "capacity_utilization": min(sum(metrics["request_threads_busy_time"]) / period / max(_threads, 1), 1.0),
    })
    for name, seconds in (("user_", used[0] - cpu[0]), ("system_", used[1] - cpu[1]), ("", sum(used) - sum(cpu))):
        # The second name is the older one for the same.
        metrics["cpu_%sutilization" % name] = metrics["cpu_%stime" % name] = seconds / period
    metrics["memory_rss"], metrics["memory_max_rss"] = _memory()
    return metrics


def server_metrics():
    """Workers do not see httpd's scoreboard; mod_status shows it."""
    return None
