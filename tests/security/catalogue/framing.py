"""Rows 1 to 30 and 96: bytes that are no good HTTP, or good HTTP that asks for too much."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from tests.security.catalogue.request import row_of
from tests.security.wire import Head

_BODY = f'{{"hidden_states": {row_of()}}}'.encode()
_JSON = "Content-Type: application/json"
_CHUNKED = "Transfer-Encoding: chunked"
_LENGTH = f"Content-Length: {len(_BODY)}"
_HUGE = "Content-Length: 1000000000000"
_TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(194)
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Framed:
    """What is sent over one connection and what must come back.

    Attributes:
        number: of the row in the catalogue.
        sent: the bytes, made when they are sent where they are many.
        closes: whether the server ends the connection behind its answer.
        code: of the refusal; empty for an ordinary answer.
        headers: that the answer has.
    """

    number: int
    name: str
    sent: bytes | Callable[[], bytes]
    status: int
    code: str = ""
    closes: bool = True
    headers: dict[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        return self.sent if isinstance(self.sent, bytes) else self.sent()


def rows() -> Iterator[Framed]:
    yield from _lengths()
    yield from _chunks()
    yield from _heads()
    yield from _hosts_and_targets()
    yield from _methods_and_versions()
    yield from _expectations()
    yield from _paths()


def _post(*headers: str, body: bytes = _BODY, host: str | None = "127.0.0.1") -> bytes:
    return Head(headers=(_JSON, *headers), host=host).encode() + body


def _get(target: str, *headers: str, host: str | None = "127.0.0.1", method: str = "GET") -> bytes:
    return Head(line=f"{method} {target} HTTP/1.1", headers=headers, host=host).encode()


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def _bad(number: int, name: str, sent: bytes) -> Framed:
    return Framed(number=number, name=name, sent=sent, status=400, code="bad_request")


def _lengths() -> Iterator[Framed]:
    for value in ("-5", "abc", "+5", "0_5", "5, 5", "0x5", "", "5 5", "9" * 40):
        yield _bad(1, f"length-{value[:9]}", _post(f"Content-Length: {value}"))
    yield _bad(2, "two-lengths", _post(_LENGTH, "Content-Length: 6"))
    yield _bad(2, "two-equal-lengths", _post(_LENGTH, _LENGTH))
    smuggled = b"0\r\n\r\n" + _get("/health/live")
    yield _bad(3, "length-and-chunks", _post("Content-Length: 5", _CHUNKED, body=smuggled))
    yield _bad(3, "chunks-and-length", _post(_CHUNKED, "Content-Length: 5", body=smuggled))
    for coding in ("xchunked", "gzip, chunked", "chunked, identity", "identity", "chunked\x0b"):
        sent = _post(f"Transfer-Encoding: {coding}", body=_chunk(_BODY) + b"0\r\n\r\n")
        yield _bad(4, f"coding-{coding.strip()}", sent)
    yield _bad(4, "two-codings", _post(_CHUNKED, _CHUNKED, body=smuggled))
    other = "Transfer-Encoding: gzip"
    yield _bad(4, "two-other-codings", _post(other, _CHUNKED, body=_chunk(_BODY) + b"0\r\n\r\n"))
    old = Head(line="POST /reduce HTTP/1.0", headers=(_JSON, _CHUNKED)).encode()
    yield _bad(4, "chunks-in-http-1.0", old + _chunk(_BODY) + b"0\r\n\r\n")
    for path in ("/reduce", "/train-step"):
        head = Head(line=f"POST {path} HTTP/1.1", headers=(_JSON, _HUGE)).encode()
        yield Framed(
            number=7,
            name=f"huge-length{path.replace('/', '-')}",
            sent=head + b'{"hid',
            status=413,
            code="body_too_large",
        )
    binary = Head(headers=("Content-Type: application/x-npy", _HUGE)).encode() + b"\x93NUMPY"
    yield Framed(number=7, name="huge-length-npy", sent=binary, status=413, code="body_too_large")


def _chunks() -> Iterator[Framed]:
    for size in (b"zz", b"-1", b"0x1", b"", b" 5", b"1 1", b"f" * 17, b"5\n"):
        sent = _post(_CHUNKED, body=size + b"\r\nhello\r\n0\r\n\r\n")
        yield _bad(5, f"chunk-size-{size.decode().strip()[:6]}", sent)
    yield _bad(5, "chunk-longer-than-its-size", _post(_CHUNKED, body=b"1\r\nxy\r\n0\r\n\r\n"))
    crumbs = lambda: _post(_CHUNKED, body=b"1\r\n \r\n" * 1_000_000)  # noqa: E731 # made late
    yield Framed(number=6, name="a-million-chunks", sent=crumbs, status=413, code="too_many_chunks")
    large = lambda: _post(_CHUNKED, body=_chunk(b" " * (1 << 20)) * 9)  # noqa: E731 # made late
    yield Framed(number=8, name="no-length", sent=large, status=413, code="body_too_large")
    extension = lambda: _post(_CHUNKED, body=b"1;" + b"x" * (1 << 20))  # noqa: E731 # made late
    yield Framed(
        number=8, name="endless-extension", sent=extension, status=431, code="head_too_large"
    )
    trailer = lambda: _post(_CHUNKED, body=b"0\r\nA: " + b"x" * (1 << 20))  # noqa: E731 # made late
    yield Framed(number=8, name="endless-trailer", sent=trailer, status=431, code="head_too_large")


def _heads() -> Iterator[Framed]:
    too_large = partial(Framed, status=431, code="head_too_large")
    long = f"A: {'a' * 100_000}"
    many = tuple(f"A{i}: b" for i in range(2000))
    yield too_large(number=13, name="long-header", sent=_get("/models", long))
    yield too_large(number=13, name="many-headers", sent=_get("/models", *many))
    endless = lambda: _get("/models", f"A: {'a' * (1 << 20)}")[:-4]  # noqa: E731 # made late
    yield too_large(number=13, name="endless-header", sent=endless)
    long_name = _get("/models", f"{'a' * 20_000}: b")
    yield too_large(number=13, name="long-name", sent=long_name)
    for name, target in (("path", "/" + "a" * 100_000), ("query", "/reduce?a=" + "a" * 10_000)):
        yield Framed(
            number=14, name=f"long-{name}", sent=_get(target), status=414, code="target_too_long"
        )
    endless_target = lambda: b"GET /" + b"a" * (1 << 20)  # noqa: E731 # made late
    yield Framed(
        number=14, name="endless-path", sent=endless_target, status=414, code="target_too_long"
    )
    yield _bad(15, "folded-header", _get("/models", "A: b\r\n c"))
    yield _bad(15, "bare-lf", _get("/models").replace(b"\r\n", b"\n"))
    yield _bad(15, "bare-cr", _get("/models", "A: b\rC: d"))
    yield _bad(15, "nul", _get("/models", "A: b\x00"))
    yield _bad(16, "space-before-colon", _get("/models", "A : b"))
    yield _bad(16, "space-before-name", _get("/models", " A: b"))
    yield _bad(16, "no-colon", _get("/models", "AAAA"))


def _hosts_and_targets() -> Iterator[Framed]:
    for name, sent in (
        ("no-host", _get("/models", host=None)),
        ("two-hosts", _get("/models", "Host: 127.0.0.1")),
        ("two-hosts-one-foreign", _get("/models", "Host: evil.example")),
    ):
        yield Framed(number=17, name=name, sent=sent, status=400, code="bad_host")
    foreign = partial(Framed, status=421, code="host_not_allowed", closes=False)
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example"):
        yield foreign(number=18, name=host, sent=_get("/models", host=host))
    for host in ("localhost/openapi.json?x=", "localhost@evil", "a b", "localhost:8000:1", ""):
        yield Framed(
            number=19,
            name=f"host-{host}",
            sent=_get("/models", host=host),
            status=400,
            code="bad_host",
            closes=False,
        )
    for target in (
        "@evil.example",
        "http://evil.example/models",
        "https://127.0.0.1/models",
        "evil.example:80",
        "models",
        "*",
        "?a=b",
        "http://127.0.0.1",
        "/\x01",
    ):
        yield _bad(20, f"target-{target!a}", _get(target))
    yield Framed(
        number=20,
        name="whole-uri-of-this-server",
        sent=_get("http://127.0.0.1/models"),
        status=200,
        closes=False,
    )


def _methods_and_versions() -> Iterator[Framed]:
    allow = {"allow": "DELETE, GET, PATCH, POST, PUT"}
    for method in ("FOO", "TRACE", "get"):
        yield Framed(
            number=21,
            name=method,
            sent=_get("/reduce", method=method),
            status=405,
            code="method_not_allowed",
            headers=allow,
        )
    yield Framed(
        number=21,
        name="CONNECT",
        sent=_get("evil.example:443", method="CONNECT"),
        status=405,
        code="method_not_allowed",
        headers=allow,
    )
    yield Framed(
        number=21,
        name="GET-reduce",
        sent=_get("/reduce"),
        status=405,
        code="method_not_allowed",
        headers={"allow": "POST"},
        closes=False,
    )
    yield _bad(22, "http-0.9", b"GET /models\r\n\r\n")
    yield _bad(22, "http-2-preface", _PREFACE)
    yield _bad(22, "http-2-line", _get("/models").replace(b"HTTP/1.1", b"HTTP/2.0"))
    yield _bad(22, "tls-hello", _TLS_HELLO)
    yield _bad(22, "noise", bytes(range(256)))


def _expectations() -> Iterator[Framed]:
    yield Framed(
        number=23,
        name="expect-and-huge-length",
        status=413,
        code="body_too_large",
        sent=_post("Expect: 100-continue", _HUGE, body=b""),
    )
    yield Framed(
        number=24,
        name="expect-banana",
        sent=_post("Expect: banana", _LENGTH),
        status=417,
        code="expectation_failed",
    )
    ranges = "Range: bytes=" + ",".join(f"{i}-{i}" for i in range(1500))
    yield Framed(
        number=28, name="many-ranges", sent=_get("/models", ranges), status=200, closes=False
    )
    more = "Range: bytes=" + ",".join(f"{i}-{i}" for i in range(10_000))
    yield Framed(
        number=28,
        name="ten-thousand-ranges",
        sent=_get("/models", more),
        status=431,
        code="head_too_large",
    )
    for path, media_type in (
        ("/reduce", "json"),
        ("/train-step", "json"),
        ("/models/small/fit", "json"),
        ("/models/small/train-stream", "x-ndjson"),
    ):
        headers = (f"Content-Type: application/{media_type}", "Content-Encoding: gzip", _LENGTH)
        head = Head(line=f"POST {path} HTTP/1.1", headers=headers)
        yield Framed(
            number=29,
            name=f"gzip{path.replace('/', '-')}",
            sent=head.encode() + _BODY,
            status=415,
            code="unsupported_content_encoding",
            closes=False,
        )
    forged = ("X-Forwarded-For: 10.0.0.1", "X-Forwarded-Proto: https", "Forwarded: for=10.0.0.1")
    yield Framed(
        number=30, name="forwarded", sent=_get("/models", *forged), status=200, closes=False
    )


def _paths() -> Iterator[Framed]:
    nowhere = partial(Framed, status=404, code="route_not_found")
    no_model = partial(Framed, status=422, code="model_name_invalid")
    for target, answered in (
        ("/v1/../admin", nowhere),
        ("//reduce", nowhere),
        ("/reduce/", nowhere),
        ("/REDUCE", nowhere),
        ("/reduce%2f", nowhere),
        ("/reduce;x=1", nowhere),
        ("/./reduce", nowhere),
        ("/reduce%00", nowhere),
        ("/%2e%2e/reduce", nowhere),
        ("/models/small/../state", nowhere),
        ("/models/../reduce", no_model),
        ("/models//reduce", no_model),
    ):
        head = Head(line=f"POST {target} HTTP/1.1", headers=(_JSON, _LENGTH))
        sent = head.encode() + _BODY
        yield answered(number=96, name=target, sent=sent, closes=False)
