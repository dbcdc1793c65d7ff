# Shows an error: with the status that the error has.
respond = application


def application(environ, start_response):
    def start(status, headers):
        return start_response(environ["REDIRECT_STATUS"] + " Error", headers)

    return respond(environ, start)
