"""What applications of mod_wsgi rely on: streams, files, failures, signals, names."""

import gzip
import os
import select
import signal
import socket
import unittest
import zipfile

import harness
import wire

SCRIPT_MISSING, NO_CALLABLE, APPLICATION_ERROR, APPLICATION_TIMEOUT = 16, 12, 13, 18

# Calls what the query string says and shows the result or the exception.
EVALUATED = """
    import io, os, sys
    KEPT = {}
    def application(environ, start_response):
        errors, body = environ["wsgi.errors"], environ["wsgi.input"]
        try:
            result = repr(eval(environ["QUERY_STRING"], dict(globals(), **locals())))
        except Exception as error:
            result = type(error).__name__
        start_response("200 OK", [])
        return [result.encode()]
"""


class Streams(harness.Case):
    def evaluate(self, cases):
        _, connection, path = self.serve(EVALUATED)
        for query, result, log in cases:
            with self.subTest(query=query):
                answer = connection.get(path, environ={"QUERY_STRING": query})
                self.assertEqual(answer.body.decode(), result, answer.log)
                self.assertEqual([line.decode() for _, line in answer.logs], log)

    def test_the_buffer_takes_bytes_of_every_kind_and_text(self):
        self.evaluate([
            (call % stream, result, log)
            for stream in ("errors", "sys.stderr", "sys.stdout")
            for call, result, log in (
                ("%s.buffer.write('text')", "4", ["text"]), ("%s.buffer.write('\\xe4')", "2", ["\xe4"]),
                ("%s.buffer.write(b'bytes')", "5", ["bytes"]), ("%s.buffer.write(bytearray(b'array'))", "5", ["array"]),
                ("%s.buffer.write(memoryview(b'view'))", "4", ["view"]),
                ("%s.buffer.write(memoryview(b'12345678').cast('I'))", "8", ["12345678"]),
                ("%s.buffer.writelines([b'a', bytearray(b'b'), memoryview(b'c'), 'd'])", "None", ["abcd"]),
                ("%s.buffer.writelines(x for x in (b'a\\n', b'b\\n'))", "None", ["a", "b"]),
                ("%s.buffer.writelines([])", "None", []), ("%s.buffer.writelines(None)", "TypeError", []),
                ("%s.buffer.write(1)", "TypeError", []), ("%s.buffer.writelines([b'a', 1])", "TypeError", ["a"]),
                ("%s.buffer.write('\\ud800')", "UnicodeEncodeError", []),
                ("[%s.buffer.write(part) for part in (b'\\xc3', b'\\xa4\\n')]", "[1, 2]", ["\xe4"]),
                ("io.BufferedWriter(%s.buffer).write(b'buffered')", "8", ["buffered"]),
                ("io.TextIOWrapper(%s.buffer, 'utf-8', write_through=True).write('wrapped')", "7", ["wrapped"]),
                ("isinstance(%s.buffer, io.BufferedIOBase)", "True", []),
                ("%s.write(b'x')", "TypeError", []), ("%s.writelines([b'x'])", "TypeError", []),
            )
        ])

    def test_arguments_are_those_of_text_streams(self):
        self.evaluate([
            ("errors.read('x')", "TypeError", []), ("errors.readline(1)", "UnsupportedOperation", []),
            ("errors.seek()", "TypeError", []), ("errors.seek(0, 2)", "UnsupportedOperation", []),
            ("errors.flush(1)", "TypeError", []), ("errors.write('a', 'b')", "TypeError", []),
            ("errors.buffer.tell()", "UnsupportedOperation", []),
        ])

    def test_who_kept_a_stream_can_let_go_of_it(self):
        keep = "KEPT.update(errors=errors, buffer=errors.buffer, body=body)"
        kept = [("KEPT['%s'].%s" % (name, call), "False" if call.endswith(("isatty()", "closed")) else "None", [])
                for name, calls in (
                    ("errors", ("flush()", "close()", "isatty()", "closed", "__exit__(None, None, None)", "detach().flush()")),
                    ("buffer", ("flush()", "close()", "isatty()", "closed", "__exit__(None, None, None)")),
                    ("body", ("close()",)))
                for call in calls]
        uses = [("KEPT['%s'].%s" % (name, call), "RuntimeError", [])
                for name, call in (("errors", "write('x')"), ("errors", "writelines(['x'])"), ("buffer", "write(b'x')"), ("body", "read()"))]
        self.evaluate([(keep, "None", [])] + kept + uses)

    def test_logging_shuts_down_with_a_handler_of_an_ended_request(self):
        worker, connection, path = self.serve("""
            import logging, logging.handlers, sys
            class Last(logging.Handler):
                def flush(self):
                    print("the other one was flushed", file=sys.__stderr__, flush=True)
            # Handlers are flushed in the reverse order.
            others = [Last()]
            def application(environ, start_response):
                others.append(logging.StreamHandler(environ["wsgi.errors"]))
                start_response("200 OK", [])
                return [b""]
        """)
        connection.get(path)
        worker.tell(wire.DRAIN)
        self.assertEqual(worker.wait(), 0)
        self.assertIn("the other one was flushed", worker.output())
        self.assertNotIn("Traceback", worker.output())


