# As `django-admin startproject` writes it, with what the documentation adds for httpd's authentication.
import importlib

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
MORE["settings"] = importlib.import_module(os.environ["DJANGO_SETTINGS_MODULE"]).NAME

USERS = {"alice": ("secret", ["staff"]), "bob": ("secret", [])}


def check_password(environ, user, password):
    return USERS[user][0] == password if user in USERS else None


def groups_for_user(environ, user):
    return USERS[user][1]
