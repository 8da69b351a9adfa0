"""Large responses: clients that stall or disconnect, range and conditional requests, and proxy variables in the environment."""

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

# In seconds. Canceled requests must end within this time, which is shorter than every timeout of the gateway.
CANCEL_TIMEOUT = 45
PATH = "/dicom-web/main/studies/1.2.3/bulkdata/1"


class LargeFileArchive(Nginx):
    """An archive with one large bulk data value."""

    def __init__(self, folder: pathlib.Path, secure: bool = False):
        value = folder / "dicom-web" / "studies" / "1.2.3" / "bulkdata" / "1"
        value.parent.mkdir(parents=True)
        with value.open("wb") as file:
            file.truncate(GIGABYTE)
        port, secure_port = free_ports(2)
        self.dicomweb = f"https://127.0.0.1:{secure_port}/dicom-web" if secure else f"http://127.0.0.1:{port}/dicom-web"
        # The response to a request for the rendered series N has status N.
        server = f"""listen 127.0.0.1:{port}; listen 127.0.0.1:{secure_port} ssl http2; http2_max_concurrent_streams 256;
          ssl_certificate {TLS}/server.pem; ssl_certificate_key {TLS}/server.key; types {{}} default_type application/octet-stream; location / {{ root {folder}; }}
          {" ".join(f"location = /dicom-web/studies/1.2.3/series/{status}/rendered {{ return {status}; }}" for status in FORWARDED_ERRORS)}"""
        super().__init__(folder, server, f"http://127.0.0.1:{port}/")


@pytest.fixture
def gateway(tmp_path):
    archive = LargeFileArchive(tmp_path / "archive")
    server = Gateway(tmp_path, "gateway", archive.dicomweb, archive="max_concurrency = 32", profile="generic")
    server.archive = archive
    yield server
    server.stop()
    archive.stop()


def send_request(gateway: Gateway) -> socket.socket:
    host, port = gateway.url.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)), timeout=300)
    client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    return client


def read(client: socket.socket, count: int) -> None:
    while count > 0:
        data = client.recv(min(count, 65536))
        assert data, "the response ended"
        count -= len(data)


def resident_memory(gateway: Gateway) -> int:
    status = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def descriptor_count(gateway: Gateway) -> int:
    return len(list(pathlib.Path(f"/proc/{gateway.process.pid}/fd").iterdir()))


def requests_in_flight(gateway: Gateway, admin: requests.Session) -> int:
    metrics = admin.get(f"{gateway.admin}/metrics", timeout=300).text
    counts = re.findall(r"^gateway_(?:upstream_)?requests_in_flight(?:{.*})? (\d+)$", metrics, re.MULTILINE)
    assert len(counts) >= 2, metrics
    return sum(map(int, counts))


