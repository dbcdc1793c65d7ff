"""Packages that read and write files: fonts, tables, documents, databases in a file."""

import os
import tempfile

import settings

FONTS = "/usr/share/fonts"


def pandas():
    import pandas

    table = pandas.DataFrame({"site": ["a", "b", "a"], "hits": [1, 2, 3]})
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "hits.csv")
        table.to_csv(path, index=False)
        again = pandas.read_csv(path)
    assert again.groupby("site").hits.sum().to_dict() == {"a": 4, "b": 2}


def system_font():
    for directory, _, names in os.walk(FONTS):
        for name in sorted(names):
            if name.endswith(".ttf"):
                return os.path.join(directory, name)
    return None


def pillow():
    from PIL import Image, ImageDraw, ImageFont

    path = system_font()
    font = ImageFont.truetype(path, 20) if path else ImageFont.load_default(20)
    image = Image.new("RGB", (120, 40))
    ImageDraw.Draw(image).text((5, 5), "text", font=font, fill="white")
    with tempfile.NamedTemporaryFile(suffix=".jpeg") as file:
        image.save(file.name)
        again = Image.open(file.name)
        assert again.size == (120, 40) and max(again.getdata())[0] > 200


def matplotlib():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.plot([1, 3, 2])
    axes.set_title("title")
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        figure.savefig(file.name)
        assert file.read(4) == b"\x89PNG"
    pyplot.close(figure)


def reportlab():
    from reportlab.pdfgen.canvas import Canvas

    with tempfile.NamedTemporaryFile(suffix=".pdf") as file:
        page = Canvas(file.name)
        page.drawString(100, 100, "text")
        page.save()
        assert file.read(5) == b"%PDF-"


def openpyxl():
    import openpyxl

    book = openpyxl.Workbook()
    book.active["B2"] = 42
    with tempfile.NamedTemporaryFile(suffix=".xlsx") as file:
        book.save(file.name)
        assert openpyxl.load_workbook(file.name).active["B2"].value == 42


def h5py():
    import h5py

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "data.h5")
        with h5py.File(path, "w") as file:
            file["numbers"] = [1, 2, 3]
        with h5py.File(path, "r") as file:
            assert list(file["numbers"]) == [1, 2, 3]


def lmdb():
    import lmdb

    with tempfile.TemporaryDirectory() as directory, lmdb.open(directory) as database:
        with database.begin(write=True) as turn:
            turn.put(b"key", b"value")
        with database.begin() as turn:
            assert turn.get(b"key") == b"value"


def sqlalchemy():
    import sqlalchemy as sa

    with tempfile.TemporaryDirectory() as directory:
        engine = sa.create_engine(f"sqlite:///{directory}/shop.db")
        table = sa.Table("orders", sa.MetaData(), sa.Column("number", sa.Integer, primary_key=True))
        table.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(table.insert(), [{"number": 7}])
            assert connection.execute(sa.select(table.c.number)).scalar() == 7
        engine.dispose()


def sqlite3():
    """In the site's own directory."""
    import sqlite3

    path = os.path.join(settings.value("data"), f"plain-{os.getpid()}.db")
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (n)")
        database.execute("INSERT INTO t VALUES (42)")
        assert database.execute("SELECT n FROM t").fetchone() == (42,)


def django():
    """A model in SQLite in the site's own directory, and an upload beside it."""
    import django
    from django.conf import settings as configuration

    data = settings.value("data")
    if not configuration.configured:
        configuration.configure(
            DATABASES={"default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": os.path.join(data, f"django-{os.getpid()}.db"),
            }},
            MEDIA_ROOT=os.path.join(data, "media"),
            USE_TZ=True,
        )
        django.setup()
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage
    from django.db import connection, models

    class Order(models.Model):
        number = models.IntegerField()

        class Meta:
            app_label = "shop"

    with connection.schema_editor() as editor:
        editor.create_model(Order)
    Order.objects.create(number=7)
    assert Order.objects.get().number == 7
    name = default_storage.save("upload.txt", ContentFile(b"content"))
    assert default_storage.open(name).read() == b"content"
    connection.close()


def watchdog():
    import threading

    from watchdog.events import FileSystemEventHandler
    from watchdog.observers.inotify import InotifyObserver

    seen = threading.Event()

    class Handler(FileSystemEventHandler):
        def on_created(self, event):
            seen.set()

    with tempfile.TemporaryDirectory() as directory:
        observer = InotifyObserver()
        observer.schedule(Handler(), directory)
        observer.start()
        try:
            open(os.path.join(directory, "new"), "w").close()
            assert seen.wait(20)
        finally:
            observer.stop()
            observer.join()
