"""The former name of mod_wsgi.express, for programs and as a Django application."""

from mod_wsgi.express.cli import main, start

__all__ = ["main", "start"]
