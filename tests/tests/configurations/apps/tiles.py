# Tiles that do not change, by blocks and from a file.
import io

respond = application


def application(environ, start_response):
    if not environ["PATH_INFO"].startswith("/tiles/"):
        return respond(environ, start_response)
    if environ.get("HTTP_IF_NONE_MATCH") == '"one"':
        start_response("304 Not Modified", [("ETag", '"one"')])
        return []
    start_response("200 OK", [("Content-Type", "image/png"), ("ETag", '"one"'), ("Cache-Control", "max-age=60")])
    if environ["PATH_INFO"].endswith("/file"):
        return environ["wsgi.file_wrapper"](io.BytesIO(b"a tile\n"))
    return iter([b"a ", b"tile\n"])
