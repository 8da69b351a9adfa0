"""A real Orthanc, filled with real files and with the sample studies, and the gateway in front of it."""

import hashlib
import pathlib
import subprocess

import pytest
import requests

import holdings as held
from servers import GATEWAY, WRITE_SAMPLES, Gateway, Ingress, Orthanc

PREFIX = "/pacs"


class Client:
    """Sends requests to a gateway; every FHIR body in a response is recorded for the validators, whatever the test checks."""

    def __init__(self, base: str, record: pathlib.Path):
        self.base = base
        self.session = requests.Session()
        self.record = record

    def request(self, method: str, path: str, **options) -> requests.Response:
        url = path if path.startswith("http") else self.base + path
        answer = self.session.request(method, url, timeout=300, **options)
        content_type = answer.headers.get("Content-Type", "").split(";")[0]
        kind = {"application/fhir+json": "json", "application/fhir+xml": "xml"}.get(content_type)
        if kind and answer.content:
            (self.record / f"{hashlib.sha256(answer.content).hexdigest()}.{kind}").write_bytes(answer.content)
        return answer

    def get(self, path: str, **options) -> requests.Response:
        return self.request("GET", path, **options)

    def json(self, path: str, **options) -> dict:
        answer = self.get(path, **options)
        assert answer.status_code == 200, f"{answer.status_code} for {path}: {answer.text[:500]}"
        return answer.json()

    def pages(self, path: str) -> list[dict]:
        """Every page from this one to the last."""
        pages, following = [], path
        while following:
            assert len(pages) < 1000, "the pages do not end"
            pages.append(self.json(following))
            following = link(pages[-1], "next")
        return pages


def link(bundle: dict, relation: str) -> str | None:
    return next((one["url"] for one in bundle["link"] if one["relation"] == relation), None)


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
def holdings(orthanc, samples) -> held.Holdings:
    files = held.real_files() + sorted(path for path in samples.rglob("*") if path.is_file())
    found = held.fill(orthanc, files)
    assert len(found.studies) >= 80 and found.stored >= 250, (len(found.studies), found.stored)
    return found


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
    """A gateway that trusts the headers of proxies on the loopback."""
    server = Gateway(folder, "proxied", orthanc.dicomweb, server='trusted_proxies = ["127.0.0.1/32"]')
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nginx(proxied, folder):
    server = Ingress(folder, PREFIX, proxied.url)
    yield server
    server.stop()
