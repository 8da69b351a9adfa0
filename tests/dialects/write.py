#!/usr/bin/env python3
"""Writes exchanges.json of every dialect: what one small hospital's archive answers, in the manner of each brand.

    python3 tests/dialects/write.py

The hospital has three patients, P1, p1 and X2, and three studies: 1.2.1 (a CT and a report), 1.2.2 (dates as ACR-NEMA wrote
them, a series without a modality) and 1.2.3 (no date). The manner of each brand is told in its folder's README.md.
"""

import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
CT, SR, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.4"

STUDIES = [
    {"uid": "1.2.1", "id": "P1", "name": "Yamada^Tarou=山田^太郎=やまだ^たろう", "date": "20230805", "time": "101500", "zone": "+0900", "accession": "A1", "description": "CHEST CT",
     "series": [{"uid": "1.2.1.1", "modality": "CT", "class": CT, "count": 2, "body": "CHEST"}, {"uid": "1.2.1.2", "modality": "SR", "class": SR, "count": 1, "body": None}]},
    {"uid": "1.2.2", "id": "p1", "name": "Doe^Jane", "date": "1994.01.30", "time": "11:25:01", "zone": None, "accession": "", "description": None,
     "series": [{"uid": "1.2.2.1", "modality": None, "class": CT, "count": 1, "body": "HEAD"}]},
    {"uid": "1.2.3", "id": "X2", "name": "Иванов^Иван", "date": "", "time": "", "zone": None, "accession": "A3", "description": "KNEE",
     "series": [{"uid": "1.2.3.1", "modality": "MR", "class": MR, "count": 1, "body": "KNEE"}]},
]


class Brand:
    """How an ordinary archive writes; the others change what they do otherwise."""

    type = "application/dicom+json"
    counts = modalities = parents = description = True
    host = "http://inner.example:8042/dicom-web"

    def empty(self, vr):
        return {"vr": vr}

    def text(self, vr, value):
        return self.empty(vr) if value == "" else {"vr": vr, "Value": [value]}

    def number(self, value):
        return {"vr": "IS", "Value": [value]}

    def name(self, value):
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), value.split("="))
        return {"vr": "PN", "Value": [dict(groups)]}

    def url(self, path):
        return {"00081190": {"vr": "UR", "Value": [f"{self.host}{path}"]}}

    def study(self, study):
        row = {"00080020": self.text("DA", study["date"]), "00080030": self.text("TM", study["time"]), "00080050": self.text("SH", study["accession"]),
               "00100010": self.name(study["name"]), "00100020": self.text("LO", study["id"]), "0020000D": self.text("UI", study["uid"])}
        if study["zone"]:
            row["00080201"] = self.text("SH", study["zone"])
        if self.description and study["description"]:
            row["00081030"] = self.text("LO", study["description"])
        if self.modalities:
            found = [series["modality"] for series in study["series"] if series["modality"]]
            row["00080061"] = {"vr": "CS", "Value": found} if found else self.empty("CS")
        if self.counts:
            row["00201206"] = self.number(len(study["series"]))
            row["00201208"] = self.number(sum(series["count"] for series in study["series"]))
        return row | self.url(f"/studies/{study['uid']}")

    def series(self, study, series):
        row = {"0020000E": self.text("UI", series["uid"]), "00200011": self.number(int(series["uid"][-1]))}
        if series["modality"]:
            row["00080060"] = self.text("CS", series["modality"])
        if self.parents:
            row["0020000D"] = self.text("UI", study["uid"])
        if self.counts:
            row["00201209"] = self.number(series["count"])
        return row | self.url(f"/studies/{study['uid']}/series/{series['uid']}")

    def instance(self, study, series, number):
        return {"00080016": self.text("UI", series["class"]), "00080018": self.text("UI", f"{series['uid']}.{number}"), "00200013": self.number(number)} | (
            {"0020000D": self.text("UI", study["uid"]), "0020000E": self.text("UI", series["uid"])} if self.parents else {})

    def metadata(self, study, series, number):
        row = self.study(study) | self.series(study, series) | self.instance(study, series, number)
        row = {tag: element for tag, element in row.items() if tag not in ("00081190", "00080061", "00201206", "00201208", "00201209")}
        row |= {"0020000D": self.text("UI", study["uid"]), "0020000E": self.text("UI", series["uid"]), "00080005": self.text("CS", "ISO_IR 192")}
        if series["body"]:
            row["00180015"] = self.text("CS", series["body"])
        row["7FE00010"] = {"vr": "OW", "BulkDataURI": f"{self.host}/studies/{study['uid']}/series/{series['uid']}/instances/{series['uid']}.{number}/bulk/7fe00010"}
        return row

    def answer(self, path, body, when=None, status=200, **other):
        return {"path": path, **({"when": when} if when else {}), "status": status, "type": self.type, "body": body, **other}

    def instances_of(self, study, series, write):
        return [write(study, series, number) for number in range(1, series["count"] + 1)]

    def searches(self):
        """Studies by what can be asked for; a second page is empty."""
        rows = {study["uid"]: self.study(study) for study in STUDIES}
        yield self.answer("/studies", [], when={"offset": "*"})
        for study in STUDIES:
            yield self.answer("/studies", [rows[study["uid"]]], when={"StudyInstanceUID": study["uid"]})
            same = [rows[other["uid"]] for other in STUDIES if other["id"].lower() == study["id"].lower()]
            yield self.answer("/studies", same, when={"PatientID": study["id"]})
            if study["accession"]:
                yield self.answer("/studies", [rows[study["uid"]]], when={"AccessionNumber": study["accession"]})
        for key in ("StudyInstanceUID", "PatientID", "AccessionNumber", "StudyID"):
            yield self.answer("/studies", [], when={key: "*"})
        yield self.answer("/studies", list(rows.values()))

    def below(self):
        for study in STUDIES:
            path = f"/studies/{study['uid']}/series"
            yield self.answer(path, [], when={"offset": "*"})
            yield self.answer(path, [self.series(study, series) for series in study["series"]])
            for series in study["series"]:
                yield self.answer(f"{path}/{series['uid']}/instances", [], when={"offset": "*"})
                yield self.answer(f"{path}/{series['uid']}/instances", self.instances_of(study, series, self.instance))
                yield from self.details(study, series, f"{path}/{series['uid']}/metadata")

    def details(self, study, series, path):
        yield self.answer(path, self.instances_of(study, series, self.metadata))

    def exchanges(self):
        return [*self.searches(), *self.below()]


