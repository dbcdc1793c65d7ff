# What it prints goes where errors go; it has an end of its own; it is an object.
import atexit

sys.stdout = sys.stderr
atexit.register(sys.stdout.flush)
respond = application


class Tree:
    def __call__(self, environ, start_response):
        return respond(environ, start_response)


application = Tree()
