"""PEP 3333 as an application sees it, and what httpd sees of it."""

import json
import os
import unittest

import harness
import wire


def pull(data, size=70000, error=None):
    """Answers WANT with what is left of data."""
    state = {"at": 0, "wants": 0}

    def answer(connection, wanted):
        state["wants"] += 1
        piece = data[state["at"]:state["at"] + min(size, wanted)]
        state["at"] += len(piece)
        last = state["at"] == len(data)
        if not piece and error is not None:
            connection.send(wire.frame(wire.BODY_ERROR, connection.ident(), code=error))
            return
        end = wire.FLAG_END if last and error is None else 0
        connection.send(wire.frame(wire.BODY, connection.ident(), piece, end))

    answer.state = state
    return answer


class Environ(harness.Case):
    def test_keys_and_types(self):
        _, connection, path = self.serve("""
            import json
            def application(environ, start_response):
                start_response("200 OK", [])
                kinds = {key: type(value).__name__ for key, value in environ.items()}
                plain = {key: value for key, value in environ.items() if isinstance(value, (str, int, float, bool, tuple))}
                return [json.dumps([kinds, plain]).encode()]
        """, multiprocess=True)
        for _ in range(2):
            answer = connection.get(path, environ={"HTTP_X": "\xe4".encode("latin-1"), "mod_wsgi.request_id": "id"})
            kinds, plain = json.loads(answer.body)
            self.assertEqual(plain["HTTP_X"], "\xe4")
            self.assertEqual(plain["wsgi.version"], [1, 0])
            self.assertEqual(plain["wsgi.url_scheme"], "http")
            self.assertIs(plain["wsgi.multithread"], True)
            self.assertIs(plain["wsgi.multiprocess"], True)
            self.assertIs(plain["wsgi.run_once"], False)
            self.assertIs(plain["wsgi.input_terminated"], True)
            self.assertEqual(plain["mod_wsgi.version"], [6, 1, 1])
            self.assertEqual(plain["mod_wsgi.process_group"], "test")
            self.assertEqual(plain["mod_wsgi.application_group"], "")
            self.assertEqual(plain["mod_wsgi.callable_object"], "application")
            self.assertEqual(plain["apache.version"], [2, 4, 71])
            for name in ("request_start", "queue_start", "daemon_start", "application_start"):
                self.assertEqual(kinds["mod_wsgi." + name], "float")
            self.assertEqual(kinds["mod_wsgi.thread_id"], "int")

    def test_https_becomes_the_scheme(self):
        _, connection, path = self.serve("""
            def application(environ, start_response):
                start_response("200 OK", [])
                return [environ["wsgi.url_scheme"].encode(), b" ", str("HTTPS" in environ).encode()]
        """)
        self.assertEqual(connection.get(path, environ={"HTTPS": "on"}).body, b"https False")
        self.assertEqual(connection.get(path).body, b"http False")

    def test_changing_values_and_orders(self):
        _, connection, path = self.serve("""
            def application(environ, start_response):
                start_response("200 OK", [])
                return ["|".join("%s=%s" % pair for pair in sorted(environ.items()) if pair[0].startswith("X")).encode()]
        """)
        for environ in ({"XA": "1", "XB": "2"}, {"XB": "2", "XA": "1"}, {"XA": "3"}, {"XC": "x" * 500}, {"XA": "3"}):
            expected = "|".join("%s=%s" % pair for pair in sorted(environ.items()))
            self.assertEqual(connection.get(path, environ=environ).body.decode(), expected)