class Orthanc(Brand):
    description = False

    def text(self, vr, value):
        return super().text(vr, value)


class OrthancBookworm(Orthanc):
    """QIDO is forced to Latin-1: what that cannot hold is lost; metadata are right."""

    def study(self, study):
        row = super().study(study)
        row["00080005"] = self.text("CS", "ISO_IR 100")
        lost = "=".join(group if group.isascii() else "^" for group in study["name"].split("="))
        row["00100010"] = self.name(lost)
        return row

    def metadata(self, study, series, number):
        return super().metadata(study, series, number) | {"00100010": self.name(study["name"])}


class OrthancTrixie(Orthanc):
    """Decimal strings are strings; a modality at study level finds a study by some arbitrary instance."""

    def instance(self, study, series, number):
        return super().instance(study, series, number) | {"00280008": {"vr": "IS", "Value": []}}


class OrthancSid(OrthancTrixie):
    """The same, and padded values."""

    def metadata(self, study, series, number):
        row = super().metadata(study, series, number)
        row["00080008"] = {"vr": "CS", "Value": ["DERIVED ", None]}
        return row


class DicomRst(Brand):
    """Integers are padded strings, names are not split, rows leave their parents out, metadata come for the whole study."""

    type = "application/json"
    parents = False

    def number(self, value):
        return {"vr": "IS", "Value": [f"{value} "]}

    def name(self, value):
        return {"vr": "PN", "Value": [{"Alphabetic": value}]}

    def url(self, path):
        return {"00081190": {"vr": "UR"}}

    def details(self, study, series, path):
        whole = [row for other in study["series"] for row in self.instances_of(study, other, self.metadata)]
        for row in whole:
            row.pop("7FE00010")
        yield self.answer(path, whole)


