"""A real PostgreSQL server for the tests, where its programs are installed."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "hush-hush"  # noqa: S105 - the server trusts everyone; the tests look for it where it must not be


def _unprivileged() -> dict[str, Any]:
    """How to start the server's programs, which refuse to be run by root."""
    if os.geteuid() != 0:
        return {}
    try:
        account = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("initdb refuses root, and there is no user postgres to run it as")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a server of its own, without a database's name."""
    pytest.importorskip("psycopg2")
    # Debian keeps a server's programs off the PATH, by version.
    places = os.pathsep.join([os.environ["PATH"], *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])
    programs = {name: shutil.which(name, path=places) for name in ("initdb", "pg_ctl")}
    missing = [name for name, program in programs.items() if program is None]
    if missing:
        pytest.skip(f"there is no {' and no '.join(missing)}; install PostgreSQL's server")
    options = _unprivileged()
    # Not below pytest's folder, which only its owner may enter; and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if options:
        os.chown(folder, options["user"], options["group"])

    def run(name: str, *arguments: str) -> None:
        command = [str(programs[name]), *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60, **options)
        assert done.returncode == 0, done.stdout + done.stderr

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    log, data = str(folder / "log"), str(folder / "data")
    try:
        run("initdb", "-D", data, "-U", "tester", "--auth=trust", "--no-sync")
        run("pg_ctl", "-D", data, "-w", "-l", log, "-o", settings, "start")
        try:
            yield f"postgresql+psycopg2://tester:{PASSWORD}@127.0.0.1:{port}"
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def new_database(postgresql_server: str) -> Callable[[], str]:
    """What makes an empty database and gives its URL."""
    import psycopg2

    def create() -> str:
        name = f"test_{uuid.uuid4().hex}"
        connection = psycopg2.connect(f"{postgresql_server}/postgres".replace("+psycopg2", ""))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        connection.close()
        return f"{postgresql_server}/{name}"

    return create


@pytest.fixture
def database(new_database: Callable[[], str]) -> str:
    """The URL of an empty database."""
    return new_database()