def wait_until(condition, timeout: float = 300) -> bool:
    """Waits until `condition()` is true, and returns its last value."""
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("secure", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize(("buffer", "max_kib"), [("400KiB", 1792), ("16KiB", 256)])
def test_stalled_clients_take_at_most_the_configured_memory(tmp_path, secure, buffer, max_kib):
    archive = LargeFileArchive(tmp_path / "archive", secure)
    trust = f'\ntls = {{ ca = "{TLS}/ca.pem" }}' if secure else ""
    gateway = Gateway(tmp_path, "gateway", archive.dicomweb, archive=f'max_concurrency = 32\nstream_buffer = "{buffer}"{trust}')
    try:
        with contextlib.ExitStack() as open_clients:
            first = open_clients.enter_context(send_request(gateway))
            read(first, 4_000_000)
            before = resident_memory(gateway)
            clients = [open_clients.enter_context(send_request(gateway)) for _ in range(150)]
            for client in clients:
                read(client, 4_000_000)
            # The memory no longer grows when every buffer is full.
            sizes = []
            assert wait_until(lambda: (sizes.append(resident_memory(gateway)), len(sizes) > 20 and max(sizes[-20:]) - min(sizes[-20:]) < 2**20)[1])
            kib_per_stream = (sizes[-1] - before) / len(clients) / 1024
            assert kib_per_stream < max_kib, f"{kib_per_stream:.0f} KiB per stalled stream"
    finally:
        gateway.stop()
        archive.stop()


def test_a_thousand_disconnects_release_all_connections(gateway):
    # One connection polls the metrics during the whole test, so it does not change the number of descriptors.
    with requests.Session() as admin:
        with send_request(gateway) as client:
            read(client, 1000)
        assert wait_until(lambda: requests_in_flight(gateway, admin) == 0 and descriptor_count(gateway) < 40, CANCEL_TIMEOUT)
        before = descriptor_count(gateway)
        for _ in range(20):
            with contextlib.ExitStack() as open_clients:
                for client in [open_clients.enter_context(send_request(gateway)) for _ in range(50)]:
                    read(client, 1000)
        assert wait_until(lambda: requests_in_flight(gateway, admin) == 0 and descriptor_count(gateway) <= before, CANCEL_TIMEOUT), \
            f"{descriptor_count(gateway)} descriptors, {before} before, {requests_in_flight(gateway, admin)} requests in flight"


def test_proxy_variables_in_the_environment_are_ignored(tmp_path):
    archive = LargeFileArchive(tmp_path / "archive")
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        names = [variant for name in ("http_proxy", "https_proxy", "all_proxy") for variant in (name, name.upper())]
        environment = {name: f"http://127.0.0.1:{proxy.getsockname()[1]}" for name in names}
        server = Gateway(tmp_path, "gateway", archive.dicomweb, environment=environment | {"NO_PROXY": "", "no_proxy": ""})
        try:
            with send_request(server) as client:
                read(client, 1000)
            proxy.settimeout(0.1)
            with pytest.raises(TimeoutError):
                proxy.accept()
        finally:
            server.stop()
            archive.stop()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_range_and_conditional_requests_get_the_response_of_the_archive(gateway, method):
    def request_both(**headers) -> tuple[requests.Response, requests.Response]:
        urls = (gateway.url + PATH, gateway.archive.dicomweb + PATH.removeprefix("/dicom-web/main"))
        return tuple(requests.request(method, url, headers=headers, stream=True, timeout=300) for url in urls)

    response, _ = request_both()
    etag, last_modified = response.headers["ETag"], response.headers["Last-Modified"]
    earlier = "Sat, 29 Oct 1994 19:43:31 GMT"
    for status, headers in (
        (200, {}),
        (206, {"Range": "bytes=0-99"}),
        (206, {"Range": "bytes=-100"}),
        (206, {"Range": f"bytes={GIGABYTE - 1}-"}),
        (416, {"Range": f"bytes={GIGABYTE}-"}),
        (206, {"Range": "bytes=0-99", "If-Range": etag}),
        (200, {"Range": "bytes=0-99", "If-Range": '"other"'}),
        (206, {"Range": "bytes=0-99", "If-Range": last_modified}),
        (304, {"If-None-Match": etag}),
        (200, {"If-None-Match": '"other"'}),
        (304, {"If-Modified-Since": last_modified}),
        (200, {"If-Modified-Since": earlier}),
        (304, {"If-None-Match": etag, "Range": "bytes=0-99"}),
    ):
        from_gateway, from_orthanc = request_both(**headers)
        assert from_gateway.status_code == from_orthanc.status_code == status, headers
        if status != 416:
            for name in ("Content-Length", "Content-Range", "Content-Type", "ETag", "Last-Modified"):
                assert from_gateway.headers.get(name) == from_orthanc.headers.get(name), (name, headers)
        if method == "GET" and status == 206:
            assert from_gateway.content == from_orthanc.content
        from_gateway.close()
        from_orthanc.close()


def test_error_statuses_are_forwarded(gateway):
    for status in FORWARDED_ERRORS:
        path = f"/studies/1.2.3/series/{status}/rendered"
        from_orthanc = requests.get(gateway.archive.dicomweb + path, timeout=300)
        from_gateway = requests.get(f"{gateway.dicomweb}{path}", timeout=300)
        assert from_gateway.status_code == from_orthanc.status_code == status
        assert "nginx" not in from_gateway.text and from_gateway.headers["Content-Type"] == "application/json"
