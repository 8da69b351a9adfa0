"""Incremental synchronization by `_lastUpdated` results in a copy of the archive.

Meanwhile, random studies in a separate Orthanc are stored, described, moved to other patients, merged and deleted, and the gateway is
stopped or killed, or loses its change log. The environment variable `SYNC_SEED` repeats a run.
"""

import io
import os
import random
import time

import pydicom
import pytest
import requests

from conftest import Client, link, matches
from servers import Gateway, Orthanc

STUDIES, INSTANCES, EVENTS = 6, 3, 45


@pytest.fixture(scope="module")
def contents(samples) -> dict[int, list[bytes]]:
    """The files of each study: a sample with other UIDs."""
    template = pydicom.dcmread(next(path for path in sorted(samples.rglob("*")) if path.is_file()))
    files: dict[int, list[bytes]] = {}
    for study in range(STUDIES):
        for instance in range(INSTANCES):
            template.StudyInstanceUID, template.SeriesInstanceUID = f"2.25.{5000 + study}", f"2.25.{6000 + study}"
            template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = f"2.25.{7000 + 10 * study + instance}"
            template.PatientID, template.StudyDescription = f"SYNC-{study % 3}", "As stored"
            buffer = io.BytesIO()
            template.save_as(buffer)
            files.setdefault(study, []).append(buffer.getvalue())
    return files


class Archive:
    """An Orthanc whose studies are changed with its REST API."""

    def __init__(self, orthanc: Orthanc, contents: dict[int, list[bytes]]):
        self.orthanc, self.contents, self.session = orthanc, contents, requests.Session()

    def post(self, path: str, body: dict) -> list | dict:
        response = self.session.post(f"{self.orthanc.url}{path}", json=body, timeout=300)
        assert response.status_code == 200, response.text
        return response.json()

    def stored(self) -> dict[str, dict]:
        """Returns the studies by their Orthanc ids."""
        studies = self.post("/tools/find", {"Level": "Study", "Query": {}, "Expand": True})
        return {study["ID"]: study for study in studies}

    def content(self) -> dict[str, tuple]:
        """Returns description, instance count and patient of each study, by QIDO-RS: the REST API returns outdated attributes of overwritten
        studies."""
        fields = {"includefield": ["StudyDescription", "NumberOfStudyRelatedInstances", "PatientID"]}
        rows = self.session.get(f"{self.orthanc.dicomweb}/studies", params=fields, timeout=300).json()
        studies = {row["0020000D"]["Value"][0]: [row[tag]["Value"][0] for tag in ("00081030", "00201208", "00100020")] for row in rows}
        return {uid: (description, int(count), patient) for uid, (description, count, patient) in studies.items()}

    def store(self, generator: random.Random) -> None:
        files = self.contents[generator.randrange(STUDIES)]
        uid = pydicom.dcmread(io.BytesIO(files[0])).StudyInstanceUID
        # A study that was moved to another patient must not be stored again for the first patient.
        if any(study["MainDicomTags"]["StudyInstanceUID"] == uid for study in self.stored().values()):
            return
        for content in files[:generator.randrange(1, INSTANCES + 1)]:
            assert self.orthanc.store(self.session, content) in ("Success", "AlreadyStored")

    def describe(self, name: str, description: str) -> None:
        self.post(f"/studies/{name}/modify", {
            "Replace": {"StudyDescription": description}, "Keep": ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"],
            "Force": True, "KeepSource": True, "Synchronous": True,
        })

    def move(self, name: str, patient: str) -> None:
        """Moves a study to another patient."""
        instances = self.session.get(f"{self.orthanc.url}/studies/{name}/instances", timeout=300).json()
        files = [self.session.get(f"{self.orthanc.url}/instances/{instance['ID']}/file", timeout=300).content for instance in instances]
        self.delete(name)
        for content in files:
            dataset = pydicom.dcmread(io.BytesIO(content))
            dataset.PatientID = patient
            buffer = io.BytesIO()
            dataset.save_as(buffer)
            assert self.orthanc.store(self.session, buffer.getvalue()) == "Success"

    def delete(self, name: str) -> None:
        assert self.session.delete(f"{self.orthanc.url}/studies/{name}", timeout=300).status_code == 200

    def change(self, generator: random.Random) -> None:
        studies = sorted(self.stored())
        change = generator.choice(["store", "store", "describe", "describe", "move", "merge", "delete"])
        if change == "store" or not studies:
            self.store(generator)
        elif change == "describe":
            self.describe(generator.choice(studies), f"Described {generator.randrange(10**6)}")
        elif change == "move":
            self.move(generator.choice(studies), f"SYNC-{generator.randrange(100, 200)}")
        elif change == "merge" and len(studies) > 1:
            target, source = generator.sample(studies, 2)
            self.post(f"/studies/{target}/merge", {"Resources": [source], "KeepSource": False, "Synchronous": True})
        else:
            self.delete(generator.choice(studies))


