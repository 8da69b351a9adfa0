"""What the archive holds, read from the files themselves by pydicom: what every answer is compared with."""

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
    """Its files, in the order in which they were stored."""

    uid: str
    instances: dict[str, Dataset] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Study:
    """Its series, in the order in which they were stored."""

    uid: str
    series: dict[str, Series] = dataclasses.field(default_factory=dict)

    def datasets(self) -> list[Dataset]:
        return [dataset for series in self.series.values() for dataset in series.instances.values()]

    def values(self, keyword: str) -> set:
        """What the files say; None for those that say nothing."""
        return {text(dataset, keyword) for dataset in self.datasets()}

    def patient_ids(self) -> set:
        return self.values("PatientID")

    def patients(self) -> int:
        """Orthanc tells patients apart by their PatientID alone, none and empty being the same."""
        return len({identifier or "" for identifier in self.patient_ids()})


@dataclasses.dataclass
class Holdings:
    """Every study by its UID, and what became of the files."""

    studies: dict[str, Study]
    stored: int
    refused: list[str]
    contents: dict[str, bytes]

    def unambiguous(self) -> list[Study]:
        return [study for study in self.studies.values() if study.patients() == 1]

    def ambiguous(self) -> list[Study]:
        return [study for study in self.studies.values() if study.patients() > 1]


def text(dataset: Dataset, keyword: str) -> str | None:
    """The first value as text without blanks around; None when there is none."""
    value = dataset.get(keyword)
    if isinstance(value, (pydicom.multival.MultiValue, list, tuple)):
        value = next((one for one in value if str(one).strip()), None)
    stripped = "" if value is None else str(value).strip(" \0")
    return stripped or None


def real_files() -> list[pathlib.Path]:
    """Every file of pydicom and pydicom-data, in an order that does not change."""
    roots = [pathlib.Path(pydicom.__file__).parent / "data", pathlib.Path(data_store.__file__).parent / "data"]
    for root in roots:
        if not root.is_dir():
            raise FileNotFoundError(root)
    return [pathlib.Path(folder) / name for root in roots for folder, _, names in sorted(os.walk(root)) for name in sorted(names)]


def fill(orthanc: Orthanc, files: list[pathlib.Path]) -> Holdings:
    """Stores every file that is one for pydicom and that Orthanc takes."""
    holdings = Holdings({}, 0, [], {})
    with requests.Session() as session:
        for path in files:
            content = path.read_bytes()
            status = orthanc.store(session, content)
            if status == "AlreadyStored":
                continue
            if status != "Success":
                holdings.refused.append(path.name)
                continue
            dataset = pydicom.dcmread(io.BytesIO(content), force=True, stop_before_pixels=True)
            holdings.stored += 1
            holdings.contents[str(dataset.SOPInstanceUID)] = content
            study = holdings.studies.setdefault(str(dataset.StudyInstanceUID), Study(str(dataset.StudyInstanceUID)))
            series = study.series.setdefault(str(dataset.SeriesInstanceUID), Series(str(dataset.SeriesInstanceUID)))
            series.instances[str(dataset.SOPInstanceUID)] = dataset
    return holdings
