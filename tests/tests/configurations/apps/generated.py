# As generated for an entry point: a server when it is run, an application when it is imported.
import threading

if __name__ == "__main__":
    sys.exit("not here")
else:
    respond = application
    application = None
    with threading.Lock():
        if application is None:
            application = respond
