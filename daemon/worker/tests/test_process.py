"""The process around the application: scripts, signals, timers, leaving."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import unittest

import harness
import wire

NOT_STARTED = 1

HELLO = """
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"hello"]
"""
SLEEP = """
    import time
    def application(environ, start_response):
        start_response("200 OK", [])
        time.sleep(float(environ["QUERY_STRING"] or 0))
        return [b"slept"]
"""

COMPUTE = """
    import time
    def application(environ, start_response):
        start_response("200 OK", [])
        end = time.process_time() + float(environ["QUERY_STRING"] or 0)
        while time.process_time() < end:
            pass
        return [b"computed"]
"""


class Scripts(harness.Case):
    def test_failures(self):
        worker, connection, _ = self.serve(HELLO)
        for source, failure, text in (
            ("raise ValueError('at import')", 11, "ValueError: at import"), ("syntax error", 11, "SyntaxError"),
            ("import sys; sys.exit(1)", 11, "SystemExit"), ("x = 1", 12, "`application`"),
        ):
            answer = connection.get(self.script(source))
            self.assertEqual((answer.status, answer.failure), (None, failure))
            self.assertIn(text, answer.text)
        answer = connection.get("/nonexistent/app.wsgi")
        self.assertEqual(answer.failure, 16)
        self.assertIn("`/nonexistent`", answer.text)

    def test_a_script_that_nobody_named_is_refused_whatever_is_called(self):
        named, other = self.script(HELLO), self.script("open(__file__ + '.executed', 'w').close()")
        worker = self.worker(runs=([named], []), preload_scripts=[(other, "", "")])
        self.assertEqual(worker.expect("Ready")[2], [])
        connection = worker.connect()
        calls = [("application",), ("handler",), ("check_password", "u", "p"), ("realm_hash", "u", "r"), ("groups", "u"),
                 ("access", "h"), ("dispatch",)]
        for call in calls:
            answer = connection.get(other, call=call)
            self.assertEqual((answer.failure, answer.flags & 4), (3, 0), call)
            self.assertIn("process group `test` may not run `%s`" % other, answer.text)
        self.assertEqual(connection.get(named).body, b"hello")
        self.assertFalse(os.path.exists(other + ".executed"))
        self.assertIn("may not run `%s`" % other, worker.output())

    def test_a_failed_script_is_remembered_and_a_changed_one_asks_for_a_successor(self):
        worker, connection, _ = self.serve(HELLO)
        path = self.script("open(__file__ + '.count', 'a').write('x'); raise ValueError('broken')")
        for _ in range(3):
            answer = connection.get(path)
            self.assertIn("ValueError: broken", answer.log)
        with open(path + ".count") as file:
            self.assertEqual(file.read(), "x")
        os.utime(path, (1, 1))
        self.until(lambda: connection.get(path) and any(seen[0] == "Changed" for seen in self.drainmessages(worker)))

    def drainmessages(self, worker):
        import select
        while select.select([worker.control], [], [], 0)[0]:
            worker.seen.append(worker.message())
        return worker.seen

    def test_touch_is_served_and_asks_for_a_successor(self):
        worker, connection, path = self.serve(HELLO)
        connection.get(path)
        os.utime(path, (1, 1))
        self.until(lambda: connection.get(path).body == b"hello"
                   and any(seen[0] == "Changed" for seen in self.drainmessages(worker)))
        stamp = lambda: tuple(getattr(os.stat(path), "st_" + name) for name in ("dev", "ino", "size", "mtime_ns"))
        self.assertEqual(worker.expect("Changed"), ("Changed", path, stamp()))
        self.assertEqual(stamp()[3], 10**9)
        self.assertNotEqual(worker.expect("Stamps")[1], [(path, stamp())])

    def test_preload(self):
        good, bad = self.script(HELLO), self.script("1 / 0")
        worker = self.worker(preload_scripts=[(good, "", "application"), (bad, "", None), ("/other", "other", None)])
        ready = worker.expect("Ready")
        self.assertEqual(ready[1], sys.version_info[:3])
        self.assertEqual([path for path, _ in ready[2]], [bad])
        self.assertIn("ZeroDivisionError", ready[2][0][1])

    def test_module_and_path(self):
        extra = os.path.join(self.directory.name, "extra")
        os.mkdir(extra)
        with open(os.path.join(extra, "x.pth"), "w") as file:
            file.write(self.directory.name + "\n")
        _, connection, path = self.serve("""
            import sys, json, __main__
            def application(environ, start_response):
                start_response("200 OK", [])
                return [json.dumps([sys.argv, sys.path[:3], __name__, __file__, "" in sys.path]).encode()]
        """, python_path=[extra], home=self.directory.name)
        import hashlib
        import json
        argv, front, name, file, empty = json.loads(connection.get(path).body)
        self.assertEqual(argv, ["mod_wsgi"])
        self.assertEqual(front[:2], [self.directory.name, extra])
        self.assertEqual(name, "_mod_wsgi_" + hashlib.md5(path.encode()).hexdigest())
        self.assertEqual(file, path)
        self.assertFalse(empty)


    def test_a_plain_worker_imports_nothing_dear(self):
        _, connection, path = self.serve("""
            import sys
            def application(environ, start_response):
                start_response("200 OK", [])
                return [repr([name for name in ("pathlib", "re", "hashlib", "logging", "traceback", "urllib", "json", "ssl")
                              if name in sys.modules]).encode()]
        """, home=self.directory.name)
        before = subprocess.run([sys.executable, "-c", "import importlib.util, sys, threading; print(*sys.modules)"], capture_output=True, text=True)
        dear = eval(connection.get(path).body)
        self.assertEqual([name for name in dear if name not in before.stdout.split()], [])

    def test_an_installed_mod_wsgi_package_stays_importable(self):
        package = os.path.join(self.directory.name, "site", "mod_wsgi")
        os.makedirs(package)
        for name, source in (("__init__.py", "raise ImportError('not to be executed')"), ("express.py", "name = __name__")):
            with open(os.path.join(package, name), "w") as file:
                file.write(source)
        _, connection, path = self.serve("""
            import mod_wsgi, mod_wsgi.express, apache
            def application(environ, start_response):
                start_response("200 OK", [])
                return [repr([mod_wsgi.express.name, mod_wsgi.version, mod_wsgi.process_group, mod_wsgi.maximum_processes,
                              mod_wsgi.threads_per_process, apache.version, apache.mpm_name]).encode()]
        """, python_path=[os.path.dirname(package)], processes=3)
        self.assertEqual(connection.get(path).body.decode(),
                         repr(["mod_wsgi.express", (6, 1, 1), "test", 3, 2, (2, 4, 71), "event"]))

    def test_restrictions(self):
        worker, connection, path = self.serve("""
            import sys
            def application(environ, start_response):
                start_response("200 OK", [])
                result = []
                for use in (lambda: print("x"), lambda: sys.stdin.read()):
                    try:
                        use()
                    except OSError as error:
                        result.append(str(error).split()[0])
                return [repr(result).encode()]
        """, restrict_stdout=True, restrict_stdin=True)
        self.assertEqual(connection.get(path).body, b"['sys.stdout', 'sys.stdin']")

    def test_metrics_before_and_after_recording(self):
        _, connection, path = self.serve("""
            import mod_wsgi
            before = [mod_wsgi.request_metrics(), mod_wsgi.process_metrics()]
            mod_wsgi.start_recording_metrics()
            def application(environ, start_response):
                start_response("200 OK", [])
                requests, process = mod_wsgi.request_metrics(), mod_wsgi.process_metrics()
                return [repr([before, requests["request_count"], process["request_count"], process["active_requests"],
                              process["memory_rss"] > 1 << 20]).encode()]
        """)
        connection.get(path)
        self.assertEqual(connection.get(path).body, b"[[None, None], 1, 1, 1, True]")


class Bootstrap(harness.Case):
    def test_a_free_threaded_python_is_told_to_be_one(self):
        path = os.path.join(os.path.dirname(harness.__file__), "..", "bootstrap.py")
        with open(path) as file:
            source = "import sys; sys.abiflags = 't'\n" + file.read()
        done = subprocess.run([sys.executable, "-c", source], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        self.assertEqual(done.returncode, 120)
        self.assertIn("%s is a free-threaded build" % sys.executable, done.stderr)
        self.assertIn("python-home=", done.stderr)


class Life(harness.Case):
    def test_drain_finishes_what_runs(self):
        worker, connection, path = self.serve(SLEEP)
        idle = worker.connect()
        idle.get(path)
        connection.begin(path, environ={"QUERY_STRING": "0.5"})
        self.until(lambda: self.running(worker) == 1)
        worker.tell(wire.DRAIN)
        self.assertEqual(worker.expect("Release"), ("Release", idle.number))
        answer = connection.answer()
        self.assertEqual((answer.body, answer.flags), (b"slept", 0))
        self.assertEqual(worker.expect("Release"), ("Release", connection.number))
        self.assertEqual(worker.wait(), 0)

    def running(self, worker):
        worker.tell(wire.QUERY)
        while True:
            report = worker.expect("Report")[1]
            if not worker.seen or worker.seen[-1][0] != "Report":
                return report["in_flight"]

    def test_stop_has_a_deadline(self):
        worker, connection, path = self.serve(SLEEP)
        connection.begin(path, environ={"QUERY_STRING": "60"})
        self.until(lambda: self.running(worker) == 1)
        worker.tell(wire.stop(200))
        self.assertEqual(worker.wait(), 0)

    def test_signals(self):
        worker, connection, path = self.serve("""
            import atexit, mod_wsgi, sys
            atexit.register(print, "atexit ran")
            mod_wsgi.subscribe_shutdown(lambda name, **payload: print(name, payload))
            mod_wsgi.subscribe_signals(lambda name, **payload: print(name, payload["signame"]))
            import signal
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            def application(environ, start_response):
                start_response("200 OK", [])
                return [b"hello"]
        """)
        connection.get(path)
        worker.process.send_signal(signal.SIGUSR1)
        self.assertEqual(worker.expect("Recycle"), ("Recycle", "Signal"))
        worker.process.send_signal(signal.SIGHUP)
        self.until(lambda: "process_signal SIGHUP" in worker.output())
        worker.process.send_signal(signal.SIGTERM)
        self.assertEqual(worker.expect("Release"), ("Release", connection.number))
        self.assertEqual(worker.wait(), 0)
        self.assertIn("atexit ran", worker.output())
        self.assertIn("process_stopping {'shutdown_reason': 'graceful_signal'}", worker.output())

    def test_an_orphan_serves_on_and_leaves(self):
        worker, connection, path = self.serve(HELLO)
        connection.get(path)
        worker.control.close()
        self.assertEqual(connection.get(path).body, b"hello")
        self.until(lambda: connection.get(path).flags & wire.FLAG_CLOSE or True)
        connection.close()
        self.assertEqual(worker.wait(), 0)

    def test_an_idle_orphan_closes_its_connections(self):
        worker, connection, path = self.serve(HELLO, graceful_timeout=10)
        connection.get(path)
        worker.control.close()
        self.assertIsNone(connection.frame())
        self.assertEqual(worker.wait(), 0)

    def test_an_orphan_leaves_no_request_without_a_word(self):
        worker, connection, path = self.serve(HELLO)
        connections = [connection] + [worker.connect() for _ in range(300)]
        for each in connections:
            self.assertEqual(each.get(path).body, b"hello")
        worker.control.close()
        # The requests come just when it gives its connections up: it stands still meanwhile.
        time.sleep(4.5)
        worker.process.send_signal(signal.SIGSTOP)
        asked = []
        for each in connections:
            # Closed already: httpd asks elsewhere.
            with contextlib.suppress(BrokenPipeError):
                each.begin(path)
                asked.append(each)
        time.sleep(1)
        worker.process.send_signal(signal.SIGCONT)
        answers = [each.answer() for each in asked]
        self.assertEqual([answer.failure for answer in answers if answer.body != b"hello"],
                         [NOT_STARTED for answer in answers if answer.body != b"hello"])
        self.assertEqual(worker.wait(), 0)

    def test_stop_waits_for_a_request_if_there_is_no_shutdown_timeout(self):
        worker, connection, path = self.serve(SLEEP, shutdown_timeout=0)
        connection.begin(path, environ={"QUERY_STRING": "0.5"})
        self.until(lambda: self.running(worker) == 1)
        worker.process.send_signal(signal.SIGTERM)
        self.assertEqual(connection.answer().body, b"slept")
        self.assertEqual(worker.wait(), 0)

    def test_a_crash_leaves_its_stacks(self):
        worker, connection, path = self.serve("""
            import signal
            def application(environ, start_response):
                signal.raise_signal(signal.SIGSEGV)
        """)
        connection.begin(path)
        self.assertEqual(worker.wait(), -signal.SIGSEGV)
        self.assertIn("in application", worker.output())

    def test_title(self):
        worker, connection, path = self.serve(HELLO, display_name="%{GROUP}")
        with open("/proc/%d/cmdline" % worker.process.pid, "rb") as file:
            self.assertEqual(file.read().rstrip(b"\0"), b"(wsgi:test)")
        with open("/proc/%d/comm" % worker.process.pid) as file:
            self.assertEqual(file.read(), "(wsgi:test)\n")

    def test_dump(self):
        worker, connection, path = self.serve(SLEEP)
        connection.begin(path, environ={"QUERY_STRING": "10"})

        def dumped():
            worker.tell(wire.DUMP)
            return worker.expect("Dumped")[1]

        self.until(lambda: "in application" in dumped())
        self.assertIn(path, worker.output())

    def test_forked_children_hold_nothing(self):
        worker, connection, path = self.serve("""
            import os
            def application(environ, start_response):
                start_response("200 OK", [])
                read, write = os.pipe()
                child = os.fork()
                if not child:
                    print("from the child")
                    links = []
                    for number in os.listdir("/proc/self/fd"):
                        try:
                            links.append(os.readlink("/proc/self/fd/" + number))
                        except OSError:
                            pass
                    os.write(write, repr(sorted(links)).encode())
                    os._exit(0)
                os.waitpid(child, 0)
                return [os.read(read, 65536)]
        """)
        answer = connection.get(path)
        self.assertNotIn(b"socket:", answer.body)
        self.assertNotIn(b"eventpoll", answer.body)
        self.assertEqual(answer.logs, [])
        self.assertIn("from the child", worker.output())
        self.assertEqual(connection.get(path).status, 200)

    def test_service_without_requests(self):
        path = self.script("""
            import time
            print("service runs", flush=True)
            while True:
                time.sleep(0.05)
        """)
        worker = self.worker(threads=0, preload_scripts=[(path, "", None)])
        worker.expect("Ready")
        self.until(lambda: "service runs" in worker.output())
        worker.process.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(), 0)
        worker = self.worker(threads=0, preload_scripts=[(self.script("1 / 0"), "", None)])
        self.assertEqual(worker.wait(), 1)


class Timers(harness.Case):
    def test_maximum_requests(self):
        worker, connection, path = self.serve(HELLO, maximum_requests=3)
        for _ in range(3):
            connection.get(path)
        self.assertEqual(worker.expect("Recycle"), ("Recycle", "MaximumRequests"))

    def test_request_timeout_interrupts(self):
        worker, connection, path = self.serve("""
            import time
            def application(environ, start_response):
                start_response("200 OK", [])
                end = time.time() + float(environ["QUERY_STRING"] or 0)
                while time.time() < end:
                    time.sleep(0.01)
                return [b"done"]
        """, request_timeout=0.2, interrupt_timeout=5, threads=1)
        answer = connection.get(path, environ={"QUERY_STRING": "30"})
        self.assertEqual(answer.failure, 23)
        self.assertIn("time.sleep", worker.output())
        self.assertEqual(connection.get(path).body, b"done")

    def test_request_timeout_without_interrupt_asks_for_a_successor(self):
        worker, connection, path = self.serve(SLEEP, request_timeout=0.1, threads=1)
        connection.begin(path, environ={"QUERY_STRING": "5"})
        self.assertEqual(worker.expect("Recycle"), ("Recycle", "RequestTimeout"))

    def test_the_others(self):
        for options, reason in (
            ({"restart_interval": 0.2}, "RestartInterval"), ({"inactivity_timeout": 0.2}, "Inactivity"),
        ):
            worker, connection, path = self.serve(HELLO, **options)
            # One that has served nothing is not replaced for idleness.
            self.assertEqual(connection.get(path).status, 200)
            self.assertEqual(worker.expect("Recycle"), ("Recycle", reason))

    def test_memory_recycle(self):
        worker, connection, path = self.serve(HELLO, memory_recycle=1 << 20)
        self.until(lambda: connection.get(path).status == 200 and self.pending(worker))
        self.assertEqual(worker.expect("Recycle"), ("Recycle", "Memory"))

    def pending(self, worker):
        import select
        while select.select([worker.control], [], [], 0)[0]:
            worker.seen.append(worker.message())
        return any(seen[0] == "Recycle" for seen in worker.seen)

    def test_heartbeat(self):
        worker, _, _ = self.serve(HELLO, deadlock_timeout=1)
        for _ in range(3):
            worker.expect("Heartbeat")


class Scheduling(harness.Case):
    def test_a_waiting_request_does_not_hold_up_others(self):
        worker, connection, path = self.serve(SLEEP, threads=2)
        connection.begin(path, environ={"QUERY_STRING": "2"})
        other = worker.connect()
        import time
        began = time.monotonic()
        self.assertEqual(other.get(path).body, b"slept")
        self.assertLess(time.monotonic() - began, 1)
        self.assertEqual(connection.answer().body, b"slept")

    def test_waiting_requests_run_side_by_side(self):
        import time
        worker, connection, path = self.serve(SLEEP, threads=8)
        connections = [worker.connect() for _ in range(8)]
        began = time.monotonic()
        for each in connections:
            each.begin(path, environ={"QUERY_STRING": "0.5"})
        for each in connections:
            self.assertEqual(each.answer().body, b"slept")
        self.assertLess(time.monotonic() - began, 1.5)

    def test_a_busy_worker_gives_connections_back(self):
        worker, connection, path = self.serve(SLEEP, threads=1, processes=2)
        connection.begin(path, environ={"QUERY_STRING": "1"})
        self.until(lambda: self.busy(worker))
        waiting = worker.connect()
        waiting.begin(path)
        self.assertEqual(worker.expect("Release"), ("Release", waiting.number))
        self.assertEqual(connection.answer().body, b"slept")

    def test_behind_a_long_computation_connections_are_given_back(self):
        worker, connection, path = self.serve(COMPUTE, threads=1, processes=2)
        connection.begin(path, environ={"QUERY_STRING": "1"})
        self.until(lambda: self.busy(worker))
        waiting = worker.connect()
        waiting.begin(path)
        self.assertEqual(worker.expect("Release"), ("Release", waiting.number))
        self.assertEqual(connection.answer().body, b"computed")

    def test_a_queue_that_moves_is_left_alone(self):
        worker, _, path = self.serve(COMPUTE, threads=1, processes=2)
        short = {"QUERY_STRING": "0.002"}

        def all_are_served_here():
            connections = [worker.connect() for _ in range(10)]
            # The worker learns how long a request usually takes.
            for _ in range(120):
                connections[0].get(path, environ=short)
            # The last waits for longer than one would behind a queue that stands.
            for each in connections:
                each.begin(path, environ=short)
            try:
                return all([each.answer().body == b"computed" for each in connections])
            except (AssertionError, OSError):
                # Given back: a machine that stalls may let even these wait too long.
                return False
            finally:
                for each in connections:
                    each.close()

        self.until(all_are_served_here)

    def test_queue_timeout(self):
        import time
        worker, connection, path = self.serve("""
            def application(environ, start_response):
                start_response("200 OK", [])
                if environ["QUERY_STRING"]:
                    open(environ["QUERY_STRING"]).close()
                return [b"done"]
        """, threads=1, queue_timeout=0.5)
        gate = os.path.join(self.directory.name, "gate")
        os.mkfifo(gate)
        connection.begin(path, environ={"QUERY_STRING": gate})
        self.until(lambda: self.busy(worker))
        waiting = worker.connect()
        for body in (None, b"inline"):
            began = time.monotonic()
            self.assertEqual(waiting.get(path, body).failure, 6)
            self.assertGreater(time.monotonic() - began, 0.45)
        with open(gate, "w"):
            pass
        self.assertEqual(connection.answer().body, b"done")
        late = waiting.get(path, times=(int((time.time() - 1) * 1e6), 0))
        self.assertEqual((late.status, late.failure), (None, 6))
        self.assertEqual(waiting.get(path).body, b"done")

    def test_a_connection_that_the_ticker_gives_back_is_not_forgotten(self):
        """Its next request may come while the ticker still holds it and the only thread already waits."""
        worker, connection, path = self.serve("""
            import time
            def application(environ, start_response):
                start_response("200 OK", [])
                time.sleep(float(environ["QUERY_STRING"] or 0))
                return [b"done"]
        """, threads=1, queue_timeout=0.02)
        waiting = [worker.connect() for _ in range(8)]
        for _ in range(25):
            connection.begin(path, environ={"QUERY_STRING": "0.025"})
            for each in waiting:
                each.begin(path)
            # Some are refused, some are served; each answer is followed by the next request at once.
            for each in waiting:
                each.answer()
                each.begin(path)
            for each in waiting:
                self.assertIn(each.answer().failure, (None, 6))
            self.assertIn(connection.answer().failure, (None, 6))

    def test_a_client_that_left_the_queue_is_not_served(self):
        worker, connection, path = self.serve('''
            import time
            called = []
            def application(environ, start_response):
                start_response("200 OK", [])
                called.append(environ["QUERY_STRING"])
                time.sleep(0.5 if environ["QUERY_STRING"] == "busy" else 0)
                return [repr(called).encode()]
        ''', threads=1)
        connection.begin(path, environ={"QUERY_STRING": "busy"})
        self.until(lambda: self.busy(worker))
        for pull in (False, True):
            leaver = worker.connect()
            leaver.begin(path, b"", pull=pull, environ={"QUERY_STRING": "leaver"})
            leaver.send(wire.frame(wire.CANCEL, leaver.ident()))
            leaver.close()
        self.assertEqual(connection.answer().body, b"['busy']")
        self.assertEqual(connection.get(path, environ={"QUERY_STRING": "last"}).body, b"['busy', 'last']")

    def test_a_slow_reader_does_not_hold_up_others(self):
        worker, slow, path = self.serve('''
            def application(environ, start_response):
                start_response("200 OK", [])
                return [b"x" * 8_000_000] if environ["QUERY_STRING"] else [b"y" * 60_000] * 8
        ''', threads=2)
        for query in ("1", ""):
            other = worker.connect()
            slow.begin(path, environ={"QUERY_STRING": query})
            self.until(lambda: self.busy(worker))
            self.assertEqual(len(other.get(path).body), 480_000)
            self.assertIn(len(slow.answer().body), (8_000_000, 480_000))

    def busy(self, worker):
        worker.tell(wire.QUERY)
        reports = [worker.expect("Report")[1]]
        reports += [seen[1] for seen in worker.seen if seen[0] == "Report"]
        worker.seen = [seen for seen in worker.seen if seen[0] != "Report"]
        return reports[-1]["in_flight"] == 1


class Hostile(harness.Case):
    def test_what_is_no_request(self):
        worker, good, path = self.serve(HELLO)
        for data in (
            b"\xff" * 64, wire.frame(wire.END, 1 << 32), wire.frame(wire.REQUEST, 5 << 32 | 1, b"x"),
            wire.frame(wire.REQUEST, 0xABCD1234 << 32 | 1, b"garbage"),
            wire.frame(wire.REQUEST, 0xABCD1234 << 32 | 1, b"", wire.FLAG_END),
        ):
            connection = worker.connect()
            connection.send(data)
            self.assertEqual(worker.expect("Closed"), ("Closed", connection.number))
            kind, flags, code, _, _ = connection.frame()
            self.assertEqual((kind, flags & wire.FLAG_CLOSE, code), (wire.FAIL, wire.FLAG_CLOSE, 30))
            self.assertIsNone(connection.frame())
        self.assertEqual(good.get(path).body, b"hello")

    def test_half_a_request_blocks_nobody_else(self):
        worker, good, path = self.serve(HELLO, threads=2)
        half = worker.connect()
        half.send(wire.frame(wire.REQUEST, half.nonce << 32 | 1, b"x" * 1000)[:100])
        self.assertEqual(good.get(path).body, b"hello")
        half.close()
        self.assertEqual(worker.expect("Closed"), ("Closed", half.number))


class Api(harness.Case):
    def test_events_and_request_data(self):
        worker, connection, path = self.serve("""
            import mod_wsgi, apache
            seen = []
            @mod_wsgi.subscribe_events
            def note(name, **payload):
                seen.append((name, sorted(payload)))
                if name == "request_started":
                    payload["request_data"]["started"] = 1
                    inner = payload["application_object"]
                    def wrapped(environ, start_response):
                        environ["wrapped"] = True
                        return inner(environ, start_response)
                    return {"application_object": wrapped}
            def application(environ, start_response):
                start_response("200 OK", [])
                data = mod_wsgi.request_data()
                return [repr([data, environ["wrapped"], list(mod_wsgi.active_requests), [n for n, _ in seen]]).encode()]
        """)
        names = []
        for _ in range(2):
            answer = connection.get(path, environ={"mod_wsgi.request_id": "r1"})
            names = answer.body
        self.assertEqual(answer.body.decode(), repr([{"started": 1}, True, ["r1"], [
            "request_started", "response_started", "request_finished", "request_started", "response_started"]]))


    def test_payloads_are_those_of_mod_wsgi(self):
        worker, connection, path = self.serve("""
            import mod_wsgi
            seen = {}
            @mod_wsgi.subscribe_events
            def note(name, **payload):
                payload.pop("request_environ", None), payload.pop("application_object", None)
                seen[name] = payload
            def application(environ, start_response):
                if environ["QUERY_STRING"] == "told":
                    start_response("200 OK", [])
                    return [repr(seen).encode()]
                environ["wsgi.input"].read(4), environ["wsgi.input"].readline()
                if environ["QUERY_STRING"]:
                    raise ValueError("raised")
                start_response("202 OK", [])(b"12")
                sum(range(200000))
                return [b"345", b"", b"6"]
        """)
        environ = {"mod_wsgi.request_id": "r1", "mod_wsgi.server_pid": "77", "QUERY_STRING": ""}
        self.assertEqual(connection.get(path, b"six\nof", environ=environ).body, b"123456")
        begun = {"request_id", "thread_id", "server_pid", "request_start", "queue_start", "daemon_start", "request_data"}
        self.assertEqual(self.told(connection, path, "request_started").keys(), begun | {
            "application_start", "callable_object", "daemon_connects", "daemon_restarts"})
        finished = self.finished
        self.assertEqual(self.told(connection, path, "response_started").keys(), {
            "request_id", "response_status", "response_headers", "exception_info", "request_data"})
        self.assertEqual(finished.keys(), begun | {
            "input_reads", "input_length", "input_time", "output_length", "output_writes", "output_time", "cpu_user_time",
            "cpu_system_time", "cpu_time", "application_finish", "application_time", "status",
            "gil_wait_time", "gil_wait_count"})
        facts = {key: finished[key] for key in ("server_pid", "input_reads", "input_length", "output_length", "output_writes", "status")}
        self.assertEqual(facts, {"server_pid": 77, "input_reads": 2, "input_length": 6, "output_length": 6, "output_writes": 3, "status": 202})
        self.assertGreater(finished["cpu_time"], 0)
        connection.get(path, b"", environ=dict(environ, QUERY_STRING="raise"))
        self.assertEqual(self.told(connection, path, "request_exception").keys(), {"request_id", "exception_info", "request_data"})
        self.assertEqual(self.finished["status"], 500)

    def told(self, connection, path, name):
        """The last payload of this event; the request that asks has begun, and has not finished."""
        body = connection.get(path, environ={"QUERY_STRING": "told"}).body.decode()
        import re
        seen = eval(re.sub("<[^<>]*>", "None", body).replace("ValueError('raised')", "None"))
        self.finished = seen["request_finished"]
        return seen[name]

    def test_metrics_have_the_names_of_mod_wsgi(self):
        worker, connection, path = self.serve("""
            import json, mod_wsgi
            mod_wsgi.start_recording_metrics()
            def application(environ, start_response):
                if environ["QUERY_STRING"] == "raise":
                    raise ValueError
                environ["wsgi.input"].read()
                start_response("200 OK", [])
                if environ["QUERY_STRING"] == "told":
                    active = [isinstance(mod_wsgi.active_requests, dict), json.dumps(mod_wsgi.active_requests)]
                    return [json.dumps([mod_wsgi.request_metrics(), mod_wsgi.process_metrics(), active]).encode()]
                return [b"1234"]
        """, threads=3)
        for query in ("", "", "raise"):
            connection.get(path, b"ab", environ={"QUERY_STRING": query, "mod_wsgi.request_id": "r"})
        import json
        told = connection.get(path, environ={"QUERY_STRING": "told", "mod_wsgi.request_id": "r"}).body
        requests, process, active = json.loads(told)
        self.assertEqual(active, [True, '{"r": {}}'])
        phases = ["server_time", "queue_time", "daemon_time", "application_time", "request_time", "input_read_time",
                  "output_write_time", "gil_wait_time"]
        threads = ["request_threads_" + name for name in ("completed", "buckets", "busy_time", "cpu_time", "current_elapsed", "max_duration")]
        self.assertEqual(set(requests), {
            "pid", "start_time", "stop_time", "sample_period", "request_count", "request_throughput", "request_threads_maximum",
            "request_threads_started", "request_threads_active", "capacity_utilization", "gil_wait_count", "input_bytes",
            "input_reads", "output_bytes", "output_writes", "status_1xx", "status_2xx", "status_3xx", "status_4xx", "status_5xx",
            "cpu_user_utilization", "cpu_system_utilization", "cpu_utilization", "cpu_user_time", "cpu_system_time", "cpu_time",
            "memory_rss", "memory_max_rss", *threads, *phases,
            *(name + end for name in phases for end in ("_min_us", "_max_us", "_buckets"))})
        facts = [requests[name] for name in ("request_count", "input_bytes", "output_bytes", "output_writes", "status_2xx", "status_5xx")]
        self.assertEqual(facts, [3, 4, 8, 2, 2, 1])
        for name in phases:
            self.assertEqual((len(requests[name + "_buckets"]), sum(requests[name + "_buckets"])), (65, 3))
            self.assertLessEqual(requests[name + "_min_us"], requests[name] * 1e6 + 1)
        for name in threads:
            self.assertEqual(len(requests[name]), 3)
        self.assertEqual(sum(requests["request_threads_completed"]), 3)
        self.assertEqual([each["thread_id"] for each in process["threads"]], [1, 2, 3])
        self.assertEqual(sum(each["request_count"] for each in process["threads"]), 4)
        again = json.loads(connection.get(path, environ={"QUERY_STRING": "told"}).body)[0]
        self.assertEqual((again["request_count"], again["input_bytes"]), (1, 0))

    def test_a_callback_that_fails_is_ignored(self):
        _, connection, path = self.serve("""
            import mod_wsgi, sys
            for error in (ValueError("one"), SystemExit("two")):
                mod_wsgi.subscribe_events(lambda name, error=error, **payload: (_ for _ in ()).throw(error))
            def application(environ, start_response):
                start_response("200 OK", [])
                return [b"unharmed"]
        """)
        answer = connection.get(path)
        self.assertEqual((answer.body, answer.failure), (b"unharmed", None))
        self.assertIn("ValueError: one", answer.log)
        self.assertIn("SystemExit: two", answer.log)

    def test_a_handler_script_says_when_it_is_to_be_loaded_again(self):
        worker, connection, path = self.serve("""
            asked = []
            def reload_required(resource):
                asked.append(resource)
                if resource.endswith("broken"):
                    raise LookupError("reload_required fails")
                return resource.endswith("changed")
            def handle_request(environ, start_response):
                start_response("200 OK", [])
                return [repr(asked).encode()]
            application = handle_request
        """)
        ask = lambda resource, **options: connection.get(path, environ={"SCRIPT_FILENAME": resource}, **options)
        self.assertEqual(ask("/app", reloading=True).body, b"[]")
        self.assertEqual(ask("/off", call=("handler",), reloading=False).body, b"[]")
        self.assertEqual(ask("/one", call=("handler",)).body, b"['/one']")
        broken = ask("/broken", call=("handler",))
        self.assertEqual(broken.failure, None)
        self.assertIn("reload_required fails", broken.log)
        self.assertEqual([seen for seen in worker.seen if seen[0] == "Recycle"], [])
        ask("/changed", call=("handler",))
        self.assertEqual(worker.expect("Recycle"), ("Recycle", "ScriptChanged"))


if __name__ == "__main__":
    unittest.main()
