"""Django: one view with a template of twenty rows, and Django's usual middleware that needs no database."""

from django.conf import settings

TEMPLATE = """{% autoescape on %}<!doctype html><title>{{ title }}</title><h1>{{ title|upper }}</h1>
<table>{% for row in rows %}<tr class="{% cycle 'odd' 'even' %}"><td>{{ forloop.counter }}</td>
<td>{{ row.name }}</td><td>{{ row.price|floatformat:2 }}</td></tr>{% empty %}<tr><td>none</td></tr>{% endfor %}</table>
{% endautoescape %}"""

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="only for measuring",
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", {"page.html": TEMPLATE})]},
        }
    ],
)

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.shortcuts import render  # noqa: E402
from django.urls import path  # noqa: E402

ROWS = [{"name": f"Item <{number}>", "price": number * 1.25} for number in range(20)]


def page(request):
    return render(request, "page.html", {"title": "price list", "rows": ROWS})


urlpatterns = [path("page", page)]
application = get_wsgi_application()
