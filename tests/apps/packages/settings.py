"""Where the servers of the test and the site's own directories are."""

import json
import os


def value(name):
    with open(os.path.join(os.path.dirname(__file__), "settings.json")) as file:
        return json.load(file)[name]