class Input(harness.Case):
    APP = """
        import json
        def application(environ, start_response):
            body = environ["wsgi.input"]
            result = eval(environ["QUERY_STRING"])
            start_response("200 OK", [])
            return [json.dumps(result).encode()]
    """
    DATA = b"one\ntwo\n" + b"x" * 200000 + b"\nlast"

    def test_every_way_to_read(self):
        _, connection, path = self.serve(self.APP)
        lines = [line.decode() for line in self.DATA.splitlines(True)]
        text = self.DATA.decode()
        cases = {
            "body.read().decode()": text,
            "body.read(-1).decode()": text,
            "body.read(None).decode()": text,
            "[body.read(3).decode(), body.read(0).decode(), body.read(10**9).decode(), body.read().decode()]":
                ["one", "", text[3:], ""],
            "[body.read(100000).decode(), body.read(150000).decode()]": [text[:100000], text[100000:]],
            "[line.decode() for line in body]": lines,
            "[line.decode() for line in body.readlines()]": lines,
            "[line.decode() for line in body.readlines(5)]": lines[:2],
            "[body.readline(2).decode(), body.readline().decode(), body.readline(-1).decode(), body.readline(5).decode()]":
                ["on", "e\n", "two\n", "xxxxx"],
            "[body.read(6).decode(), body.readline().decode(), len(body.read())]": ["one\ntw", "o\n", 200005],
        }
        for query, expected in cases.items():
            with self.subTest(query=query, how="pull"):
                source = pull(self.DATA)
                answer = connection.get(path, b"", method="POST", pull=True, on_want=source, environ={"QUERY_STRING": query})
                self.assertEqual(json.loads(answer.body), expected)
            with self.subTest(query=query, how="inline"):
                data = self.DATA[:60000]
                answer = connection.get(path, data, method="POST", environ={"QUERY_STRING": "[len(body.read()), body.read().decode()]"})
                self.assertEqual(json.loads(answer.body), [60000, ""])

    def test_unread_body_is_never_asked_for(self):
        _, connection, path = self.serve(self.APP)
        answer = connection.get(path, b"", pull=True, environ={"QUERY_STRING": "1"}, method="POST")
        self.assertEqual((answer.body, answer.flags), (b"1", 0))
        self.assertEqual(connection.get(path, environ={"QUERY_STRING": "2"}).body, b"2")

    def test_partly_read_body(self):
        _, connection, path = self.serve(self.APP)
        answer = connection.get(path, b"", pull=True, on_want=pull(self.DATA), method="POST",
                                environ={"QUERY_STRING": "body.read(5).decode()"})
        self.assertEqual(json.loads(answer.body), "one\nt")
        if answer.flags & wire.FLAG_CLOSE == 0:
            self.assertEqual(connection.get(path, environ={"QUERY_STRING": "2"}).body, b"2")

    def test_errors_of_the_body(self):
        _, connection, path = self.serve("""
            def application(environ, start_response):
                try:
                    environ["wsgi.input"].read()
                except OSError as error:
                    start_response("200 OK", [])
                    return [("%s: %s" % (type(error).__name__, error)).encode()]
        """)
        for code, name in ((1, "ConnectionAbortedError"), (2, "TimeoutError"), (3, "OSError"), (4, "OSError")):
            answer = connection.get(path, b"", pull=True, on_want=pull(b"abc", error=code), method="POST")
            self.assertTrue(answer.body.decode().startswith(name + ": mod_wsgi request data read error: "), answer.body)

    def test_client_gone_is_no_application_error(self):
        _, connection, path = self.serve("""
            def application(environ, start_response):
                environ["wsgi.input"].read()
        """)
        answer = connection.get(path, b"", pull=True, on_want=pull(b"abc", error=1), method="POST")
        self.assertEqual((answer.failure, answer.log), (17, ""))

    def test_use_after_the_request(self):
        _, connection, path = self.serve("""
            kept = []
            def application(environ, start_response):
                start_response("200 OK", [])
                for body, errors, start in kept:
                    for use in (body.read, lambda: errors.write("x"), lambda: start("200 OK", [])):
                        try:
                            use()
                        except RuntimeError:
                            pass
                        else:
                            return [b"no exception"]
                kept.append((environ["wsgi.input"], environ["wsgi.errors"], start_response))
                return [b"fine"]
        """)
        for _ in range(2):
            answer = connection.get(path, b"body", method="POST")
            self.assertEqual(answer.body, b"fine", answer.log)


