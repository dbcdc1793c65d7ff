"""`manage.py runmodwsgi`: serves the project with `wsgid start-server`. Takes
the options of start-server and hands them over."""

import os
import sys

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from mod_wsgi.express.cli import become, has


def arguments(given, settings):
    """The command line of `wsgid` for a project with these settings."""
    dotted = getattr(settings, "WSGI_APPLICATION", None)
    if not dotted:
        raise CommandError("WSGI_APPLICATION is not set in the project's settings")
    module, _, name = dotted.rpartition(".")
    command = ["start-server", "--application-type", "module", "--entry-point", module, "--callable-object", name]
    base = getattr(settings, "BASE_DIR", None)
    if base and not has(given, "--working-directory"):
        command += ["--working-directory", os.fspath(base)]
    url, root = getattr(settings, "STATIC_URL", None), getattr(settings, "STATIC_ROOT", None)
    middleware = getattr(settings, "MIDDLEWARE", None) or ()
    serves_itself = any("whitenoise" in entry.lower() for entry in middleware)
    if url and url.startswith("/") and root and os.path.isdir(root) and not serves_itself:
        command += ["--url-alias", url.rstrip("/"), os.fspath(root)]
    return command + list(given)


class Command(BaseCommand):
    help = "Serves this project with httpd and mod_wsgid; takes the options of `wsgid start-server`."

    def run_from_argv(self, argv):
        given = argv[2:]
        settings_module = os.environ.get("DJANGO_SETTINGS_MODULE")
        # `--settings` is Django's; everything else is start-server's.
        for at, word in enumerate(given):
            if word.startswith("--settings="):
                settings_module = word.partition("=")[2]
                given = given[:at] + given[at + 1:]
                break
        if settings_module:
            os.environ["DJANGO_SETTINGS_MODULE"] = settings_module
        try:
            command = arguments(given, settings)
        except CommandError as error:
            self.stderr.write(self.style.ERROR("%s: %s" % (error.__class__.__name__, error)))
            sys.exit(1)
        become(*command)
