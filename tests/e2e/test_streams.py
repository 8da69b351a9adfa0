"""Large responses on real sockets: clients that stall or disconnect, ranges, and proxies of the environment."""

import contextlib
import pathlib
import re
import socket
import time

import pytest
import requests

from servers import ROOT, Gateway, Nginx, free_ports

GIGABYTE = 2**30
TLS = ROOT / "tests" / "tls"

# Error statuses of an archive that are forwarded to the client.
FORWARDED_ERRORS = (400, 404, 406, 410, 413, 501, 503)

# Canceled requests must end within this time, which is shorter than every timeout of the gateway.
CANCEL_TIMEOUT = 45
PATH = "/dicom-web/main/studies/1.2.3/bulkdata/1"


class Origin(Nginx):
    """An archive that holds one large bulk data value."""

    def __init__(self, folder: pathlib.Path, secure: bool = False):
        value = folder / "dicom-web" / "studies" / "1.2.3" / "bulkdata" / "1"
        value.parent.mkdir(parents=True)
        with value.open("wb") as file:
            file.truncate(GIGABYTE)
        port, secure_port = free_ports(2)
        self.dicomweb = f"https://127.0.0.1:{secure_port}/dicom-web" if secure else f"http://127.0.0.1:{port}/dicom-web"
        # A request to render a series is answered with the status that the series UID ends with.
        # HTTP/2 is negotiated in TLS.
        server = f"""listen 127.0.0.1:{port}; listen 127.0.0.1:{secure_port} ssl http2; http2_max_concurrent_streams 256;
          ssl_certificate {TLS}/server.pem; ssl_certificate_key {TLS}/server.key; types {{}} default_type application/octet-stream; location / {{ root {folder}; }}
          {" ".join(f"location = /dicom-web/studies/1.2.3/series/{status}/rendered {{ return {status}; }}" for status in FORWARDED_ERRORS)}"""
        super().__init__(folder, server, f"http://127.0.0.1:{port}/")


@pytest.fixture
def gateway(tmp_path):
    origin = Origin(tmp_path / "origin")
    server = Gateway(tmp_path, "gateway", origin.dicomweb, archive="max_concurrency = 32")
    server.origin = origin
    yield server
    server.stop()
    origin.stop()


def send_request(gateway: Gateway) -> socket.socket:
    host, port = gateway.url.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)), timeout=300)
    client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    return client


def read(client: socket.socket, count: int) -> None:
    while count > 0:
        piece = client.recv(min(count, 65536))
        assert piece, "the response ended"
        count -= len(piece)


def resident(gateway: Gateway) -> int:
    status = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def descriptors(gateway: Gateway) -> int:
    return len(list(pathlib.Path(f"/proc/{gateway.process.pid}/fd").iterdir()))


def in_flight(gateway: Gateway, admin: requests.Session) -> int:
    metrics = admin.get(f"{gateway.admin}/metrics", timeout=300).text
    counts = re.findall(r"^gateway_(?:upstream_)?requests_in_flight(?:{.*})? (\d+)$", metrics, re.MULTILINE)
    assert len(counts) >= 2, metrics
    return sum(map(int, counts))


def until(holds, timeout: float = 300) -> bool:
    deadline = time.monotonic() + timeout
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


