"""`python -m mod_wsgi.express`."""

from mod_wsgi.express.cli import main

main()
