"""Pages of a list that changes while a client reads it.

The tests store and delete random studies in a separate Orthanc between two pages. Every study that remains in the list must be returned
once, or a response must report that the list changed.
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


# A cursor in a sorted list contains the last study; a cursor in the order of the archive only contains a position.
@pytest.mark.parametrize("search", ["", "[search]\nmax_scan = 10"], ids=["sorted", "in the order of the archive"])
def test_remaining_studies_are_returned_once_or_a_change_of_the_list_is_reported(store, record, tmp_path, search):
    gateway = Gateway(tmp_path, "changing", store.orthanc.dicomweb, cache=f'fresh_for = "1ms"\n{search}')
    try:
        client = Client(gateway.fhir, record)
        outcomes = [read_pages(client, store, random.Random(number), bool(search)) for number in range(ROUNDS)]
    finally:
        gateway.stop()
    # The test is useful only if the changes affect the pages.
    assert any(is_reported for is_reported, _ in outcomes) == bool(search)
    assert sum(change_count for _, change_count in outcomes) > ROUNDS


def read_pages(client: Client, store: Store, generator: random.Random, is_unsorted: bool) -> tuple[bool, int]:
    """Reads all pages. Returns whether a response reported that the list changed, and the number of changes."""
    for number in set(range(0, STUDIES, 2)) - set(store.stored):
        store.add(number)
    remaining, is_reported, change_count, returned = store.uids(), False, 0, []
    next_page = f"/ImagingStudy?_elements=id&_count={generator.randrange(3, 8)}"
    while next_page:
        page = client.json(next_page)
        returned += [study["id"] for study in matches(page)]
        codes = [entry["resource"]["issue"][0]["code"] for entry in page.get("entry", []) if entry["search"]["mode"] == "outcome"]
        assert codes in ([], ["incomplete"]), codes
        is_reported = is_reported or bool(codes)
        next_page = link(page, "next")
        if next_page and generator.random() < 0.6:
            change_count += store.change(generator)
            remaining &= store.uids()
    missing = remaining - set(returned)
    repeated = {uid for uid in remaining if returned.count(uid) > 1}
    if is_unsorted:
        assert is_reported or not (missing or repeated), (missing, repeated)
    else:
        assert not is_reported and not missing and not repeated, (missing, repeated)
    return is_reported, change_count
