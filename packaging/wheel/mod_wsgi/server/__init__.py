"""The former name of mod_wsgi.express."""

import warnings

warnings.warn("list `mod_wsgi.express` in INSTALLED_APPS instead of `mod_wsgi.server`", FutureWarning, stacklevel=2)
