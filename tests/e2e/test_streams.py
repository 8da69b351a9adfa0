"""Large answers on real sockets: readers that stall, and clients that go away."""

import contextlib
import pathlib
import re
import socket
import time

import pytest

from servers import Gateway, Nginx, free_ports

GIGABYTE = 2**30
PATH = "/dicom-web/main/studies/1.2.3/bulkdata/1"


class Origin(Nginx):
    """An archive that holds one large value."""

    def __init__(self, folder: pathlib.Path):
        value = folder / "dicom-web" / "studies" / "1.2.3" / "bulkdata" / "1"
        value.parent.mkdir(parents=True)
        with value.open("wb") as file:
            file.truncate(GIGABYTE)
        (port,) = free_ports(1)
        self.dicomweb = f"http://127.0.0.1:{port}/dicom-web"
        super().__init__(folder, f"listen 127.0.0.1:{port}; types {{}} default_type application/octet-stream; location / {{ root {folder}; }}",
                         f"http://127.0.0.1:{port}/")


@pytest.fixture
def gateway(tmp_path):
    origin = Origin(tmp_path / "origin")
    server = Gateway(tmp_path, "gateway", origin.dicomweb, archive="max_concurrency = 32")
    yield server
    server.stop()
    origin.stop()


def ask(gateway: Gateway) -> socket.socket:
    host, port = gateway.url.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)), timeout=60)
    client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    return client


def read(client: socket.socket, count: int) -> None:
    while count > 0:
        piece = client.recv(min(count, 65536))
        assert piece, "the answer ended"
        count -= len(piece)


def resident(gateway: Gateway) -> int:
    status = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def descriptors(gateway: Gateway) -> int:
    return len(list(pathlib.Path(f"/proc/{gateway.process.pid}/fd").iterdir()))


def until(holds, patience: float = 20) -> bool:
    deadline = time.monotonic() + patience
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def test_readers_that_stall_cost_little_memory(gateway):
    with contextlib.ExitStack() as open_clients:
        first = open_clients.enter_context(ask(gateway))
        read(first, 4_000_000)
        before = resident(gateway)
        clients = [open_clients.enter_context(ask(gateway)) for _ in range(50)]
        for client in clients:
            read(client, 4_000_000)
        # Until every buffer on the way is full, and nothing grows any more.
        sizes = []
        assert until(lambda: (sizes.append(resident(gateway)), len(sizes) > 20 and max(sizes[-20:]) - min(sizes[-20:]) < 2**20)[1])
        each = (sizes[-1] - before) / len(clients)
        # The HTTP client reads up to 400 kB at once, and hands on a piece while it holds the next ones.
        assert each < 2.5 * 2**20, f"{each / 1024:.0f} KiB for a stream of a gigabyte that nobody reads"


def test_a_thousand_clients_that_go_away_leave_nothing_open(gateway):
    with ask(gateway) as client:
        read(client, 1000)
    assert until(lambda: descriptors(gateway) < 40)
    before = descriptors(gateway)
    for _ in range(20):
        with contextlib.ExitStack() as open_clients:
            for client in [open_clients.enter_context(ask(gateway)) for _ in range(50)]:
                read(client, 1000)
    assert until(lambda: descriptors(gateway) <= before), f"{descriptors(gateway)} descriptors, {before} before"
