"""Upload, streaming download, cookies and redirects with Django."""

import hashlib
import time
from wsgiref.validate import validator

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of a test", DATA_UPLOAD_MAX_MEMORY_SIZE=None, MIDDLEWARE=[],
    LOGGING_CONFIG=None)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import FileResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.urls import path  # noqa: E402


def upload(request):
    uploaded = request.FILES["file"]
    data = uploaded.read()
    return JsonResponse({"length": len(data), "sha256": hashlib.sha256(data).hexdigest(),
                         "field": request.POST["field"], "name": uploaded.name})


def raw(request):
    data = request.read()
    return JsonResponse({"length": len(data), "sha256": hashlib.sha256(data).hexdigest()})


def stream(request):
    def pieces():
        for number in range(int(request.GET["pieces"])):
            time.sleep(0.01)
            yield "piece %d\n" % number
    return StreamingHttpResponse(pieces(), content_type="text/plain")


def file(request):
    return FileResponse(open(__file__, "rb"), content_type="text/plain")


def cookies(request):
    response = JsonResponse(request.COOKIES)
    response.set_cookie("first", "one")
    response.set_cookie("second", "two")
    return response


def away(request):
    return HttpResponseRedirect("landed?by=redirect")


def landed(request):
    return JsonResponse({"by": request.GET["by"], "root": request.META["SCRIPT_NAME"]})


def fail(request):
    raise RuntimeError("raised on purpose")


urlpatterns = [path(name, view) for name, view in (
    ("upload", upload), ("raw", raw), ("stream", stream), ("file", file), ("cookies", cookies), ("redirect", away),
    ("landed", landed), ("fail", fail))]
application = get_wsgi_application()
validated = validator(application)