@pytest.mark.parametrize("secure", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize(("buffer", "bound"), [("400KiB", 1792), ("16KiB", 256)])
def test_stalled_clients_take_at_most_the_configured_memory(tmp_path, secure, buffer, bound):
    origin = Origin(tmp_path / "origin", secure)
    trust = f'\ntls = {{ ca = "{TLS}/ca.pem" }}' if secure else ""
    gateway = Gateway(tmp_path, "gateway", origin.dicomweb, archive=f'max_concurrency = 32\nstream_buffer = "{buffer}"{trust}')
    try:
        with contextlib.ExitStack() as open_clients:
            first = open_clients.enter_context(send_request(gateway))
            read(first, 4_000_000)
            before = resident(gateway)
            clients = [open_clients.enter_context(send_request(gateway)) for _ in range(150)]
            for client in clients:
                read(client, 4_000_000)
            # Until every buffer is full and the memory no longer grows.
            sizes = []
            assert until(lambda: (sizes.append(resident(gateway)), len(sizes) > 20 and max(sizes[-20:]) - min(sizes[-20:]) < 2**20)[1])
            each = (sizes[-1] - before) / len(clients) / 1024
            assert each < bound, f"{each:.0f} KiB per stalled stream"
    finally:
        gateway.stop()
        origin.stop()


def test_a_thousand_disconnects_release_all_connections(gateway):
    # One connection polls the metrics, so that it is counted before and after.
    with requests.Session() as admin:
        with send_request(gateway) as client:
            read(client, 1000)
        assert until(lambda: in_flight(gateway, admin) == 0 and descriptors(gateway) < 40, CANCEL_TIMEOUT)
        before = descriptors(gateway)
        for _ in range(20):
            with contextlib.ExitStack() as open_clients:
                for client in [open_clients.enter_context(send_request(gateway)) for _ in range(50)]:
                    read(client, 1000)
        assert until(lambda: in_flight(gateway, admin) == 0 and descriptors(gateway) <= before, CANCEL_TIMEOUT), \
            f"{descriptors(gateway)} descriptors, {before} before, {in_flight(gateway, admin)} requests in flight"


def test_proxy_variables_of_the_environment_are_ignored(tmp_path):
    origin = Origin(tmp_path / "origin")
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        names = [spelled for name in ("http_proxy", "https_proxy", "all_proxy") for spelled in (name, name.upper())]
        environment = {name: f"http://127.0.0.1:{proxy.getsockname()[1]}" for name in names}
        server = Gateway(tmp_path, "gateway", origin.dicomweb, environment=environment | {"NO_PROXY": "", "no_proxy": ""})
        try:
            with send_request(server) as client:
                read(client, 1000)
            proxy.settimeout(0.1)
            with pytest.raises(TimeoutError):
                proxy.accept()
        finally:
            server.stop()
            origin.stop()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_range_and_conditional_requests_get_the_response_of_the_archive(gateway, method):
    def request_both(**headers) -> tuple[requests.Response, requests.Response]:
        urls = (gateway.url + PATH, gateway.origin.dicomweb + PATH.removeprefix("/dicom-web/main"))
        return tuple(requests.request(method, url, headers=headers, stream=True, timeout=300) for url in urls)

    known, _ = request_both()
    tag, changed = known.headers["ETag"], known.headers["Last-Modified"]
    long_ago = "Sat, 29 Oct 1994 19:43:31 GMT"
    for status, headers in (
        (200, {}),
        (206, {"Range": "bytes=0-99"}),
        (206, {"Range": "bytes=-100"}),
        (206, {"Range": f"bytes={GIGABYTE - 1}-"}),
        (416, {"Range": f"bytes={GIGABYTE}-"}),
        (206, {"Range": "bytes=0-99", "If-Range": tag}),
        (200, {"Range": "bytes=0-99", "If-Range": '"other"'}),
        (206, {"Range": "bytes=0-99", "If-Range": changed}),
        (304, {"If-None-Match": tag}),
        (200, {"If-None-Match": '"other"'}),
        (304, {"If-Modified-Since": changed}),
        (200, {"If-Modified-Since": long_ago}),
        (304, {"If-None-Match": tag, "Range": "bytes=0-99"}),
    ):
        ours, theirs = request_both(**headers)
        assert ours.status_code == theirs.status_code == status, headers
        if status != 416:
            for name in ("Content-Length", "Content-Range", "Content-Type", "ETag", "Last-Modified"):
                assert ours.headers.get(name) == theirs.headers.get(name), (name, headers)
        if method == "GET" and status == 206:
            assert ours.content == theirs.content
        ours.close()
        theirs.close()


def test_error_statuses_are_forwarded(gateway):
    for status in FORWARDED_ERRORS:
        path = f"/studies/1.2.3/series/{status}/rendered"
        theirs = requests.get(gateway.origin.dicomweb + path, timeout=300)
        ours = requests.get(f"{gateway.dicomweb}{path}", timeout=300)
        assert ours.status_code == theirs.status_code == status
        assert "nginx" not in ours.text and ours.headers["Content-Type"] == "application/json"
