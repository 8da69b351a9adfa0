"""The fixtures of all tests: an Orthanc that contains real files and the sample studies, and the gateway in front of it."""

import hashlib
import pathlib
import subprocess

import pytest
import requests

from holdings import Holdings, fill, real_files
from servers import GATEWAY, WRITE_SAMPLES, Gateway, Ingress, Orthanc

PREFIX = "/pacs"


class Client:
    """Sends requests to a gateway, and records the FHIR body of every response for test_zz_validity.py."""

    def __init__(self, base: str, record: pathlib.Path):
        self.base = base
        self.session = requests.Session()
        self.record = record

    def request(self, method: str, path: str, **options) -> requests.Response:
        url = path if path.startswith("http") else self.base + path
        response = self.session.request(method, url, timeout=300, **options)
        content_type = response.headers.get("Content-Type", "").split(";")[0]
        extension = {"application/fhir+json": "json", "application/fhir+xml": "xml"}.get(content_type)
        if extension and response.content:
            (self.record / f"{hashlib.sha256(response.content).hexdigest()}.{extension}").write_bytes(response.content)
        return response

    def get(self, path: str, **options) -> requests.Response:
        return self.request("GET", path, **options)

    def json(self, path: str, **options) -> dict:
        response = self.get(path, **options)
        assert response.status_code == 200, f"{response.status_code} for {path}: {response.text[:500]}"
        return response.json()

    def pages(self, path: str) -> list[dict]:
        """Returns the page at `path` and all pages after it."""
        pages, next_page = [], path
        while next_page:
            assert len(pages) < 1000, "the next links do not end"
            pages.append(self.json(next_page))
            next_page = link(pages[-1], "next")
        return pages


def link(bundle: dict, relation: str) -> str | None:
    return next((entry["url"] for entry in bundle["link"] if entry["relation"] == relation), None)


def matches(bundle: dict) -> list[dict]:
    return [entry["resource"] for entry in bundle.get("entry", []) if entry["search"]["mode"] == "match"]


@pytest.fixture(scope="session")
def record(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("fhir")


@pytest.fixture(scope="session")
def samples(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("samples")
    subprocess.run([WRITE_SAMPLES, folder], check=True)
    return folder


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory):
    server = Orthanc(tmp_path_factory.mktemp("archive") / "orthanc")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def holdings(orthanc, samples) -> Holdings:
    files = real_files() + sorted(path for path in samples.rglob("*") if path.is_file())
    stored = fill(orthanc, files)
    assert len(stored.studies) >= 80 and stored.stored_count >= 250, (len(stored.studies), stored.stored_count)
    return stored


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="session")
def gateway(orthanc, holdings, folder):
    assert GATEWAY.exists(), f"{GATEWAY} is missing: cargo build"
    server = Gateway(folder, "gateway", orthanc.dicomweb)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def fhir(gateway, record) -> Client:
    return Client(gateway.fhir, record)


@pytest.fixture(scope="session")
def proxied(orthanc, holdings, folder):
    """A gateway that trusts the headers of proxies on the loopback interface."""
    server = Gateway(folder, "proxied", orthanc.dicomweb, server='trusted_proxies = ["127.0.0.1/32"]')
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nginx(proxied, folder):
    server = Ingress(folder, PREFIX, proxied.url)
    yield server
    server.stop()
