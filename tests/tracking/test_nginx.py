"""Tests of docs/nginx.conf: the real nginx before the real server, and every limit that docs/serving.md names."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from spotify_ml.utils.paths import PROJECT
from tests.tracking.conftest import CHAMPION, Store

pytestmark = pytest.mark.slow

PATIENCE_S = 60
USER, PASSWORD = "listener", "r1ght"
AUTHORIZED = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
MAIN = """
{user}
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


@dataclass(frozen=True)
class Proxy:
    """nginx, which encrypts by a certificate of its own."""

    port: int
    folder: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "spotify_ml.pem"))
        context.check_hostname = False
        return context

    def ask(self, body: bytes, headers: dict[str, str] = AUTHORIZED, path: str = "/invocations") -> tuple[int, str]:
        connection = HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE_S, context=self.context())
        try:
            method = "POST" if body else "GET"
            connection.request(method, path, body or None, {"Content-Type": "text/csv", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        return self.context().wrap_socket(plain)

    def logged(self, status: int) -> int:
        return len(re.findall(rf'" {status} ', (self.folder / "access.log").read_text()))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if found is None:
        pytest.skip(f"there is no {name}; install it")
    return found


@pytest.fixture(scope="module")
def served(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the champion's server."""
    _program("nginx")
    folder, port = tmp_path_factory.mktemp("behind"), _free_port()
    command = [sys.executable, "-m", "spotify_ml.serve", f"tracking.uri={store.uri}", f"model={CHAMPION}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, f"port={port}", "max_requests=2"], cwd=folder, stdout=log, stderr=log)
    try:
        _wait(port, process, folder / "log")
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)


@pytest.fixture
def proxy(served: int, tmp_path: Path) -> Iterator[Proxy]:
    """nginx with docs/nginx.conf: its ports and files, and smaller numbers where a test would wait for long."""
    nginx, openssl, port = _program("nginx"), _program("openssl"), _free_port()
    site = (PROJECT / "docs" / "nginx.conf").read_text(encoding="utf-8")
    changes = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/nginx/": f"{tmp_path}/",
        "127.0.0.1:5001": f"127.0.0.1:{served}",
        "client_max_body_size 64m": "client_max_body_size 1m",
        "client_header_timeout 10s": "client_header_timeout 2s",
        "client_body_timeout 10s": "client_body_timeout 2s",
        "proxy_read_timeout 60s": "proxy_read_timeout 30s",
    }
    for before, after in changes.items():
        assert before in site
        site = site.replace(before, after)
    (tmp_path / "site.conf").write_text(site)
    (tmp_path / "main.conf").write_text(MAIN.format(folder=tmp_path, user="user root;" if os.geteuid() == 0 else ""))
    hashed = subprocess.run([openssl, "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True).stdout
    (tmp_path / "spotify_ml.users").write_text(f"{USER}:{hashed}")
    key = ["-keyout", tmp_path / "spotify_ml.key", "-out", tmp_path / "spotify_ml.pem"]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", *key],
        capture_output=True,
        check=True,
    )
    command = [nginx, "-c", str(tmp_path / "main.conf"), "-e", str(tmp_path / "error.log"), "-g", "daemon off;"]
    process = subprocess.Popen(command, cwd=tmp_path)
    try:
        _wait(port, process, tmp_path / "error.log")
        yield Proxy(port, tmp_path)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def test_who_has_the_password_is_answered_and_nobody_else(proxy: Proxy, store: Store):
    rows = store.rows.head(3).to_csv(index=False).encode()
    status, text = proxy.ask(rows)
    assert (status, len(json.loads(text)["predictions"])) == (200, 3)
    wrong = {"Authorization": "Basic " + base64.b64encode(f"{USER}:wr0ng".encode()).decode()}
    assert [proxy.ask(rows, headers)[0] for headers in ({}, wrong)] == [401, 401]
    assert proxy.ask(b"", {}, "/ping")[0] == 200
    assert [proxy.ask(b"", path=path)[0] for path in ("/invocations", "/version")] == [403, 404]
    # The server's own refusals come through.
    status, text = proxy.ask(b"tempo\n1\n")
    assert (status, "lack the columns" in json.loads(text)["message"]) == (400, True)


def test_a_large_request_is_refused(proxy: Proxy):
    announced = b"POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Length: 2000000\r\n"
    with proxy.connect() as caller:
        caller.sendall(announced + f"Authorization: {AUTHORIZED['Authorization']}\r\n\r\n".encode())
        assert caller.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_half_a_header_and_half_a_body_are_not_waited_for(proxy: Proxy):
    head = f"POST /invocations HTTP/1.1\r\nHost: here\r\nAuthorization: {AUTHORIZED['Authorization']}\r\n".encode()
    for sent in (head, head + b"Content-Length: 100\r\n\r\ntem"):
        with proxy.connect() as caller:
            caller.sendall(sent)
            # nginx closes without an answer, and logs 408.
            assert caller.recv(1000) == b""
    assert proxy.logged(408) == 2


def test_a_header_that_comes_by_the_byte_has_an_end(proxy: Proxy):
    with proxy.connect() as caller:
        caller.sendall(b"POST /invocations HTTP/1.1\r\nHost: ")
        for _ in range(PATIENCE_S):
            try:
                caller.sendall(b"a")
            except OSError:
                break
            time.sleep(0.5)
    assert proxy.logged(408) == 1


def test_slow_bodies_take_no_place_of_the_server(proxy: Proxy, store: Store):
    head = f"POST /invocations HTTP/1.1\r\nHost: here\r\nAuthorization: {AUTHORIZED['Authorization']}\r\n".encode()
    with ExitStack() as opened:
        for _ in range(5):
            caller = opened.enter_context(proxy.connect())
            caller.sendall(head + b"Content-Length: 100\r\n\r\ntem")
        assert proxy.ask(store.rows.head(1).to_csv(index=False).encode())[0] == 200


def test_too_many_at_once_of_one_address_are_refused_and_others_answered_afterwards(proxy: Proxy, store: Store):
    head = f"POST /invocations HTTP/1.1\r\nHost: here\r\nAuthorization: {AUTHORIZED['Authorization']}\r\n".encode()
    with ExitStack() as opened:
        callers = [opened.enter_context(proxy.connect()) for _ in range(10)]
        for caller in callers:
            caller.sendall(head + b"Content-Length: 100\r\n\r\n")
        # They are under way once nginx has read their headers.
        deadline = time.monotonic() + PATIENCE_S
        while (status := proxy.ask(b"", {}, "/ping")[0]) != 503:
            assert time.monotonic() < deadline, status
            time.sleep(0.2)
    deadline = time.monotonic() + PATIENCE_S
    while (status := proxy.ask(store.rows.head(1).to_csv(index=False).encode())[0]) != 200:
        assert time.monotonic() < deadline, status
        time.sleep(0.2)


def test_too_many_a_second_are_refused(proxy: Proxy):
    # Each waits for its answer: few are under way at once, and more than the rate and its burst.
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda _: proxy.ask(b"", {}, "/ping")[0], range(120)))
    assert set(answers) == {200, 429}
    assert answers.count(200) >= 20