class StartResponse(harness.Case):
    def refused(self, call, kind):
        _, connection, path = self.serve("def application(environ, start_response):\n    %s\n    return [b'x']\n" % call)
        answer = connection.get(path)
        self.assertEqual((answer.status, answer.failure), (None, 13), call)
        self.assertIn(kind, answer.log)
        self.assertIn(kind, answer.text)
        self.assertTrue(all(code == 3 for code, _ in answer.logs))

    def test_what_is_refused(self):
        for call, kind in (
            ("start_response(200, [])", "TypeError"),
            ("start_response('20 OK', [])", "ValueError"),
            ("start_response('abc', [])", "ValueError"),
            ("start_response('200OK', [])", "ValueError"),
            ("start_response('200 O\\nK', [])", "ValueError"),
            ("start_response('200 \\u20ac', [])", "UnicodeEncodeError"),
            ("start_response('200 OK', ())", "TypeError"),
            ("start_response('200 OK', [['a', 'b']])", "TypeError"),
            ("start_response('200 OK', [('a',)])", "ValueError"),
            ("start_response('200 OK', [(b'a', 'b')])", "TypeError"),
            ("start_response('200 OK', [('a', 1)])", "TypeError"),
            ("start_response('200 OK', [('', 'b')])", "ValueError"),
            ("start_response('200 OK', [('a b', 'b')])", "ValueError"),
            ("start_response('200 OK', [('a', 'b\\r\\nSet-Cookie: x')])", "ValueError"),
            ("start_response('200 OK', [('a', '\\u20ac')])", "UnicodeEncodeError"),
            ("start_response('200 OK', [('Content-Length', 'x')])", "ValueError"),
            ("start_response('200 OK', [('Content-Length', '-1')])", "ValueError"),
            ("start_response('200 OK', [], 1)", "RuntimeError"),
            ("pass", "RuntimeError"),
        ):
            with self.subTest(call=call):
                self.refused(call, kind)

    def test_an_empty_write_sends_the_head_an_empty_block_does_not(self):
        _, connection, path = self.serve("""
            import sys
            def application(environ, start_response):
                write = start_response("200 OK", [])
                if environ["QUERY_STRING"] == "write":
                    write(b"")
                else:
                    yield b""
                try:
                    raise KeyError("late")
                except KeyError:
                    start_response("501 Late", [], sys.exc_info())
                yield b"replaced"
        """)
        written = connection.get(path, environ={"QUERY_STRING": "write"})
        self.assertEqual((written.status, written.failure), (200, 13))
        self.assertIn("KeyError: 'late'", written.log)
        yielded = connection.get(path)
        self.assertEqual((yielded.status, yielded.body), (501, b"replaced"))

    def test_late_exc_info_is_raised_as_it_is(self):
        _, connection, path = self.serve("""
            def application(environ, start_response):
                write = start_response("200 OK", [])
                write(b"begun:")
                for info in ((), (1, 2), (KeyError, KeyError("x"), None), (KeyError, "text", None), (ValueError, None, None),
                             ("a", "b", "c"), [1, 2, 3], "abc", None):
                    try:
                        start_response("500 Late", [], info)
                    except Exception as error:
                        write(type(error).__name__.encode() + b" ")
                return []
        """)
        self.assertEqual(connection.get(path).body, b"begun:TypeError TypeError KeyError KeyError ValueError TypeError "
                                                    b"RuntimeError RuntimeError RuntimeError ")

    def test_start_response_in_close_is_too_late(self):
        _, connection, path = self.serve("""
            class Body(list):
                def close(self):
                    Body.start("200 OK", [])
            def application(environ, start_response):
                Body.start = start_response
                return Body()
        """)
        answer = connection.get(path)
        self.assertEqual((answer.status, answer.failure), (None, 13))
        self.assertIn("without calling start_response", answer.log)

    def test_headers_go_as_they_are(self):
        _, connection, path = self.serve("""
            def application(environ, start_response):
                start_response("299 Fine \\xe4", [("Set-Cookie", "a"), ("set-cookie", "b \\xff"), ("X-Empty", "")])
                return []
        """)
        answer = connection.get(path)
        self.assertEqual((answer.status, answer.reason), (299, b"Fine \xe4"))
        self.assertEqual(answer.headers, [(b"Set-Cookie", b"a"), (b"set-cookie", b"b \xff"), (b"X-Empty", b"")])
        self.assertEqual(answer.kinds, [wire.RESPONSE, wire.END])

    def test_exc_info_replaces_before_and_raises_after(self):
        _, connection, path = self.serve("""
            import sys
            def application(environ, start_response):
                write = start_response("200 OK", [("A", "1")])
                if environ["QUERY_STRING"]:
                    write(b"sent")
                try:
                    raise KeyError("later")
                except KeyError:
                    start_response("500 Oops", [("B", "2")], sys.exc_info())
                return [b"error page"]
        """)
        answer = connection.get(path)
        self.assertEqual((answer.status, answer.headers, answer.body), (500, [(b"B", b"2")], b"error page"))
        answer = connection.get(path, environ={"QUERY_STRING": "1"})
        self.assertEqual((answer.status, answer.body, answer.failure), (200, b"sent", 13))
        self.assertIn("KeyError: 'later'", answer.log)

    def test_second_call_after_the_head_has_gone(self):
        _, connection, path = self.serve("""
            def application(environ, start_response):
                start_response("200 OK", [])(b"x")
                start_response("200 OK", [])
        """)
        answer = connection.get(path)
        self.assertEqual((answer.status, answer.failure), (200, 13))
        self.assertIn("RuntimeError", answer.log)


