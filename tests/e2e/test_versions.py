"""Versions of a study that is stored, described, extended, deleted and stored again in Orthanc, with restarts of the gateway."""

import hashlib
import io
import pathlib
import time

import pydicom
import pytest
import requests

from conftest import Client, matches
from servers import Gateway, Orthanc

NO_CACHE = {"Cache-Control": "no-cache"}


class Archive:
    """A separate Orthanc whose only study is changed with the REST API."""

    def __init__(self, server: Orthanc, files: list[bytes]):
        self.server, self.files, self.session = server, files, requests.Session()
        self.uid = pydicom.dcmread(io.BytesIO(files[0])).StudyInstanceUID

    def store(self, count: int) -> None:
        for content in self.files[:count]:
            assert self.server.store(self.session, content) in ("Success", "AlreadyStored")

    def post(self, path: str, body: dict) -> dict:
        response = self.session.post(f"{self.server.url}{path}", json=body, timeout=300)
        assert response.status_code == 200, response.text
        return response.json()

    def study_id(self) -> str:
        """Returns the Orthanc id of the study."""
        (study_id,) = self.post("/tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": self.uid}})
        return study_id

    def describe(self, description: str) -> None:
        self.post(f"/studies/{self.study_id()}/modify", {
            "Replace": {"StudyDescription": description},
            "Keep": ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"],
            "Force": True,
            "KeepSource": True,
            "Synchronous": True,
        })

    def delete(self) -> None:
        assert self.session.delete(f"{self.server.url}/studies/{self.study_id()}", timeout=300).status_code == 200


@pytest.fixture(scope="module")
def archive(tmp_path_factory, samples):
    # The sample study with the most files.
    studies: dict[str, list[bytes]] = {}
    for path in sorted(path for path in samples.rglob("*") if path.is_file()):
        content = path.read_bytes()
        studies.setdefault(pydicom.dcmread(io.BytesIO(content)).StudyInstanceUID, []).append(content)
    files = max(studies.values(), key=len)
    assert len(files) > 3
    server = Orthanc(tmp_path_factory.mktemp("changing") / "orthanc", OverwriteInstances=True)
    yield Archive(server, files)
    server.stop()


@pytest.fixture(scope="module")
def gateway_folder(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("change-log")
    (folder / "state").mkdir()
    return folder


class RestartableGateway:
    """A gateway whose state directory survives restarts."""

    def __init__(self, folder: pathlib.Path, archive: Archive, record: pathlib.Path):
        self.folder, self.archive, self.record, self.starts = folder, archive, record, 0
        self.start()

    def start(self) -> None:
        self.starts += 1
        store = f'url = "sqlite:{self.folder}/state/gateway.db"'
        self.server = Gateway(self.folder, f"start-{self.starts}", self.archive.server.dicomweb, store=store)
        self.client = Client(self.server.fhir, self.record)

    def restart(self) -> None:
        assert self.server.stop() == 0
        self.start()

    def read(self, **headers) -> requests.Response:
        return self.client.get(f"/ImagingStudy/{self.archive.uid}", headers={**NO_CACHE, **headers})


@pytest.fixture(scope="module")
def gateway(archive, gateway_folder, record):
    restartable = RestartableGateway(gateway_folder, archive, record)
    yield restartable
    restartable.server.stop()


def version(response: requests.Response) -> tuple[str, str]:
    assert response.status_code == 200, response.text
    meta = response.json()["meta"]
    assert response.headers["ETag"] == f'W/"{meta["versionId"]}"'
    return meta["versionId"], meta["lastUpdated"]


def test_versions_follow_the_changes_of_a_study(archive, gateway):
    assert gateway.read().status_code == 404

    archive.store(2)
    first = gateway.read()
    version_id, last_updated = version(first)
    assert "Last-Modified" in first.headers
    assert gateway.read(**{"If-None-Match": first.headers["ETag"]}).status_code == 304
    gateway.restart()
    assert version(gateway.read()) == (version_id, last_updated), "the archive did not change"
    # Last-Modified is rounded up to a second, so the condition is true only after that second.
    while gateway.read(**{"If-Modified-Since": first.headers["Last-Modified"]}).status_code != 304:
        assert time.time() < time.mktime(time.strptime(last_updated[:19], "%Y-%m-%dT%H:%M:%S")) + 600
        first = gateway.read()

    archive.describe("Described again")
    described = gateway.read(**{"If-None-Match": first.headers["ETag"]})
    assert described.json()["description"] == "Described again"
    described_id, described_time = version(described)
    assert described_id != version_id and described_time > last_updated
    assert gateway.read(**{"If-Modified-Since": first.headers["Last-Modified"]}).status_code == 200

    archive.store(len(archive.files))
    extended = gateway.read()
    assert extended.json()["numberOfInstances"] == len(archive.files)
    extended_id, extended_time = version(extended)
    assert len({version_id, described_id, extended_id}) == 3 and extended_time > described_time

    path = f"/ImagingStudy/{archive.uid}/_history"
    vread = gateway.client.get(f"{path}/{extended_id}")
    assert vread.json() == extended.json()
    assert vread.headers["Content-Location"] == f"{gateway.server.fhir}{path}/{extended_id}"
    assert gateway.client.get(f"{path}/{version_id}").status_code == 404
    history = gateway.client.json(path)
    assert (history["type"], history["total"]) == ("history", 1)
    assert history["entry"][0]["resource"] == extended.json()

    archive.delete()
    assert gateway.read().status_code == 410
    gateway.restart()
    assert gateway.read().status_code == 410
    assert gateway.client.get(f"{path}/{extended_id}").status_code == 410
    assert gateway.client.get("/ImagingStudy/1.2.3").status_code == 404

    archive.store(len(archive.files))
    _, restored_time = version(gateway.read())
    assert restored_time > extended_time


def test_last_updated_searches_find_changes(archive, gateway):
    archive.store(2)
    gateway.read()

    def changed_since(instant: str) -> tuple[list[str], str]:
        bundle = gateway.client.json(f"/ImagingStudy?_lastUpdated=gt{instant}&_summary=true")
        return [study["id"] for study in matches(bundle)], bundle["meta"]["lastUpdated"]

    studies, instant = changed_since("1970-01-01")
    assert studies == [archive.uid]
    # A study that was first seen by this search is not returned again.
    studies, instant = changed_since(instant)
    assert studies == []
    archive.describe("Described once more")
    studies, instant = changed_since(instant)
    assert studies == [archive.uid]
    archive.delete()
    assert gateway.read().status_code == 410
    archive.store(2)
    gateway.restart()
    studies, _ = changed_since(instant)
    assert studies == [archive.uid]


def test_the_change_log_contains_no_patient_data(archive, gateway, gateway_folder):
    archive.store(len(archive.files))
    version(gateway.read())
    gateway.restart()
    files = list((gateway_folder / "state").iterdir())
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    content = b"".join(file.read_bytes() for file in files)
    dataset = pydicom.dcmread(io.BytesIO(archive.files[0]))
    for text in (str(dataset.PatientName), str(dataset.PatientID), archive.uid):
        assert text.encode() not in content
    assert hashlib.sha256(f"ImagingStudy/{archive.uid}".encode()).digest()[:16] in content
