"""Versions of a study in Orthanc that is read, changed, extended, deleted and stored again, with restarts of the gateway."""

import hashlib
import pathlib
import time

import pytest
import requests

import holdings as held
from conftest import Client, matches
from servers import Gateway, Orthanc

NO_CACHE = {"Cache-Control": "no-cache"}


class Archive:
    """One study of one patient in a separate Orthanc, changed with the REST API of Orthanc."""

    def __init__(self, server: Orthanc, files: list[bytes]):
        self.server, self.files, self.session = server, files, requests.Session()
        self.uid = held.pydicom.dcmread(held.io.BytesIO(files[0])).StudyInstanceUID

    def store(self, count: int) -> None:
        for content in self.files[:count]:
            assert self.server.store(self.session, content) in ("Success", "AlreadyStored")

    def post(self, path: str, body: dict) -> dict:
        answer = self.session.post(f"{self.server.url}{path}", json=body, timeout=300)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def study(self) -> str:
        """The Orthanc id of the study."""
        (name,) = self.post("/tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": self.uid}})
        return name

    def describe(self, description: str) -> None:
        self.post(f"/studies/{self.study()}/modify", {
            "Replace": {"StudyDescription": description},
            "Keep": ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"],
            "Force": True,
            "KeepSource": True,
            "Synchronous": True,
        })

    def delete(self) -> None:
        assert self.session.delete(f"{self.server.url}/studies/{self.study()}", timeout=300).status_code == 200


@pytest.fixture(scope="module")
def archive(tmp_path_factory, samples):
    # The files of the sample study with the most files.
    studies: dict[str, list[bytes]] = {}
    for path in sorted(path for path in samples.rglob("*") if path.is_file()):
        content = path.read_bytes()
        studies.setdefault(held.pydicom.dcmread(held.io.BytesIO(content)).StudyInstanceUID, []).append(content)
    files = max(studies.values(), key=len)
    assert len(files) > 3
    server = Orthanc(tmp_path_factory.mktemp("changing") / "orthanc", OverwriteInstances=True)
    yield Archive(server, files)
    server.stop()


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> pathlib.Path:
    home = tmp_path_factory.mktemp("change-log")
    (home / "state").mkdir()
    return home


class RestartableGateway:
    """A gateway whose state directory survives restarts."""

    def __init__(self, home: pathlib.Path, archive: Archive, record: pathlib.Path):
        self.home, self.archive, self.record, self.starts = home, archive, record, 0
        self.start()

    def start(self) -> None:
        self.starts += 1
        cache = f'state_dir = "{self.home}/state"'
        self.server = Gateway(self.home, f"start-{self.starts}", self.archive.server.dicomweb, cache=cache)
        self.client = Client(self.server.fhir, self.record)

    def restart(self) -> None:
        assert self.server.stop() == 0
        self.start()

    def read(self, **headers) -> requests.Response:
        return self.client.get(f"/ImagingStudy/{self.archive.uid}", headers={**NO_CACHE, **headers})


@pytest.fixture(scope="module")
def gateway(archive, home, record):
    running = RestartableGateway(home, archive, record)
    yield running
    running.server.stop()


def version(answer: requests.Response) -> tuple[str, str]:
    assert answer.status_code == 200, answer.text
    meta = answer.json()["meta"]
    assert answer.headers["ETag"] == f'W/"{meta["versionId"]}"'
    return meta["versionId"], meta["lastUpdated"]


def test_versions_follow_the_changes_of_a_study(archive, gateway):
    assert gateway.read().status_code == 404

    archive.store(2)
    first = gateway.read()
    name, since = version(first)
    assert "Last-Modified" in first.headers
    assert gateway.read(**{"If-None-Match": first.headers["ETag"]}).status_code == 304
    gateway.restart()
    assert version(gateway.read()) == (name, since), "the archive did not change"
    # Last-Modified is rounded up to a second, and matches the version from that time on.
    while gateway.read(**{"If-Modified-Since": first.headers["Last-Modified"]}).status_code != 304:
        assert time.time() < time.mktime(time.strptime(since[:19], "%Y-%m-%dT%H:%M:%S")) + 600
        first = gateway.read()

    archive.describe("Described again")
    described = gateway.read(**{"If-None-Match": first.headers["ETag"]})
    assert described.json()["description"] == "Described again"
    name_described, since_described = version(described)
    assert name_described != name and since_described > since
    assert gateway.read(**{"If-Modified-Since": first.headers["Last-Modified"]}).status_code == 200

    archive.store(len(archive.files))
    grown = gateway.read()
    assert grown.json()["numberOfInstances"] == len(archive.files)
    name_grown, since_grown = version(grown)
    assert len({name, name_described, name_grown}) == 3 and since_grown > since_described

    path = f"/ImagingStudy/{archive.uid}/_history"
    vread = gateway.client.get(f"{path}/{name_grown}")
    assert vread.json() == grown.json()
    assert vread.headers["Content-Location"] == f"{gateway.server.fhir}{path}/{name_grown}"
    assert gateway.client.get(f"{path}/{name}").status_code == 404
    history = gateway.client.json(path)
    assert (history["type"], history["total"]) == ("history", 1)
    assert history["entry"][0]["resource"] == grown.json()

    archive.delete()
    assert gateway.read().status_code == 410
    gateway.restart()
    assert gateway.read().status_code == 410
    assert gateway.client.get(f"{path}/{name_grown}").status_code == 410
    assert gateway.client.get("/ImagingStudy/1.2.3").status_code == 404

    archive.store(len(archive.files))
    _, since_back = version(gateway.read())
    assert since_back > since_grown


def test_last_updated_searches_find_changes(archive, gateway):
    archive.store(2)
    gateway.read()

    def changed_since(moment: str) -> tuple[list[str], str]:
        bundle = gateway.client.json(f"/ImagingStudy?_lastUpdated=gt{moment}&_summary=true")
        return [study["id"] for study in matches(bundle)], bundle["meta"]["lastUpdated"]

    studies, moment = changed_since("1970-01-01")
    assert studies == [archive.uid]
    # A study that was first seen by this search is not returned again.
    studies, moment = changed_since(moment)
    assert studies == []
    archive.describe("Described once more")
    studies, moment = changed_since(moment)
    assert studies == [archive.uid]
    archive.delete()
    assert gateway.read().status_code == 410
    archive.store(2)
    gateway.restart()
    studies, _ = changed_since(moment)
    assert studies == [archive.uid]


def test_the_change_log_contains_no_patient_data(archive, gateway, home):
    archive.store(len(archive.files))
    version(gateway.read())
    gateway.restart()
    (file,) = (home / "state").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    content = file.read_bytes()
    dataset = held.pydicom.dcmread(held.io.BytesIO(archive.files[0]))
    for text in (str(dataset.PatientName), str(dataset.PatientID), archive.uid):
        assert text.encode() not in content
    assert hashlib.sha256(f"ImagingStudy/{archive.uid}".encode()).digest()[:16] in content