class Response(harness.Case):
    def test_kinds_of_iterables(self):
        _, connection, path = self.serve("""
            class Closing:
                closed = 0
                def __init__(self, blocks): self.blocks = iter(blocks)
                def __iter__(self): return self
                def __next__(self): return next(self.blocks)
                def close(self): Closing.closed += 1
            class Len1:
                def __len__(self): return 1
                def __iter__(self): return iter([b"only"])
            def generator():
                yield b""
                yield b"a"
                yield b"b"
            def application(environ, start_response):
                start_response("200 OK", [])
                return eval(environ["QUERY_STRING"])
        """)
        for query, expected in (
            ("[b'a', b'', b'b']", b"ab"), ("(b'a', b'b')", b"ab"), ("generator()", b"ab"), ("iter([b'x'])", b"x"),
            ("Len1()", b"only"), ("Closing([b'a', b'b'])", b"ab"), ("[]", b""), ("[b'x' * 1000000]", b"x" * 1000000),
            ("[str(Closing.closed).encode()]", b"1"), ("(b'0123456789' * 10 for _ in range(20000))", b"0123456789" * 200000),
        ):
            with self.subTest(query=query):
                answer = connection.get(path, environ={"QUERY_STRING": query})
                self.assertIsNone(answer.failure, answer.log)
                self.assertEqual(answer.body, expected)

    def test_blocks_leave_while_the_next_is_made(self):
        worker, connection, path = self.serve("""
            import os
            def application(environ, start_response):
                start_response("200 OK", [])
                def blocks():
                    yield b"first"
                    with open(environ["QUERY_STRING"]) as gate:
                        gate.read()
                    yield b"second"
                return blocks()
        """)
        gate = os.path.join(self.directory.name, "gate")
        os.mkfifo(gate)
        connection.begin(path, environ={"QUERY_STRING": gate})
        kinds = []
        while True:
            kind, flags, _, _, payload = connection.frame()
            kinds.append(kind)
            if kind == wire.DATA:
                break
        self.assertEqual((kinds, payload, flags), ([wire.RESPONSE, wire.DATA], b"first", wire.FLAG_FLUSH))
        with open(gate, "w"):
            pass
        self.assertEqual(connection.answer().body, b"second")

    def test_content_length(self):
        _, connection, path = self.serve("""
            def application(environ, start_response):
                length, blocks = eval(environ["QUERY_STRING"])
                start_response("200 OK", [("Content-Length", str(length))])
                return blocks
        """)
        answer = connection.get(path, environ={"QUERY_STRING": "4, [b'ab', b'cdef', b'g']"})
        self.assertEqual((answer.body, answer.failure), (b"abcd", None))
        answer = connection.get(path, environ={"QUERY_STRING": "4, [b'ab']"})
        self.assertEqual(answer.failure, 15)
        answer = connection.get(path, environ={"QUERY_STRING": "4, []"}, method="HEAD")
        self.assertEqual((answer.status, answer.failure), (200, None))

    def test_exceptions(self):
        _, connection, path = self.serve("""
            closed = []
            class Body:
                def __init__(self, blocks): self.blocks = blocks
                def __iter__(self):
                    for block in self.blocks:
                        yield block
                    raise ValueError("broken off")
                def close(self): closed.append(1)
            def application(environ, start_response):
                if environ["QUERY_STRING"] == "exit":
                    raise SystemExit(3)
                if environ["QUERY_STRING"] == "count":
                    start_response("200 OK", [])
                    return [str(len(closed)).encode()]
                start_response("200 OK", [])
                return Body(eval(environ["QUERY_STRING"]))
        """)
        answer = connection.get(path, environ={"QUERY_STRING": "[]"})
        self.assertEqual((answer.status, answer.failure, answer.text), (None, 13, "ValueError: broken off"))
        self.assertIn("Traceback (most recent call last):", answer.log)
        answer = connection.get(path, environ={"QUERY_STRING": "[b'x']"})
        self.assertEqual((answer.status, answer.failure, answer.body), (200, 13, b"x"))
        answer = connection.get(path, environ={"QUERY_STRING": "['x']"})
        self.assertEqual((answer.status, answer.failure), (None, 13))
        self.assertIn("TypeError", answer.log)
        answer = connection.get(path, environ={"QUERY_STRING": "exit"})
        self.assertEqual(answer.failure, 13)
        self.assertEqual(connection.get(path, environ={"QUERY_STRING": "count"}).body, b"3")

    def test_client_gone_while_sending(self):
        worker, connection, path = self.serve("""
            events = []
            class Body:
                def __iter__(self):
                    while True:
                        yield b"x" * 100000
                def close(self): events.append("closed")
            def application(environ, start_response):
                write = start_response("200 OK", [])
                if environ["QUERY_STRING"] == "events":
                    return [repr(events).encode()]
                if environ["QUERY_STRING"] == "write":
                    try:
                        while True:
                            write(b"x" * 100000)
                    except OSError as error:
                        events.append(type(error).__name__)
                        return []
                return Body()
        """)
        for query in ("write", "iterate"):
            other = worker.connect()
            other.begin(path, environ={"QUERY_STRING": query})
            self.assertEqual(other.frame()[0], wire.RESPONSE)
            other.send(wire.frame(wire.CANCEL, other.ident()))
            other.close()
            self.assertEqual(worker.expect("Closed"), ("Closed", other.number))
        self.assertEqual(connection.get(path, environ={"QUERY_STRING": "events"}).body, b"['OSError', 'closed']")

    def test_early_hints(self):
        _, connection, path = self.serve("""
            def application(environ, start_response):
                hints = environ.get("wsgi.early_hints")
                if hints:
                    hints([("Link", "</style.css>; rel=preload")])
                start_response("200 OK", [])
                return [str(bool(hints)).encode()]
        """)
        answer = connection.get(path)
        self.assertEqual(answer.interims, [(103, b"Early Hints", [(b"Link", b"</style.css>; rel=preload")])])
        self.assertEqual(answer.kinds[0], wire.INTERIM)
        self.assertEqual(connection.get(path, interim=False).body, b"False")