class Failures(harness.Case):
    def test_the_application_may_give_a_request_up_as_the_worker_would(self):
        _, connection, path = self.serve("""
            import mod_wsgi
            class Mine(mod_wsgi.RequestTimeout):
                pass
            def late(start_response):
                start_response("200 OK", [])
                yield b""
                raise mod_wsgi.RequestTimeout("while iterating")
            def application(environ, start_response):
                if environ["QUERY_STRING"] == "call":
                    raise mod_wsgi.RequestTimeout("at once")
                if environ["QUERY_STRING"] == "sub":
                    raise Mine
                return late(start_response)
        """)
        for query in ("call", "sub", "iterate"):
            answer = connection.get(path, environ={"QUERY_STRING": query})
            self.assertEqual((answer.failure, answer.status, answer.logs), (APPLICATION_TIMEOUT, None, []))
        self.assertEqual(connection.get(path, environ={"QUERY_STRING": "call"}).failure, APPLICATION_TIMEOUT)

    def test_what_fails_twice_is_logged_twice(self):
        _, connection, path = self.serve("""
            class Body:
                def __iter__(self):
                    return self
                def __next__(self):
                    raise ValueError("in the iteration")
                def close(self):
                    raise KeyError("in close")
            def application(environ, start_response):
                start_response("200 OK", [])
                return Body()
        """)
        answer = connection.get(path)
        self.assertEqual(answer.failure, APPLICATION_ERROR)
        self.assertIn("ValueError: in the iteration", answer.log)
        self.assertIn("KeyError: 'in close'", answer.log)

    def test_a_client_that_left_ends_an_iteration_of_nothing(self):
        worker, connection, path = self.serve("""
            import time
            class Body:
                def __iter__(self):
                    return self
                def __next__(self):
                    time.sleep(0.001)
                    return b""
                def close(self):
                    open(__file__ + ".closed", "w").close()
            def application(environ, start_response):
                write = start_response("200 OK", [])
                if environ["QUERY_STRING"] == "write":
                    try:
                        while True:
                            write(b"")
                    finally:
                        Body().close()
                return Body()
        """)
        for query in ("iterate", "write"):
            gone = worker.connect()
            gone.begin(path, environ={"QUERY_STRING": query})
            self.assertFalse(os.path.exists(path + ".closed"))
            gone.close()
            self.until(lambda: os.path.exists(path + ".closed"), "the end of " + query)
            os.unlink(path + ".closed")
        # One who stays is served to the end.
        path = self.script("""
            import time
            def application(environ, start_response):
                start_response("200 OK", [])
                end = time.monotonic() + 0.5
                while time.monotonic() < end:
                    yield b""
                yield b"the end"
        """)
        self.assertEqual(connection.get(path).body, b"the end")


