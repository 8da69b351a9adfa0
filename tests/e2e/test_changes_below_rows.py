"""Every answer is a state that the archive had within the configured bound, also if the rows of a study do not show its changes.

While four clients read, search and synchronize, studies in a separate Orthanc are stored, replaced under equal counts, corrected in place,
moved to other patients, merged and deleted. The model is the history of the states of each study. Every run repeats the same changes;
the environment variable `CHANGES_SEED` adds a run with other changes, and `CHANGES_COUNT` sets their number.
"""

import dataclasses
import io
import os
import random
import threading
import time

import pydicom
import pytest
import requests

from conftest import link, matches
from servers import Gateway, Orthanc

STUDIES, PATIENTS = 5, 4
# In seconds: `cache.fresh_for`, and `cache.deep_check` for studies of any age.
FRESH_FOR, DEEP_CHECK = 0.5, 1.5
FIXED_RUN = (20261127, 30)

# A state of a study: the patient, and the number of each instance by its UID. None if the study does not exist.
State = tuple[str, frozenset[tuple[str, int]]] | None


@dataclasses.dataclass
class Period:
    """A time in which a study had one of several states; the last period of a study has no end."""

    states: tuple[State, ...]
    start: float
    end: float = float("inf")


class Model:
    """The history of the states of each study."""

    def __init__(self):
        self.lock = threading.Lock()
        self.periods: dict[str, list[Period]] = {}

    def state(self, uid: str) -> State:
        return self.periods[uid][-1].states[-1] if uid in self.periods else None

    def begin(self, uid: str, *states: State) -> None:
        """Begins a period in which the study has one of `states`."""
        now = time.monotonic()
        with self.lock:
            periods = self.periods.setdefault(uid, [Period((None,), 0.0)])
            periods[-1].end = now
            periods.append(Period(states, now))

    def states_between(self, uid: str, start: float, end: float) -> list[State]:
        with self.lock:
            periods = list(self.periods.get(uid, [Period((None,), 0.0)]))
        return [state for period in periods if period.end >= start and period.start <= end for state in period.states]


class Archive:
    """An Orthanc whose studies are changed one instance at a time, and the model of what it contains."""

    def __init__(self, orthanc: Orthanc, template: pydicom.Dataset, generator: random.Random):
        self.orthanc, self.template, self.generator = orthanc, template, generator
        self.session, self.model, self.next_number = requests.Session(), Model(), 1

    def store(self, study: str, patient: str, instance: str, number: int) -> None:
        dataset = self.template
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.1"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = instance
        dataset.PatientID, dataset.InstanceNumber = patient, number
        buffer = io.BytesIO()
        dataset.save_as(buffer)
        assert self.orthanc.store(self.session, buffer.getvalue()) == "Success"

    def delete(self, level: str, name: str, value: str) -> None:
        (found,) = self.session.post(
            f"{self.orthanc.url}/tools/find", json={"Level": level, "Query": {name: value}}, timeout=300).json()
        collection = {"Study": "studies", "Instance": "instances"}[level]
        assert self.session.delete(f"{self.orthanc.url}/{collection}/{found}", timeout=300).status_code == 200

    def number(self) -> int:
        self.next_number += 1
        return self.next_number

    def change(self, steps: list[tuple[State, callable]], uid: str) -> None:
        """Runs the steps; before a step the study has its previous state, during it either, and after it the new one."""
        for state, run in steps:
            before = self.model.state(uid)
            # Orthanc overwrites an instance by deleting and storing it.
            missing = () if before is None or state is None else ((before[0], before[1] & state[1]),)
            self.model.begin(uid, before, *(missing if missing and missing[0][1] else (None,)), state)
            run()
            self.model.begin(uid, state)

    def add(self, uid: str, patient: str, instances: list[tuple[str, int]]) -> None:
        steps, present = [], self.model.state(uid)
        content = present[1] if present else frozenset()
        for instance, number in instances:
            content = frozenset(pair for pair in content if pair[0] != instance) | {(instance, number)}
            steps.append(((patient, content), lambda i=instance, n=number: self.store(uid, patient, i, n)))
        self.change(steps, uid)

    def random_change(self) -> None:
        uid = f"2.25.{8000 + self.generator.randrange(STUDIES)}"
        state = self.model.state(uid)
        if state is None:
            count = self.generator.randrange(1, 4)
            patient = f"CHANGES-{self.generator.randrange(PATIENTS)}"
            self.add(uid, patient, [(f"{uid}.1.{self.number()}", self.number()) for _ in range(count)])
            return
        patient, content = state
        instance, number = self.generator.choice(sorted(content))
        kind = self.generator.choice(["correct"] * 3 + ["replace"] * 3 + ["add", "move", "merge", "delete"])
        if kind == "correct":
            self.add(uid, patient, [(instance, self.number())])
        elif kind == "replace":
            rest = content - {(instance, number)}
            self.change([((patient, rest) if rest else None, lambda: self.delete("Instance", "SOPInstanceUID", instance))], uid)
            self.add(uid, patient, [(f"{uid}.1.{self.number()}", number)])
        elif kind == "add":
            self.add(uid, patient, [(f"{uid}.1.{self.number()}", self.number())])
        elif kind == "move":
            self.change([(None, lambda: self.delete("Study", "StudyInstanceUID", uid))], uid)
            others = [f"CHANGES-{other}" for other in range(PATIENTS) if f"CHANGES-{other}" != patient]
            self.add(uid, self.generator.choice(others), sorted(content))
        elif kind == "merge":
            sources = [other for other in self.model.periods if other != uid and self.model.state(other)]
            if sources:
                self.merge(uid, self.generator.choice(sorted(sources)))
        else:
            self.change([(None, lambda: self.delete("Study", "StudyInstanceUID", uid))], uid)

    def merge(self, uid: str, source: str) -> None:
        """Moves the instances of `source` into the study, as archives do when two studies of one examination are merged."""
        _, moved = self.model.state(source)
        patient, _ = self.model.state(uid)
        self.change([(None, lambda: self.delete("Study", "StudyInstanceUID", source))], source)
        self.add(uid, patient, sorted(moved))


