"""Pages of a list that changes while a client reads it: studies that are not changed are returned once, or a response reports that
the list changed. Studies are stored and deleted at random between the pages, in a separate Orthanc."""

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
    """One file per study: one of the samples with different UIDs."""
    template = pydicom.dcmread(next(path for path in sorted(samples.rglob("*")) if path.is_file()))
    written = []
    for number in range(STUDIES):
        template.StudyInstanceUID = f"2.25.{1000 + number}"
        template.SeriesInstanceUID = f"2.25.{2000 + number}"
        template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = f"2.25.{3000 + number}"
        template.PatientID = f"DRIFT-{number % 7}"
        template.StudyDate = f"2024{number % 12 + 1:02}{number % 28 + 1:02}"
        buffer = io.BytesIO()
        template.save_as(buffer)
        written.append(buffer.getvalue())
    return written


class Store:
    """The archive that changes: the studies that it holds, with the ids that Orthanc has given them."""

    def __init__(self, orthanc: Orthanc, contents: list[bytes]):
        self.orthanc, self.contents = orthanc, contents
        self.session = requests.Session()
        self.held: dict[int, str] = {}

    def add(self, number: int) -> None:
        answer = self.session.post(f"{self.orthanc.url}/instances", data=self.contents[number], timeout=300)
        assert answer.status_code == 200, answer.text
        self.held[number] = answer.json()["ParentStudy"]

    def remove(self, number: int) -> None:
        assert self.session.delete(f"{self.orthanc.url}/studies/{self.held.pop(number)}", timeout=300).status_code == 200

    def change(self, chance: random.Random) -> int:
        """Deletes a few studies and adds a few; returns the number of changes."""
        held, others = sorted(self.held), sorted(set(range(STUDIES)) - set(self.held))
        deleted = chance.sample(held, min(len(held), chance.randrange(4)))
        added = chance.sample(others, min(len(others), chance.randrange(4)))
        for number in deleted:
            self.remove(number)
        for number in added:
            self.add(number)
        return len(deleted) + len(added)

    def uids(self) -> set[str]:
        return {f"2.25.{1000 + number}" for number in self.held}


@pytest.fixture(scope="module")
def store(tmp_path_factory, contents):
    orthanc = Orthanc(tmp_path_factory.mktemp("drift") / "orthanc")
    yield Store(orthanc, contents)
    orthanc.stop()


# In a sort order that a cursor can continue, and in the order of the archive, in which a cursor has positions only.
@pytest.mark.parametrize("search", ["", "[search]\nmax_scan = 10"], ids=["sorted", "in the order of the archive"])
def test_unchanged_studies_are_returned_once_or_a_change_of_the_list_is_reported(store, record, tmp_path, search):
    gateway = Gateway(tmp_path, "drifting", store.orthanc.dicomweb, cache=f'fresh_for = "1ms"\n{search}')
    try:
        client = Client(gateway.fhir, record)
        outcomes = [walk(client, store, random.Random(number), bool(search)) for number in range(ROUNDS)]
    finally:
        gateway.stop()
    # Without changes that affect the pages this would test nothing.
    assert any(reported for reported, _ in outcomes) == bool(search)
    assert sum(changed for _, changed in outcomes) > ROUNDS


def walk(client: Client, store: Store, chance: random.Random, streams: bool) -> tuple[bool, int]:
    """Whether a response reported that the list changed, and the number of changes."""
    for number in set(range(0, STUDIES, 2)) - set(store.held):
        store.add(number)
    always, reported, changed, seen, following = store.uids(), False, 0, [], f"/ImagingStudy?_elements=id&_count={chance.randrange(3, 8)}"
    while following:
        page = client.json(following)
        seen += [one["id"] for one in matches(page)]
        codes = [entry["resource"]["issue"][0]["code"] for entry in page.get("entry", []) if entry["search"]["mode"] == "outcome"]
        assert codes in ([], ["incomplete"]), codes
        reported = reported or bool(codes)
        following = link(page, "next")
        if following and chance.random() < 0.6:
            changed += store.change(chance)
            always &= store.uids()
    missing = always - set(seen)
    repeated = {uid for uid in always if seen.count(uid) > 1}
    if streams:
        assert reported or not (missing or repeated), (missing, repeated)
    else:
        assert not reported and not missing and not repeated, (missing, repeated)
    return reported, changed