class FileWrapper(harness.Case):
    APP = """
        def application(environ, start_response):
            import io, os
            def wrap(source, size=8192): return environ["wsgi.file_wrapper"](source, size)
            path = environ["X_PATH"]
            headers = []
            result = eval(environ["QUERY_STRING"])
            start_response("200 OK", headers)
            return result
    """

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.directory.name, "data")
        with open(self.path, "wb") as file:
            file.write(b"0123456789" * 1000)

    def test_a_real_file_goes_as_a_descriptor(self):
        _, connection, path = self.serve(self.APP)
        for query, offset in (("wrap(open(path, 'rb'))", 0), ("wrap((lambda f: f.seek(5) and f)(open(path, 'rb')))", 5)):
            answer = connection.get(path, environ={"QUERY_STRING": query, "X_PATH": self.path})
            self.assertEqual(answer.kinds, [wire.RESPONSE, wire.FILE, wire.END], answer.log)
            fd, start, length = answer.file
            self.assertEqual((start, length), (offset, 10000 - offset))
            self.assertEqual(answer.headers, [(b"Content-Length", str(10000 - offset).encode())])
            self.assertEqual(os.pread(fd, 5, start), b"0123456789"[offset:offset + 5])
            os.close(fd)

    def test_others_are_streamed(self):
        _, connection, path = self.serve(self.APP)
        for query, options in (
            ("wrap(io.BytesIO(b'x' * 50000))", {}), ("wrap(open(path, 'rb'))", {"file_frames": False}),
            ("iter(wrap(open(path, 'rb'), 10))", {"file_frames": False}),
        ):
            answer = connection.get(path, environ={"QUERY_STRING": query, "X_PATH": self.path}, **options)
            self.assertIsNone(answer.file)
            self.assertIn(len(answer.body), (10000, 50000))

    def test_an_announced_length_is_honoured(self):
        _, connection, path = self.serve(self.APP.replace("headers = []", "headers = [('Content-Length', '7')]"))
        answer = connection.get(path, environ={"QUERY_STRING": "wrap(open(path, 'rb'))", "X_PATH": self.path})
        self.assertEqual(answer.file[1:], (0, 7))
        os.close(answer.file[0])


