"""The files that the archive contains, read by pydicom: the reference for every response."""

import dataclasses
import io
import os
import pathlib

import data_store
import pydicom
import requests
from pydicom.dataset import Dataset

from servers import Orthanc


@dataclasses.dataclass
class Series:
    """A series with its files, in the order in which they were stored."""

    uid: str
    instances: dict[str, Dataset] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Study:
    """A study with its series, in the order in which they were stored."""

    uid: str
    series: dict[str, Series] = dataclasses.field(default_factory=dict)

    def datasets(self) -> list[Dataset]:
        return [dataset for series in self.series.values() for dataset in series.instances.values()]

    def values(self, keyword: str) -> set:
        """Returns the values of an element in the files; None for a file without a value."""
        return {text(dataset, keyword) for dataset in self.datasets()}

    def patient_ids(self) -> set:
        return self.values("PatientID")

    def patient_count(self) -> int:
        """Counts the patients as Orthanc does: by PatientID only, without distinguishing missing and empty values."""
        return len({identifier or "" for identifier in self.patient_ids()})


@dataclasses.dataclass
class Holdings:
    """The stored studies by UID, the number of stored files, the names of the rejected files, and the stored bytes by SOP Instance UID."""

    studies: dict[str, Study]
    stored_count: int
    rejected: list[str]
    contents: dict[str, bytes]

    def of_one_patient(self) -> list[Study]:
        return [study for study in self.studies.values() if study.patient_count() == 1]

    def of_several_patients(self) -> list[Study]:
        return [study for study in self.studies.values() if study.patient_count() > 1]


def text(dataset: Dataset, keyword: str) -> str | None:
    """Returns the first value as text without leading and trailing spaces; None if there is no value."""
    value = dataset.get(keyword)
    if isinstance(value, (pydicom.multival.MultiValue, list, tuple)):
        value = next((item for item in value if str(item).strip()), None)
    stripped = "" if value is None else str(value).strip(" \0")
    return stripped or None


def real_files() -> list[pathlib.Path]:
    """Returns every file of pydicom and pydicom-data, in a stable order."""
    roots = [pathlib.Path(pydicom.__file__).parent / "data", pathlib.Path(data_store.__file__).parent / "data"]
    for root in roots:
        if not root.is_dir():
            raise FileNotFoundError(root)
    return [pathlib.Path(folder) / name for root in roots for folder, _, names in sorted(os.walk(root)) for name in sorted(names)]


def fill(orthanc: Orthanc, files: list[pathlib.Path]) -> Holdings:
    """Stores every file that Orthanc accepts, and returns what it stored."""
    holdings = Holdings({}, 0, [], {})
    with requests.Session() as session:
        for path in files:
            content = path.read_bytes()
            status = orthanc.store(session, content)
            if status == "AlreadyStored":
                continue
            if status != "Success":
                holdings.rejected.append(path.name)
                continue
            dataset = pydicom.dcmread(io.BytesIO(content), force=True, stop_before_pixels=True)
            holdings.stored_count += 1
            holdings.contents[str(dataset.SOPInstanceUID)] = content
            study = holdings.studies.setdefault(str(dataset.StudyInstanceUID), Study(str(dataset.StudyInstanceUID)))
            series = study.series.setdefault(str(dataset.SeriesInstanceUID), Series(str(dataset.SeriesInstanceUID)))
            series.instances[str(dataset.SOPInstanceUID)] = dataset
    return holdings
