"""A Django project in one file that says who runs it."""

import os
import sys

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for a test on loopback",
    USE_TZ=True,
)


def who(request):
    return JsonResponse({
        "framework": "django",
        "django": django.get_version(),
        "version": list(sys.version_info[:2]),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "prefix": sys.prefix,
        "pid": os.getpid(),
    })


def echo(request):
    return HttpResponse(request.body, content_type="application/octet-stream")


urlpatterns = [path("who", who), path("echo", echo)]

application = get_wsgi_application()
