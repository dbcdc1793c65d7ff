"""`python -m mod_wsgi.server`."""

from mod_wsgi.express.cli import main

main()