class Callables(harness.Case):
    ASYNC = "async def %s(scope, receive, send):\n    raise AssertionError('called')\n"

    def test_what_wsgi_cannot_call_is_not_called(self):
        _, connection, _ = self.serve("")
        called = "    raise AssertionError('called')\n"
        for source, said in (
            (self.ASYNC % "application", ["`application` is an ASGI application", "ProxyPass", "a2wsgi"]),
            ("class App:\n  async def __call__(self, scope, receive, send):\n" + called + "application = App()\n", ["ASGI"]),
            ("class App:\n  def __init__(self, scope):\n" + called + "  async def __call__(self, receive, send): pass\n"
             "application = App\n", ["ASGI"]),
            ("import functools\nasync def app(more, scope, receive, send): pass\napplication = functools.partial(app, 1)\n", ["ASGI"]),
            ("class App:\n  async def asgi(self, scope, receive, send): pass\napplication = App().asgi\n", ["ASGI"]),
            ("def application(scope, receive, send):\n" + called, ["ASGI"]),
            ("async def application(environ, start_response):\n" + called, ["coroutine function", "without async"]),
            ("async def application(environ, start_response):\n  yield b''\n", ["coroutine function"]),
            ("application = 'x'\n", ["`application` cannot be called", "type str", "nothing else"]),
            ("application = None\ndef app(environ, start_response): pass\n", ["NoneType", "`app` exists: WSGICallableObject app"]),
            ("def app(environ, start_response): pass\n",
             ["does not contain the callable `application`", "`app` exists: WSGICallableObject app"]),
            ("import json, logging\nfrom functools import wraps\nlog = logging.getLogger()\nclass Helper: pass\n"
             "def one(x): pass\ndef three(a, b, c): pass\nclass App:\n  def __call__(self, environ, start_response): pass\n"
             "site = App()\n", ["`site` exists: WSGICallableObject site"]),
            (self.ASYNC % "app", ["`app` exists, but is an ASGI application"]),
            ("x = 1\n", ["nothing else in the script looks like an application"]),
        ):
            path = self.script(source)
            with self.subTest(source=source):
                for _ in range(2):
                    answer = connection.get(path)
                    self.assertEqual((answer.failure, answer.log), (NO_CALLABLE, ""), answer.text)
                    for text in said + ["WSGI script `%s`" % path]:
                        self.assertIn(text, answer.text)

    def test_what_can_be_called_is_called(self):
        _, connection, _ = self.serve("")
        body = "start_response('200 OK', [])\n    return [b'served']\n"
        for source in (
            "def application(environ, start_response):\n    " + body,
            "def application(*args):\n    start_response = args[1]\n    " + body,
            "class application:\n  def __init__(self, environ, start_response):\n    start_response('200 OK', [])\n"
            "  def __iter__(self):\n    return iter([b'served'])\n",
            "class App:\n  def __call__(self, environ, start_response):\n    " + body + "application = App()\n",
            "class App:\n  async def __call__(self): pass\n  def wsgi(self, environ, start_response):\n    " + body +
            "application = App().wsgi\n",
            "import functools\ndef app(more, environ, start_response):\n    " + body + "application = functools.partial(app, 1)\n",
            # As werkzeug does it: what is wrapped takes other arguments.
            "import functools\nasync def view(request): pass\n@functools.wraps(view)\ndef application(environ, start_response):\n    " + body,
        ):
            with self.subTest(source=source):
                answer = connection.get(self.script(source))
                self.assertEqual((answer.status, answer.body), (200, b"served"), answer.text)

    def test_a_script_that_is_loaded_beforehand_is_looked_at_then(self):
        path = self.script(self.ASYNC % "application")
        dispatch = self.script("def process_group(environ): return 'x'\n")
        worker = self.worker(preload_scripts=[(path, "", "application"), (dispatch, "", None)])
        failed = dict(worker.expect("Ready")[2])
        self.assertEqual(list(failed), [path])
        self.assertIn("ASGI", failed[path])
        # A name that is missing is no failure: requests may ask for another one.
        worker = self.worker(preload_scripts=[(dispatch, "", "application")])
        self.assertEqual(worker.expect("Ready")[2], [])
        self.assertEqual(worker.connect().get(dispatch, call=("dispatch",)).failure, None)


