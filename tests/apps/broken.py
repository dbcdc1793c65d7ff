"""A script that cannot be imported."""

raise ImportError("broken on purpose")
