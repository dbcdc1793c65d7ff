"""The names of mod_wsgi-express, for programs and Django settings that have them.

In a worker process `import mod_wsgi` gives the running server's own module,
and this package only adds its sub-packages.
"""