class DicomRstDcmqrscp(DicomRst):
    """No counts, no modalities in study, no SOP class in rows of instances; modality keys are ignored."""

    counts = modalities = description = False

    def instance(self, study, series, number):
        row = super().instance(study, series, number)
        del row["00080016"]
        return row

    def metadata(self, study, series, number):
        return super().metadata(study, series, number) | {"00080016": self.text("UI", series["class"])}


class DicomRstPynetdicom(DicomRst):
    """A row for each instance at every level, kanji replaced, unknown keys ignored."""

    counts = modalities = description = False

    def name(self, value):
        return super().name(value.encode("ascii", "replace").decode())

    def repeated(self, study):
        return [self.study(study)] * sum(series["count"] for series in study["series"])

    def searches(self):
        everybody = [row for study in STUDIES for row in self.repeated(study)]
        yield self.answer("/studies", [], when={"offset": "*"})
        yield self.answer("/studies", everybody)


class StaticDicomweb(Brand):
    """Everybody, whatever is asked for and on every page; empty values; gzip that is not asked for; 404 as HTML."""

    type = "application/json; charset=utf-8"

    def empty(self, vr):
        return {"vr": vr, "Value": []}

    def url(self, path):
        return {}

    def study(self, study):
        return super().study(study) | {"00090010": {"vr": "CS", "Value": ["dedupped"]}, "00091011": {"vr": "OB", "Value": ["0123abcd"]}}

    def metadata(self, study, series, number):
        return super().metadata(study, series, number) | {"7FE00010": {"vr": "OW", "BulkDataURI": "./frames"}}

    def searches(self):
        yield self.answer("/studies", [self.study(study) for study in STUDIES], encoding="gzip")

    def below(self):
        for study in STUDIES:
            path = f"/studies/{study['uid']}/series"
            yield self.answer(path, [self.series(study, series) for series in study["series"]], encoding="gzip")
            for series in study["series"]:
                yield self.answer(f"{path}/{series['uid']}/metadata", self.instances_of(study, series, self.metadata), encoding="undeclared gzip")

    def exchanges(self):
        page = {"path": "*", "status": 404, "type": "text/html", "text": "<html>Cannot GET</html>"}
        return [*super().exchanges(), page]


class DicomwebProxy(Brand):
    """Errors as 200 with "500", unknown routes as its web page, repeated keys ignored, rows of instances without numbers."""

    def text(self, vr, value):
        return {"vr": vr, "Value": [value] if value else []}

    def name(self, value):
        return {"vr": "PN", "Value": [{"Alphabetic": value}]}

    def instance(self, study, series, number):
        row = super().instance(study, series, number)
        del row["00200013"]
        return row

    def details(self, study, series, path):
        yield {"path": path, "status": 200, "type": "text/html", "text": "<!doctype html><title>viewer</title>"}

    def exchanges(self):
        return [*super().exchanges(), {"path": "*", "status": 200, "type": "text/html", "text": "<!doctype html><title>viewer</title>"}]


class Google(Brand):
    """No match is 204; file meta information in metadata; bulk data on a third host."""

    type = "application/dicom+json; charset=utf-8"
    host = "https://healthcare.example.com/v1/dicomWeb"

    def metadata(self, study, series, number):
        return super().metadata(study, series, number) | {"00020010": self.text("UI", "1.2.840.10008.1.2.1")}

    def answer(self, path, body, when=None, status=200, **other):
        if body == []:
            return {"path": path, **({"when": when} if when else {}), "status": 204, "type": self.type, "text": ""}
        return super().answer(path, body, when, status, **other)


DIALECTS = {
    "orthanc-1.10": OrthancBookworm, "orthanc-1.12": OrthancTrixie, "orthanc-1.13": OrthancSid, "dicom-rst": DicomRst,
    "dicom-rst-dcmqrscp": DicomRstDcmqrscp, "dicom-rst-pynetdicom": DicomRstPynetdicom, "static-dicomweb": StaticDicomweb,
    "dicomweb-proxy": DicomwebProxy, "google": Google,
}

for name, brand in DIALECTS.items():
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    exchanges = brand().exchanges()
    lines = ",\n".join(json.dumps(exchange, ensure_ascii=False) for exchange in exchanges)
    (folder / "exchanges.json").write_text(f"[\n{lines}\n]\n")