class SynchronizedGateway:
    """A gateway that is restarted, and a client that maintains a copy of its studies."""

    def __init__(self, folder, archive: Archive, record):
        self.folder, self.archive, self.record, self.starts = folder, archive, record, 0
        self.state = folder / "state"
        self.state.mkdir()
        self.copy: dict[str, tuple] = {}
        self.since = "1970-01-01"
        self.start()

    def start(self) -> None:
        self.starts += 1
        store = f'url = "sqlite:{self.state}/gateway.db"'
        self.server = Gateway(self.folder, f"start-{self.starts}", self.archive.orthanc.dicomweb, cache='fresh_for = "1ms"',
                              store=store)
        self.client = Client(self.server.fhir, self.record)

    def restart(self, generator: random.Random) -> None:
        if generator.random() < 0.4:
            self.server.process.kill()
            self.server.process.wait(10)
        else:
            assert self.server.stop() == 0
        if generator.random() < 0.3:
            (self.state / "gateway.db").unlink()
        self.start()

    def read(self, generator: random.Random) -> None:
        """Reads a study or its summary, as another client would."""
        uid = f"2.25.{5000 + generator.randrange(STUDIES)}"
        self.client.get(f"/ImagingStudy/{uid}{generator.choice(['', '?_summary=true'])}")

    def sync(self) -> None:
        next_page, first_page_time = f"/ImagingStudy?_lastUpdated=gt{self.since}&_summary=true&_count=2", None
        while next_page:
            page = self.client.json(next_page)
            first_page_time = first_page_time or page["meta"]["lastUpdated"]
            for study in matches(page):
                patient = study["subject"]["identifier"]["value"]
                self.copy[study["id"]] = (study["description"], study["numberOfInstances"], patient)
            next_page = link(page, "next")
        self.since = first_page_time
        # A search does not report deleted studies, but reading one does.
        known = sorted(self.copy)
        bundle = {"resourceType": "Bundle", "type": "batch", "entry": [
            {"request": {"method": "HEAD", "url": f"ImagingStudy/{uid}?_summary=true"}} for uid in known]}
        headers = {"Content-Type": "application/fhir+json", "Cache-Control": "no-cache"}
        response = requests.post(self.server.fhir, json=bundle, headers=headers, timeout=300)
        assert response.status_code == 200, response.text
        for uid, entry in zip(known, response.json().get("entry", []), strict=True):
            status = entry["response"]["status"][:3]
            assert status in ("200", "410", "404"), entry
            if status != "200":
                del self.copy[uid]


@pytest.mark.parametrize("repetition", range(3))
def test_incremental_synchronization_results_in_a_copy_of_the_archive(contents, record, tmp_path, repetition):
    seed = int(os.environ.get("SYNC_SEED", time.time_ns() % 10**9)) + repetition
    print(f"SYNC_SEED={seed}")
    generator = random.Random(seed)
    archive = Archive(Orthanc(tmp_path / "orthanc", OverwriteInstances=True), contents)
    gateway = SynchronizedGateway(tmp_path, archive, record)
    try:
        for _ in range(EVENTS):
            event = generator.choice(["change"] * 5 + ["sync"] * 2 + ["read"] * 2 + ["restart"])
            if event == "change":
                archive.change(generator)
            elif event == "sync":
                gateway.sync()
            elif event == "read":
                gateway.read(generator)
            else:
                gateway.restart(generator)
        while len(archive.stored()) < 2:
            archive.store(generator)
        gateway.sync()
        assert gateway.copy == archive.content(), f"SYNC_SEED={seed}"
    finally:
        gateway.server.stop()
        archive.orthanc.stop()