class Observer:
    """A client of the gateway, which compares every study that it receives with the model."""

    def __init__(self, name: str, gateway: Gateway, archive: Archive, seed: int, log: list):
        self.name, self.gateway, self.archive, self.log = name, gateway, archive, log
        self.generator, self.session = random.Random(seed), requests.Session()
        self.copy: dict[str, State] = {}
        self.since = "1970-01-01"
        self.longest, self.answers, self.errors = 0.0, 0, 0

    def get(self, path: str) -> tuple[requests.Response, float]:
        start = time.monotonic()
        url = path if path.startswith("http") else f"{self.gateway.fhir}{path}"
        response = self.session.get(url, timeout=300)
        self.longest = max(self.longest, time.monotonic() - start)
        return response, start

    def check(self, uid: str, state: State, start: float, bound: float, source: str) -> None:
        """Whether the study had `state` at a time between `bound` before the request and now."""
        self.answers += 1
        # A request may share the work of an earlier one.
        earliest = start - bound - self.longest - 0.1
        allowed = self.archive.model.states_between(uid, earliest, time.monotonic())
        assert state in allowed, f"{self.name}: {source} returned for {uid}\n{state}\nbut within the bound it was one of\n{allowed}"

    def check_resource(self, study: dict, start: float, source: str) -> State:
        assert not any(tag["code"] == "SUBSETTED" for tag in study["meta"].get("tag", [])), study
        content = frozenset(
            (instance["uid"], instance["number"]) for series in study.get("series", []) for instance in series["instance"])
        state = (study["subject"]["identifier"]["value"], content)
        self.check(study["id"], state, start, DEEP_CHECK, source)
        self.log.append(((study["id"], study["meta"]["versionId"]), state))
        return state

    def read(self) -> None:
        uid = f"2.25.{8000 + self.generator.randrange(STUDIES)}"
        response, start = self.get(f"/ImagingStudy/{uid}")
        if response.status_code == 200:
            self.check_resource(response.json(), start, "read")
        elif response.status_code in (404, 410):
            self.check(uid, None, start, FRESH_FOR, "read")
        else:
            # The archive changed while it was read.
            assert response.status_code == 502, response.text
            self.errors += 1

    def search(self) -> None:
        parameters = self.generator.choice(["", f"?patient.identifier=CHANGES-{self.generator.randrange(PATIENTS)}"])
        response, start = self.get(f"/ImagingStudy{parameters}")
        assert response.status_code in (200, 502), response.text
        self.errors += response.status_code != 200
        for study in matches(response.json()) if response.status_code == 200 else []:
            if any(tag["code"] == "SUBSETTED" for tag in study["meta"].get("tag", [])):
                self.errors += 1
            else:
                self.check_resource(study, start, "search")

    def read_instances_only(self) -> None:
        uid = f"2.25.{8000 + self.generator.randrange(STUDIES)}"
        response, start = self.get(f"/ImagingStudy/{uid}?_elements=series,subject")
        if response.status_code == 200:
            self.check_resource(response.json() | {"meta": {"versionId": response.json()["meta"]["versionId"]}}, start, "elements")

    def sync(self) -> None:
        next_page, first_page_time = f"/ImagingStudy?_lastUpdated=gt{self.since}&_count=3", None
        while next_page:
            response, start = self.get(next_page)
            if response.status_code != 200:
                self.errors += 1
                return
            page = response.json()
            first_page_time = first_page_time or page["meta"]["lastUpdated"]
            for study in matches(page):
                if any(tag["code"] == "SUBSETTED" for tag in study["meta"].get("tag", [])):
                    self.errors += 1
                else:
                    self.copy[study["id"]] = self.check_resource(study, start, "sync")
            next_page = link(page, "next")
        self.since = first_page_time

    def remove_deleted(self) -> None:
        """Removes the studies from the copy that do not exist any more, which a search does not report."""
        for uid in list(self.copy):
            response = self.session.get(f"{self.gateway.fhir}/ImagingStudy/{uid}?_elements=id", timeout=300)
            if response.status_code != 200:
                del self.copy[uid]


