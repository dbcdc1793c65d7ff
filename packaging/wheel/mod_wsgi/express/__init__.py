"""A Django application with the command `runmodwsgi`."""
