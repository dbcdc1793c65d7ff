# Waits for a sign of the service.
import time

respond = application


def application(environ, start_response):
    end = time.monotonic() + 20
    while not os.path.exists("run/turns") and time.monotonic() < end:
        time.sleep(0.02)
    with open("run/turns") as turns:
        MORE["turns"] = turns.read()
    return respond(environ, start_response)
