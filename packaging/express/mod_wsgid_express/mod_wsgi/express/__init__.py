"""mod_wsgi-express for programs (`cli`), and a Django application with the command
`runmodwsgi`."""

from mod_wsgi.express.cli import main, start

__all__ = ["main", "start"]