class Logs(harness.Case):
    def test_every_stream_reaches_the_request(self):
        worker, connection, path = self.serve("""
            import logging, sys, mod_wsgi
            log = logging.getLogger("x")
            log.addHandler(mod_wsgi.LogHandler())
            log.setLevel(logging.DEBUG)
            def application(environ, start_response):
                start_response("200 OK", [])
                print("to", "stdout")
                print("to stderr", file=sys.stderr)
                environ["wsgi.errors"].write("two\\nlines")
                environ["wsgi.errors"].writelines([" and", " more\\n"])
                environ["wsgi.errors"].buffer.write(b"bytes\\n")
                environ["wsgi.errors"].write("surrogate \\udcff\\n")
                log.debug("d"); log.info("i"); log.warning("w"); log.error("e"); log.critical("c")
                environ["wsgi.errors"].write("unfinished")
                sys.stdout.write("unfinished stdout")
                return [b"x"]
        """)
        answer = connection.get(path)
        self.assertEqual(answer.logs, [
            (3, b"to stdout"), (3, b"to stderr"), (3, b"two"), (3, b"lines and more"), (3, b"bytes"),
            (3, b"surrogate \\udcff"), (7, b"d"), (6, b"i"), (4, b"w"), (3, b"e"), (2, b"c"), (3, b"unfinished"),
            (3, b"unfinished stdout")])
        self.assertEqual(worker.output(), "")

    def test_what_code_does_with_text_streams(self):
        _, connection, path = self.serve("""
            import codecs, io, sys
            sys.stdout.reconfigure(encoding="utf-8", errors="replace")
            def application(environ, start_response):
                start_response("200 OK", [])
                results = []
                for stream in (environ["wsgi.errors"], sys.stdout, sys.stderr):
                    wrapped = io.TextIOWrapper(stream.buffer, encoding="utf-8", line_buffering=True)
                    print("wrapped \xe4", file=wrapped)
                    wrapped.detach()
                    codecs.getwriter("utf-8")(stream.buffer).write("encoded\\n")
                    with stream as same:
                        results.append(same is stream)
                    results += [isinstance(stream, io.TextIOBase), stream.newlines, stream.detach().writable()]
                    for name in ("read", "readline", "tell", "fileno"):
                        try:
                            results.append(type(getattr(stream, name)()).__name__)
                        except io.UnsupportedOperation:
                            results.append(name)
                    stream.write("usable\\n")
                return [repr(results).encode()]
        """)
        answer = connection.get(path)
        head = [True, True, None, True, "read", "readline", "tell"]
        self.assertEqual(answer.body.decode(), repr(head + ["fileno"] + head + ["int"] + head + ["int"]))
        self.assertEqual(answer.log.split("\n"), ["wrapped \xe4", "encoded", "usable"] * 3)

    def test_outside_of_requests_it_is_the_process(self):
        worker, connection, path = self.serve("""
            print("at import")
            import threading
            def application(environ, start_response):
                start_response("200 OK", [])
                thread = threading.Thread(target=print, args=("from a thread",))
                thread.start(); thread.join()
                return [b"x"]
        """)
        answer = connection.get(path)
        self.assertEqual(answer.log, "at import")
        self.assertEqual(worker.output(), "from a thread\n")


