"""Flask: a small JSON answer."""

from flask import Flask, jsonify, request

application = Flask(__name__)


@application.get("/json")
def answer():
    return jsonify(
        message="hello",
        path=request.path,
        agent=request.headers.get("User-Agent", ""),
        numbers=list(range(20)),
        user={"id": 42, "name": "Ada", "roles": ["admin", "editor"]},
    )