class Files(harness.Case):
    WRAPPED = """
        import gzip, io, os, tempfile, zipfile
        here = os.path.dirname(__file__) + "/"
        class SameFile(io.FileIO):
            pass
        class SameReader(io.BufferedReader):
            pass
        class OwnFile(io.FileIO):
            def read(self, size=-1):
                return super().read(size).upper()
        class OwnReader(io.BufferedReader):
            def read(self, size=-1):
                return super().read(size).upper()
        class Delegating:
            def __init__(self, file):
                self.file = file
            def __getattr__(self, name):
                return getattr(self.file, name)
        class OwnRead(Delegating):
            def read(self, size=-1):
                return self.file.read(size).upper()
        def at(file, position):
            file.seek(position)
            return file
        def own(file):
            usual = file.read
            file.read = lambda size=-1: usual(size).upper()
            return file
        def full(file):
            file.write(b"contents")
            file.seek(0)
            return file
        def application(environ, start_response):
            start_response("200 OK", [])
            return environ["wsgi.file_wrapper"](eval(environ["QUERY_STRING"]))
    """

    def test_only_what_its_descriptor_gives_goes_by_descriptor(self):
        _, connection, path = self.serve(self.WRAPPED)
        directory = os.path.dirname(path)
        with open(directory + "/plain", "wb") as file:
            file.write(b"contents")
        with gzip.open(directory + "/packed.gz", "wb") as file:
            file.write(b"contents")
        with zipfile.ZipFile(directory + "/packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("member", b"contents")
        plain = "open(here + 'plain', 'rb')"
        for query, expected, by_descriptor in (
            (plain, b"contents", True), ("open(here + 'plain', 'rb', 0)", b"contents", True),
            ("open(here + 'plain', 'r+b')", b"contents", True), ("at(%s, 3)" % plain, b"tents", True),
            ("at(open(here + 'plain', 'rb', 0), 3)", b"tents", True), ("open(here + 'plain')", b"contents", True),
            ("SameFile(here + 'plain')", b"contents", True), ("SameReader(io.FileIO(here + 'plain'))", b"contents", True),
            ("full(tempfile.NamedTemporaryFile())", b"contents", True), ("full(tempfile.TemporaryFile())", b"contents", True),
            ("OwnFile(here + 'plain')", b"CONTENTS", False), ("OwnReader(io.FileIO(here + 'plain'))", b"CONTENTS", False),
            ("io.BufferedReader(OwnFile(here + 'plain'))", b"contents", False),
            ("OwnRead(%s)" % plain, b"CONTENTS", False), ("Delegating(%s)" % plain, b"contents", False),
            ("own(%s)" % plain, b"CONTENTS", False), ("own(full(tempfile.NamedTemporaryFile()))", b"CONTENTS", False),
            ("gzip.open(here + 'packed.gz')", b"contents", False),
            ("io.BufferedReader(gzip.open(here + 'packed.gz'))", b"contents", False),
            ("at(gzip.open(here + 'packed.gz'), 3)", b"tents", False),
            ("full(tempfile.SpooledTemporaryFile(max_size=4))", b"contents", False),
            ("full(tempfile.SpooledTemporaryFile(max_size=400))", b"contents", False),
            ("zipfile.ZipFile(here + 'packed.zip').open('member')", b"contents", False),
            ("at(io.BytesIO(b'contents'), 3)", b"tents", False),
        ):
            with self.subTest(query=query):
                answer = connection.get(path, environ={"QUERY_STRING": query})
                self.assertEqual((answer.failure, answer.file is not None), (None, by_descriptor), answer.log)
                if answer.file is None:
                    self.assertEqual(answer.body, expected)
                else:
                    number, offset, length = answer.file
                    self.assertEqual(os.pread(number, length, offset), expected)
                    os.close(number)

    def test_what_is_no_file_is_no_script_and_holds_nobody_up(self):
        directory = self.directory.name
        os.mkfifo(directory + "/pipe")
        os.mkdir(directory + "/directory")
        listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(listening.close)
        listening.bind(directory + "/socket")
        os.symlink("/dev/zero", directory + "/device")
        named = [directory + "/" + name for name in ("pipe", "directory", "socket", "device")]
        by_name = self.worker(runs=(named, []))
        by_name.expect("Ready")
        everything = self.worker(runs=([], ["/"]))
        everything.expect("Ready")
        for one in by_name, everything:
            connection = one.connect()
            for path in named:
                answer = connection.get(path)
                self.assertEqual(answer.failure, SCRIPT_MISSING, answer.text)
                self.assertIn("not a regular file", answer.text)
                self.assertIn("it is a " + os.path.basename(path).replace("pipe", "pipe (FIFO)"), answer.text)
        # It has become a script: that is seen.
        os.unlink(named[0])
        os.rename(self.script("x = 1"), named[0])
        connection = by_name.connect()
        self.until(lambda: connection.get(named[0]) and ("Recycle", "LoadFailed") in self.heard(by_name), "a successor")

    def heard(self, worker):
        while select.select([worker.control], [], [], 0)[0]:
            worker.seen.append(worker.message())
        return worker.seen


class Process(harness.Case):
    def test_handlers_that_raise_end_neither_the_worker_nor_requests(self):
        path = self.script("""
            import os, signal, sys, time
            class Odd(BaseException):
                pass
            def fail(number, frame):
                with open(__file__ + ".handled", "a") as file:
                    file.write("x")
                raise {signal.SIGALRM: Odd, signal.SIGUSR1: ValueError, signal.SIGUSR2: SystemExit,
                       signal.SIGHUP: KeyboardInterrupt}.get(number, OSError)("raised on purpose")
            for number in (signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGPROF):
                signal.signal(number, fail)
            def application(environ, start_response):
                start_response("200 OK", [])
                time.sleep(float(environ["QUERY_STRING"] or 0))
                return [b"%d" % os.getpid()]
        """)
        worker = self.worker(preload_scripts=[(path, "", "application")], restrict_signal=False)
        self.assertEqual(worker.expect("Ready")[2], [])
        connection = worker.connect()
        connection.begin(path, environ={"QUERY_STRING": "1.5"})
        handled = lambda: os.path.getsize(path + ".handled") if os.path.exists(path + ".handled") else 0
        numbers = [signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGPROF] * 2
        for count, number in enumerate(numbers, 1):
            worker.process.send_signal(number)
            self.until(lambda: handled() == count, "handler %d" % count)
        # Many at once: also while another one is being told of.
        for _ in range(200):
            for number in numbers:
                worker.process.send_signal(number)
        self.assertEqual(connection.answer().status, 200)
        self.assertEqual(worker.connect().get(path).body, b"%d" % worker.process.pid)
        said = worker.output()
        self.assertIn("exception in a signal handler", said)
        for name in ("Odd", "ValueError", "SystemExit", "KeyboardInterrupt", "OSError"):
            self.assertIn(name + ": raised on purpose", said)
        self.assertNotIn("could not become a worker", said)
        worker.tell(wire.DRAIN)
        self.assertEqual(worker.wait(), 0)

    def test_a_preloader_outlives_a_handler_that_raises(self):
        path = self.script("""
            import signal
            def fail(number, frame):
                open(__file__ + ".handled", "w").close()
                raise ValueError("raised on purpose")
            signal.signal(signal.SIGALRM, fail)
            def application(environ, start_response):
                start_response("200 OK", [])
                return [b"served"]
        """)
        preloader = self.worker(preloader=True, preload_scripts=[(path, "", "application")], restrict_signal=False)
        preloader.expect("Ready")
        for _ in range(20):
            preloader.process.send_signal(signal.SIGALRM)
            self.until(lambda: os.path.exists(path + ".handled"), "the handler")
            os.unlink(path + ".handled")
        worker = harness.Forked(preloader)
        self.addCleanup(worker.kill)
        worker.expect("Ready")
        self.assertEqual(worker.connect().get(path).body, b"served")

    def test_ps_says_which_site_it_is(self):
        def shown(worker):
            with open("/proc/%d/cmdline" % worker.process.pid, "rb") as file:
                return file.read().rstrip(b"\0").decode()

        for options, title in (({}, "(wsgid: test)"), ({"display_name": "%{GROUP}"}, "(wsgi:test)"),
                               ({"display_name": "my site"}, "my site")):
            for preloader, more in ((False, ""), (True, " preloader")):
                worker = self.worker(preloader=preloader, **options)
                worker.expect("Ready")
                self.assertEqual(shown(worker), title + more)


if __name__ == "__main__":
    unittest.main()