class Questions(harness.Case):
    def test_answers(self):
        _, connection, path = self.serve("""
            def check_password(environ, user, password):
                return {"yes": True, "no": False, "as": "other"}.get(password)
            def get_realm_hash(environ, user, realm): return "%s:%s" % (user, realm)
            def groups_for_user(environ, user): return ["a", b"b"]
            def allow_access(environ, host): return host == "here"
            def process_group(environ): return "pg"
            def callable_object(environ): return None
        """)

        def ask(*call):
            answer = connection.get(path, call=call)
            self.assertEqual(answer.kinds[-2:], [wire.ANSWER, wire.END], answer.text)
            return answer.answer

        self.assertEqual(ask("check_password", "u", "yes"), b"\0")
        self.assertEqual(ask("check_password", "u", "as"), b"\1\5other")
        self.assertEqual(ask("check_password", "u", "no"), b"\2")
        self.assertEqual(ask("check_password", "u", "?"), b"\3")
        self.assertEqual(ask("realm_hash", "u", "r"), b"\4\3u:r")
        self.assertEqual(ask("groups", "u"), b"\5\2\1a\1b")
        self.assertEqual(ask("access", "here"), b"\0")
        self.assertEqual(ask("access", "there"), b"\2")
        self.assertEqual(ask("dispatch"), b"\6\1\2pg\0\0")

    def test_errors_never_grant(self):
        _, connection, path = self.serve("""
            def check_password(environ, user, password): return {"one": 1, "empty": ""}[password]
            def allow_access(environ, host): return "yes"
        """)
        for call in (("check_password", "u", "one"), ("check_password", "u", "empty"), ("check_password", "u", "?"),
                     ("access", "x")):
            self.assertEqual(connection.get(path, call=call).failure, 13)
        self.assertEqual(connection.get(path, call=("groups", "u")).failure, 12)


