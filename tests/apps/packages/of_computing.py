"""Packages that compute: extensions, code made at run time, cryptography, serialisation."""

import datetime


def numpy():
    import numpy as np

    left = np.arange(90_000, dtype=float).reshape(300, 300)
    assert np.allclose(left @ np.eye(300), left)


def scipy():
    from scipy import linalg, optimize

    assert abs(linalg.det([[2.0, 0.0], [0.0, 3.0]]) - 6) < 1e-9
    assert abs(optimize.brentq(lambda x: x * x - 2, 0, 2) ** 2 - 2) < 1e-9


def lxml():
    from lxml import etree, html

    tree = etree.XML("<list><item n='1'>one</item><item n='2'>two</item></list>")
    assert tree.xpath("//item[@n='2']/text()") == ["two"]
    assert html.fromstring("<p>a<b>c").xpath("string(//p)") == "ac"


def cryptography():
    from cryptography import x509
    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    fernet = Fernet(Fernet.generate_key())
    assert fernet.decrypt(fernet.encrypt(b"text")) == b"text"
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    assert certificate.subject == name


def bcrypt():
    import bcrypt

    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4))
    assert bcrypt.checkpw(b"secret", hashed) and not bcrypt.checkpw(b"other", hashed)


def argon2():
    from argon2 import PasswordHasher

    hasher = PasswordHasher(memory_cost=1024)
    assert hasher.verify(hasher.hash("secret"), "secret")


def paramiko():
    import paramiko

    key = paramiko.ECDSAKey.generate()
    signed = key.sign_ssh_data(b"text")
    signed.rewind()
    assert key.verify_ssh_sig(b"text", signed)


def pydantic():
    import pydantic

    class Order(pydantic.BaseModel):
        number: int
        when: datetime.date

    assert Order.model_validate({"number": "7", "when": "2024-02-29"}).number == 7


def orjson():
    import orjson

    assert orjson.loads(orjson.dumps({"a": [1, 2.5, None]})) == {"a": [1, 2.5, None]}


def msgpack():
    import msgpack

    assert msgpack.unpackb(msgpack.packb({"a": [1, b"b"]})) == {"a": [1, b"b"]}


def lz4():
    import lz4.frame

    assert lz4.frame.decompress(lz4.frame.compress(b"text" * 10_000)) == b"text" * 10_000


def zstandard():
    import zstandard

    squeezed = zstandard.ZstdCompressor(threads=2).compress(b"text" * 10_000)
    assert zstandard.ZstdDecompressor().decompress(squeezed) == b"text" * 10_000


def yaml():
    import yaml

    assert yaml.load("a: [1, two]", Loader=yaml.CSafeLoader) == {"a": [1, "two"]}


def jinja2():
    import jinja2

    template = jinja2.Environment(autoescape=True).from_string("{% for x in all %}<{{ x }}>{% endfor %}")
    assert template.render(all=["a", "&"]) == "<a><&amp;>"


def cffi():
    import cffi

    ffi = cffi.FFI()
    ffi.cdef("void qsort(void *, size_t, size_t, int (*)(const void *, const void *));")
    numbers = ffi.new("int[]", [3, 1, 2])
    compare = ffi.callback(
        "int(const void *, const void *)",
        lambda a, b: ffi.cast("int *", a)[0] - ffi.cast("int *", b)[0],
    )
    ffi.dlopen(None).qsort(numbers, 3, ffi.sizeof("int"), compare)
    assert list(numbers) == [1, 2, 3]
