# Shows the file that was asked for.
def handle_request(environ, start_response):
    with open(environ["SCRIPT_FILENAME"]) as page:
        title = page.readline().strip("# \n")
    start_response("200 OK", [("Content-Type", "text/html")])
    return [("<h1>%s</h1>\n" % title).encode()]
