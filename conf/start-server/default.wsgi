"""Says that the server runs; served when no application was named."""

PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>mod_wsgid</title></head>
<body>
<h1>The server is running</h1>
<p>No application was named. Start it with one:</p>
<pre>wsgid start-server wsgi.py</pre>
</body>
</html>
"""


def application(environ, start_response):
    start_response(
        "200 OK",
        [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(PAGE)))],
    )
    return [PAGE]
