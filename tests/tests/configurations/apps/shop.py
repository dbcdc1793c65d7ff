# Fails as it is asked to: what is shown then is made elsewhere.
respond = application


def application(environ, start_response):
    status = {"/gone": "404 Not Found", "/busy": "503 Service Unavailable"}.get(environ["PATH_INFO"])
    if status is None:
        return respond(environ, start_response)
    start_response(status, [("Content-Type", "text/plain")])
    return [b"the application's own words\n"]
