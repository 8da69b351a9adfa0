"""Pages of a list that changes while a client reads it.

The tests store and delete random studies in a separate Orthanc between two pages. Every study that remains in the list must be returned
once.
"""

import io
import random

import pydicom
import pytest
import requests

from conftest import Client, link, matches
from servers import Gateway, Orthanc

STUDIES, ROUNDS = 40, 5


@pytest.fixture(scope="module")
def contents(samples) -> list[bytes]:
    """One file per study: a sample with other UIDs."""
    template = pydicom.dcmread(next(path for path in sorted(samples.rglob("*")) if path.is_file()))
    files = []
    for number in range(STUDIES):
        template.StudyInstanceUID = f"2.25.{1000 + number}"
        template.SeriesInstanceUID = f"2.25.{2000 + number}"
        template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = f"2.25.{3000 + number}"
        template.PatientID = f"CHANGE-{number % 7}"
        template.StudyDate = f"2024{number % 12 + 1:02}{number % 28 + 1:02}"
        buffer = io.BytesIO()
        template.save_as(buffer)
        files.append(buffer.getvalue())
    return files


class Store:
    """An Orthanc whose studies change, with the Orthanc id of each stored study by its number."""

    def __init__(self, orthanc: Orthanc, contents: list[bytes]):
        self.orthanc, self.contents = orthanc, contents
        self.session = requests.Session()
        self.stored: dict[int, str] = {}

    def add(self, number: int) -> None:
        response = self.session.post(f"{self.orthanc.url}/instances", data=self.contents[number], timeout=300)
        assert response.status_code == 200, response.text
        self.stored[number] = response.json()["ParentStudy"]

    def remove(self, number: int) -> None:
        assert self.session.delete(f"{self.orthanc.url}/studies/{self.stored.pop(number)}", timeout=300).status_code == 200

    def change(self, generator: random.Random) -> int:
        """Deletes and adds a few studies, and returns the number of changes."""
        stored, others = sorted(self.stored), sorted(set(range(STUDIES)) - set(self.stored))
        deleted = generator.sample(stored, min(len(stored), generator.randrange(4)))
        added = generator.sample(others, min(len(others), generator.randrange(4)))
        for number in deleted:
            self.remove(number)
        for number in added:
            self.add(number)
        return len(deleted) + len(added)

    def uids(self) -> set[str]:
        return {f"2.25.{1000 + number}" for number in self.stored}


@pytest.fixture(scope="module")
def store(tmp_path_factory, contents):
    orthanc = Orthanc(tmp_path_factory.mktemp("changing") / "orthanc")
    yield Store(orthanc, contents)
    orthanc.stop()


@pytest.mark.parametrize("search", ["", "[search]\nmax_scan = 10"], ids=["whole list", "windows of days"])
def test_remaining_studies_are_returned_once(store, record, tmp_path, search):
    gateway = Gateway(tmp_path, "changing", store.orthanc.dicomweb, cache=f'fresh_for = "1ms"\n{search}')
    try:
        client = Client(gateway.fhir, record)
        change_counts = [read_pages(client, store, random.Random(number)) for number in range(ROUNDS)]
    finally:
        gateway.stop()
    # The test is useful only if the changes affect the pages.
    assert sum(change_counts) > ROUNDS


def read_pages(client: Client, store: Store, generator: random.Random) -> int:
    """Reads all pages while the list changes, and returns the number of changes."""
    for number in set(range(0, STUDIES, 2)) - set(store.stored):
        store.add(number)
    remaining, change_count, returned = store.uids(), 0, []
    next_page = f"/ImagingStudy?_elements=id&_count={generator.randrange(3, 8)}"
    while next_page:
        page = client.json(next_page)
        returned += [study["id"] for study in matches(page)]
        next_page = link(page, "next")
        if next_page and generator.random() < 0.6:
            change_count += store.change(generator)
            remaining &= store.uids()
    missing = remaining - set(returned)
    repeated = {uid for uid in remaining if returned.count(uid) > 1}
    assert not missing and not repeated, (missing, repeated)
    return change_count
