"""The name under which existing Django settings list this server.

In a worker process `import mod_wsgi` gives the running server's own module,
and this package only adds its sub-packages.
"""
