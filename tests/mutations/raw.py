"""Requests as they go over the wire: what is odd about their heads and lengths."""

from collections.abc import Callable

from tests.mutations.case import Right

JSON = "application/json"
SAME, REFUSED, ANSWERED = Right.SCORED, Right.REFUSED, Right.ANSWERED


def _head(length: str, more: str = "", kind: str = JSON) -> bytes:
    head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n"
    return f"{head}{length}{more}\r\n".encode()


def _chunks(body: bytes, size: int) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


_CHUNKED = "Transfer-Encoding: chunked\r\n"
RAW: dict[str, tuple[Callable[[bytes], bytes], Right]] = {
    "chunked": (lambda body: _head(_CHUNKED) + _chunks(body, 500), SAME),
    "chunked byte by byte": (lambda body: _head(_CHUNKED) + _chunks(body, 1), SAME),
    "chunked, cut off": (lambda body: _head(_CHUNKED) + _chunks(body, 500)[:-50], ANSWERED),
    "chunked of wrong sizes": (lambda body: _head(_CHUNKED) + b"zz\r\n" + body, REFUSED),
    "chunked and a length": (lambda body: _head("Content-Length: 5\r\n", _CHUNKED) + _chunks(body, 500), ANSWERED),
    "a length too small": (lambda body: _head(f"Content-Length: {len(body) - 5}\r\n") + body, REFUSED),
    "a length too large": (lambda body: _head(f"Content-Length: {len(body) + 5}\r\n") + body, ANSWERED),
    "a negative length": (lambda body: _head("Content-Length: -1\r\n") + body, REFUSED),
    "a length of text": (lambda body: _head("Content-Length: x\r\n") + body, REFUSED),
    "a huge length": (lambda body: _head("Content-Length: 99999999999999999999\r\n") + body, ANSWERED),
    "two lengths": (lambda body: _head("Content-Length: 1\r\n", "Content-Length: 2\r\n") + body, REFUSED),
    "no length": (lambda body: _head("") + body, REFUSED),
    "two types": (
        lambda body: _head(f"Content-Length: {len(body)}\r\n", "Content-Type: text/csv\r\n") + body,
        ANSWERED,
    ),
    "no HTTP": (lambda body: b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", ANSWERED),
    "HTTP 1.0": (
        lambda body: (
            b"POST /invocations HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body
        ),
        SAME,
    ),
    "long headers": (
        lambda body: _head(f"Content-Length: {len(body)}\r\n", f"X: {'x' * 200_000}\r\n") + body,
        ANSWERED,
    ),
    "many headers": (lambda body: _head(f"Content-Length: {len(body)}\r\n", "X: y\r\n" * 300) + body, ANSWERED),
    "bytes in headers": (lambda body: _head("Content-Length: 1\r\n", "X: \x01\xe9\r\n") + body, ANSWERED),
    "expecting to go on": (
        lambda body: _head(f"Content-Length: {len(body)}\r\n", "Expect: 100-continue\r\n") + body,
        ANSWERED,
    ),
    "another method": (lambda body: b"PUT" + _head(f"Content-Length: {len(body)}\r\n")[4:] + body, ANSWERED),
    "another path": (
        lambda body: _head("Content-Length: 0\r\n").replace(b"/invocations", b"/../../etc/passwd"),
        ANSWERED,
    ),
    "an odd path": (lambda body: _head("Content-Length: 0\r\n").replace(b"/invocations", b"/%ff%00"), ANSWERED),
}