ASKS = """
import os, threading, time
kept = []
def said(call, *args):
    try: return repr(call(*args))
    except Exception as error: return type(error).__name__
def groups_for_user(environ, user):
    kept[:] = [environ["mod_ssl.is_https"], environ["mod_ssl.var_lookup"]]
    return [said(kept[0]), said(kept[1], user)]
def allow_access(environ, host):
    threading.Thread(target=said, args=(environ["mod_ssl.var_lookup"], "LATE"), daemon=True).start()
    while not os.path.exists(host): time.sleep(0.01)
    return True
def application(environ, start_response):
    start_response("200 OK", [])
    return [repr(["mod_ssl.is_https" in environ, said(kept[0]), said(kept[1], "HTTPS")]).encode()]
"""


class Lookups(harness.Case):
    def ask(self, path, connection, name, values, code=1):
        """The groups that the script makes of what it hears, and what it asked for."""
        asked = []

        def tell(connection, name):
            asked.append(name)
            value = values.get(name)
            code = 0 if value is None else 1
            connection.send(wire.frame(wire.VARIABLE, connection.ident(), value or b"", code=code))

        answer = connection.get(path, call=("groups", name), code=code, on_lookup=tell)
        self.assertEqual((answer.kinds[-2:], answer.flags), ([wire.ANSWER, wire.END], 0), answer.text)
        reader = wire.Reader(answer.answer)
        self.assertEqual(reader.uint(), 5)
        return [reader.take(reader.uint()).decode("latin-1") for _ in range(reader.uint())], asked

    def test_a_script_hears_what_the_module_says(self):
        _, connection, path = self.serve(ASKS)
        values = {b"HTTPS": b"on", b"A": b"\xe9" * 10_000}
        heard, asked = self.ask(path, connection, "A", values)
        self.assertEqual((heard, asked), (["1", repr("\xe9" * 10_000)], [b"HTTPS", b"A"]))
        heard, asked = self.ask(path, connection, "B\0C", {b"HTTPS": b"off"})
        self.assertEqual((heard, asked), (["0", "None"], [b"HTTPS", b"B"]))
        heard, asked = self.ask(path, connection, "x" * 9000, {})
        self.assertEqual((heard, asked), (["0", "None"], [b"HTTPS", b""]))
        errors = ["RuntimeError"] * 2
        self.assertEqual(connection.get(path).body.decode(), repr([False] + errors))

    def test_a_module_of_before_is_not_asked(self):
        _, connection, path = self.serve(ASKS)
        self.assertEqual(self.ask(path, connection, "A", {b"HTTPS": b"on"}, code=0), (["0", "None"], []))
        # Nor for an application, whatever the module says.
        self.assertEqual(connection.get(path, code=1).body.decode(), repr([False] + ["RuntimeError"] * 2))

    def test_no_answer_or_another_frame_ends_the_connection_alone(self):
        worker, connection, path = self.serve(ASKS)
        connection.begin(path, call=("groups", "A"), code=1)
        self.assertEqual(connection.frame()[0], wire.LOOKUP)
        connection.send(wire.frame(wire.BODY, connection.ident(), b"no"))
        answer = connection.answer()
        self.assertEqual((answer.kinds[-1], answer.flags), (wire.END, wire.FLAG_CLOSE))
        self.assertIn(b"ConnectionAbortedError", answer.answer)
        connection = worker.connect()
        connection.begin(path, call=("groups", "A"), code=1)
        self.assertEqual(connection.frame()[0], wire.LOOKUP)
        connection.close()
        # A thread still asks when the call is over: what it hears must not meet the next request.
        connection = worker.connect()
        connection.begin(path, call=("access", path + ".over"), code=1)
        self.assertEqual(connection.frame()[0], wire.LOOKUP)
        with open(path + ".over", "w"):
            pass
        answer = connection.answer()
        self.assertEqual((answer.kinds, answer.flags), ([wire.ANSWER, wire.END], wire.FLAG_CLOSE))
        self.assertEqual(self.ask(path, worker.connect(), "A", {})[0], ["0", "None"])


if __name__ == "__main__":
    unittest.main()