def run_until(stop: threading.Event, act, failures: list) -> threading.Thread:
    def loop() -> None:
        try:
            while not stop.is_set():
                act()
        except Exception as error:  # The test reports it.
            failures.append(error)
            stop.set()

    thread = threading.Thread(target=loop)
    thread.start()
    return thread


def runs() -> list[tuple[int, int]]:
    if "CHANGES_SEED" not in os.environ:
        return [FIXED_RUN]
    return [FIXED_RUN, (int(os.environ["CHANGES_SEED"]), int(os.environ.get("CHANGES_COUNT", 400)))]


@pytest.mark.parametrize(("seed", "change_count"), runs())
def test_every_answer_is_a_state_of_the_archive_within_the_bound(samples, tmp_path, seed, change_count):
    generator = random.Random(seed)
    template = pydicom.dcmread(next(path for path in sorted(samples.rglob("*")) if path.is_file()))
    archive = Archive(Orthanc(tmp_path / "orthanc", OverwriteInstances=True), template, generator)
    cache = f'fresh_for = "{int(FRESH_FOR * 1000)}ms"\ndeep_check = "{int(DEEP_CHECK * 1000)}ms"\ndeep_check_old = "{int(DEEP_CHECK * 1000)}ms"'
    gateway = Gateway(tmp_path, "changing", archive.orthanc.dicomweb, cache=cache)
    log, failures, stop = [], [], threading.Event()
    observers = [Observer(name, gateway, archive, seed + index, log) for index, name in enumerate(("reader", "searcher", "elements", "syncer"))]
    reader, searcher, elements, syncer = observers
    try:
        threads = [
            run_until(stop, act, failures) for act in (reader.read, searcher.search, elements.read_instances_only, syncer.sync)]
        try:
            for _ in range(change_count):
                if stop.is_set():
                    break
                archive.random_change()
                time.sleep(generator.uniform(0, 0.5))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        if failures:
            raise failures[0]
        # After the bound, nothing has changed, and the copy is complete.
        time.sleep(DEEP_CHECK + FRESH_FOR)
        errors_before = syncer.errors
        syncer.sync()
        syncer.remove_deleted()
        assert syncer.errors == errors_before
        expected = {uid: archive.model.state(uid) for uid in archive.model.periods if archive.model.state(uid)}
        assert syncer.copy == expected
        states_by_version = {}
        for version, state in log:
            assert states_by_version.setdefault(version, state) == state, f"the version {version} has two contents"
        for observer in observers:
            print(f"{observer.name}: {observer.answers} answers, {observer.errors} errors, longest {observer.longest:.1f} s")
            assert observer.answers > 10
            assert observer.errors <= observer.answers, "most answers were errors"
    finally:
        gateway.stop()
        archive.orthanc.stop()


def test_the_change_feed_of_the_archive_is_followed(samples, tmp_path):
    """Without the feed, the corrections would not be seen for an hour."""
    template = pydicom.dcmread(next(path for path in sorted(samples.rglob("*")) if path.is_file()))
    archive = Archive(Orthanc(tmp_path / "orthanc", OverwriteInstances=True), template, random.Random(1))
    cache = 'fresh_for = "1h"\ndeep_check = "1h"\ndeep_check_old = "1h"'
    gateway = Gateway(tmp_path, "following", archive.orthanc.dicomweb, cache=cache, archive=f'rest_url = "{archive.orthanc.url}"')
    observer = Observer("observer", gateway, archive, 1, [])
    try:
        uid = "2.25.8000"
        archive.add(uid, "CHANGES-1", [(f"{uid}.1.1", 1), (f"{uid}.1.2", 2)])
        observer.sync()
        assert observer.copy == {uid: archive.model.state(uid)}
        # The gateway has asked for the last change when the following changes are made.
        deadline = time.monotonic() + 300
        number = 2
        while time.monotonic() < deadline:
            number += 1
            archive.add(uid, "CHANGES-1", [(f"{uid}.1.1", number)])
            time.sleep(5)
            seen = [instance["number"] for instance in observer.get(f"/ImagingStudy/{uid}")[0].json()["series"][0]["instance"]]
            if number in seen:
                break
        else:
            raise AssertionError("the correction was not seen")
        observer.check = lambda *_: None
        observer.sync()
        assert observer.copy == {uid: archive.model.state(uid)}
    finally:
        gateway.stop()
        archive.orthanc.stop()
