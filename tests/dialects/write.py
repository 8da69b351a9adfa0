#!/usr/bin/env python3
"""Writes exchanges.json and expect.json of every dialect: the responses of each archive product for the same small set of studies,
and the responses that clients of the gateway must get with every product.

    python3 tests/dialects/write.py

The README.md of each folder describes the product.
"""

import json
import pathlib
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
CT, SR, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.4"
YAMADA = "Yamada^Tarou=山田^太郎=やまだ^たろう"


def series(uid, modality, sop_class, count, body=None):
    return {"uid": uid, "modality": modality, "class": sop_class, "count": count, "body": body}


# Patients that inexact matching confuses: P1, p1 and P10; similar accession numbers. 1.2.2 has dates in the format of ACR-NEMA and a
# series without a modality, 1.2.3 has no date, 1.2.4 has padded values.
STUDIES = [
    {"uid": "1.2.1", "id": "P1", "name": YAMADA, "date": "20230805", "time": "101500", "zone": "+0900", "accession": "A1", "description": "CHEST CT",
     "series": [series("1.2.1.1", "CT", CT, 2, "CHEST"), series("1.2.1.2", "SR", SR, 1)]},
    {"uid": "1.2.2", "id": "p1", "name": "Doe^Jane", "date": "1994.01.30", "time": "11:25:01", "zone": None, "accession": "", "description": None,
     "series": [series("1.2.2.1", None, CT, 1, "HEAD")]},
    {"uid": "1.2.3", "id": "X2", "name": "Иванов^Иван", "date": "", "time": "", "zone": None, "accession": "A3", "description": "KNEE",
     "series": [series("1.2.3.1", "MR", MR, 1, "KNEE")]},
    {"uid": "1.2.4", "id": "P1", "name": YAMADA, "date": "20240131", "time": "165447.788280 ", "zone": "+0900", "accession": "A4 ", "description": "ABDOMEN ",
     "series": [series("1.2.4.1", "CT", CT, 8, "ABDOMEN"), series("1.2.4.2", "CT", CT, 3, "ABDOMEN "), series("1.2.4.3", "SR", SR, 1)]},
    {"uid": "1.2.5", "id": "P10", "name": "Doe^John", "date": "20240201", "time": "0830", "zone": None, "accession": "a1", "description": None,
     "series": [series("1.2.5.1", "MR", MR, 1, "HEAD")]},
]
UIDS = [study["uid"] for study in STUDIES]

# The queries for studies that the gateway may send; a value in braces may be part of a longer value.
QUERIES = [
    *(("StudyInstanceUID", uid) for uid in UIDS), ("StudyInstanceUID", "1.2.1,1.2.3"),
    *(("PatientID", value) for value in ("P1", "p1", "X2", "P10", "P*")),
    *(("AccessionNumber", value) for value in ("A1", "a1")),
    ("StudyDate", {"holds": "2023"}), ("ModalitiesInStudy", "SR"),
]


def modalities(study):
    return [modality for modality in dict.fromkeys(series["modality"] for series in study["series"]) if modality]


class Product:
    """The responses of an ordinary archive; subclasses override the differences."""

    type = "application/dicom+json"
    counts = modalities = parents = description = True
    uid_lists = True
    ignored = ()
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
            found = modalities(study)
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
        if study["description"]:
            row["00081030"] = self.text("LO", study["description"])
        if series["body"]:
            row["00180015"] = self.text("CS", series["body"])
        row["7FE00010"] = {"vr": "OW", "BulkDataURI": f"{self.host}/studies/{study['uid']}/series/{series['uid']}/instances/{series['uid']}.{number}/bulk/7fe00010"}
        return row

    def answer(self, path, body, when=None, status=200, **other):
        return {"path": path, **({"when": when} if when else {}), "status": status, "type": self.type, "body": body, **other}

    def instances_of(self, study, series, write):
        return [write(study, series, number) for number in range(1, series["count"] + 1)]

    def finds(self, study, key, value):
        """Case-insensitive matching with `*` and lists as operators, like most archives."""
        if key in self.ignored:
            return True
        if key == "StudyInstanceUID":
            return study["uid"] in value.split(",") if self.uid_lists else study["uid"] == value
        if key == "StudyDate":
            return study["date"].startswith("2023")
        if key == "ModalitiesInStudy":
            return value in modalities(study)
        held = study["id" if key == "PatientID" else "accession"].strip().lower()
        return held.startswith(value[:-1].lower()) if value.endswith("*") else held == value.lower()

    def searches(self):
        """Searches for studies by every query; a second page is empty."""
        yield self.answer("/studies", [], when={"offset": "*"})
        for key, value in QUERIES:
            yield self.answer("/studies", self.rows(study for study in STUDIES if self.finds(study, key, value)), when={key: value})
        for key in ("StudyInstanceUID", "PatientID", "AccessionNumber", "StudyID"):
            if key not in self.ignored:
                yield self.answer("/studies", [], when={key: "*"})
        yield self.answer("/studies", self.rows(STUDIES))

    def rows(self, studies):
        return [self.study(study) for study in studies]

    def series_rows(self, study):
        return [self.series(study, series) for series in study["series"]]

    def below(self):
        for study in STUDIES:
            path = f"/studies/{study['uid']}/series"
            yield self.answer(path, [], when={"offset": "*"})
            yield self.answer(path, self.series_rows(study))
            for series in study["series"]:
                yield self.answer(f"{path}/{series['uid']}/instances", [], when={"offset": "*"})
                yield self.answer(f"{path}/{series['uid']}/instances", self.instances_of(study, series, self.instance))
                yield from self.details(study, series, f"{path}/{series['uid']}/metadata")

    def details(self, study, series, path):
        yield self.answer(path, self.instances_of(study, series, self.metadata))

    def series_of_all(self):
        """The series of all studies, which are queried with a list of Study Instance UIDs."""
        rows = [row for study in STUDIES for row in self.series_rows(study)]
        yield self.answer("/series", [], when={"offset": "*"})
        yield self.answer("/series", rows, when={"StudyInstanceUID": {"holds": ","}})

    def exchanges(self):
        return [*self.searches(), *(self.series_of_all() if self.uid_lists else ()), *self.below()]


class Orthanc(Product):
    """StudyDescription only if it is requested; errors as JSON with media type text/plain, with URLs."""

    def searches(self):
        """Every response twice: with and without a requested StudyDescription."""
        for answer in super().searches():
            yield answer | {"when": answer.get("when", {}) | {"includefield": {"holds": "00081030"}}}
            bare = [{tag: element for tag, element in row.items() if tag != "00081030"} for row in answer["body"]]
            yield answer | {"body": bare}

    def exchanges(self):
        error = {"HttpError": "Not Found", "Uri": f"{self.host}/studies/1.2.9", "Details": "Doe^Jane"}
        return [*super().exchanges(), {"path": "*", "status": 404, "type": "text/plain", "text": json.dumps(error)}]


class OrthancBookworm(Orthanc):
    """QIDO-RS in Latin-1, which loses other characters; metadata is correct."""

    def study(self, study):
        row = super().study(study)
        row["00080005"] = self.text("CS", "ISO_IR 100")
        lost = "=".join(group if group.isascii() else "^" for group in study["name"].split("="))
        row["00100010"] = self.name(lost)
        return row

    def metadata(self, study, series, number):
        return super().metadata(study, series, number) | {"00100010": self.name(study["name"])}


class OrthancTrixie(Orthanc):
    """NumberOfFrames with an empty Value array."""

    def instance(self, study, series, number):
        return super().instance(study, series, number) | {"00280008": {"vr": "IS", "Value": []}}


class OrthancSid(OrthancTrixie):
    """The same, with padded code strings."""

    def metadata(self, study, series, number):
        row = super().metadata(study, series, number)
        row["00080008"] = {"vr": "CS", "Value": ["DERIVED ", None]}
        return row


class DicomRst(Product):
    """Integers as padded strings, names not split, rows without the UIDs of study and series, metadata of the whole study."""

    type = "application/json"
    parents = uid_lists = False

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

    def exchanges(self):
        rejection = {"path": "*", "when": {"includefield": "repeated"}, "status": 400, "type": "text/plain", "text": "duplicate field `includefield`"}
        unknown = {"path": "*", "status": 500, "type": "text/plain", "text": "Sub-operation failed"}
        return [rejection, *super().exchanges(), unknown]


class DicomRstDcmqrscp(DicomRst):
    """No counts, no ModalitiesInStudy, no SOPClassUID in rows of instances; ModalitiesInStudy is ignored as a key."""

    counts = modalities = description = False
    ignored = ("ModalitiesInStudy",)

    def finds(self, study, key, value):
        """Case-sensitive matching."""
        exact = {"PatientID": study["id"], "AccessionNumber": study["accession"].strip()}.get(key)
        return super().finds(study, key, value) and (exact is None or value.endswith("*") or exact == value)

    def instance(self, study, series, number):
        row = super().instance(study, series, number)
        del row["00080016"]
        return row

    def metadata(self, study, series, number):
        return super().metadata(study, series, number) | {"00080016": self.text("UI", series["class"])}


class DicomRstPynetdicom(DicomRst):
    """One row per instance at every level, non-ASCII characters replaced, unsupported keys ignored."""

    counts = modalities = description = False

    def name(self, value):
        return super().name(value.encode("ascii", "replace").decode())

    ignored = ("ModalitiesInStudy", "StudyDate", "StudyID")

    def rows(self, studies):
        return [row for study in studies for row in [self.study(study)] * sum(series["count"] for series in study["series"])]

    def series_rows(self, study):
        """One row per instance."""
        return [self.series(study, series) for series in study["series"] for _ in range(series["count"])]


class StaticDicomweb(Product):
    """All studies for unsupported keys and on every page; empty values; unrequested gzip; 404 as HTML."""

    type = "application/json; charset=utf-8"

    def empty(self, vr):
        return {"vr": vr, "Value": []}

    def url(self, path):
        return {}

    def study(self, study):
        return super().study(study) | {"00090010": {"vr": "CS", "Value": ["dedupped"]}, "00091011": {"vr": "OB", "Value": ["0123abcd"]}}

    def metadata(self, study, series, number):
        return super().metadata(study, series, number) | {"7FE00010": {"vr": "OW", "BulkDataURI": "./frames"}}

    ignored = ("ModalitiesInStudy", "StudyID")

    def finds(self, study, key, value):
        """An empty attribute matches every value."""
        empty = {"StudyDate": study["date"], "AccessionNumber": study["accession"]}.get(key) == ""
        return empty or super().finds(study, key, value)

    def searches(self):
        yield from ({**answer, "encoding": "gzip"} for answer in super().searches() if "offset" not in answer.get("when", {}))

    def series_of_all(self):
        """Not supported."""
        return ()

    def below(self):
        for study in STUDIES:
            path = f"/studies/{study['uid']}/series"
            yield self.answer(path, self.series_rows(study), encoding="gzip")
            for series in study["series"]:
                every = self.instances_of(study, series, self.metadata)
                yield self.answer(f"{path}/{series['uid']}/metadata", every, encoding="gzip")
                one = self.answer(f"{path}/{series['uid']}/instances/{series['uid']}.1/metadata", every[:1], encoding="undeclared gzip")
                yield one | {"type": "application/gzip"}

    def exchanges(self):
        page = {"path": "*", "status": 404, "type": "text/html", "text": "<html>Cannot GET</html>"}
        return [*super().exchanges(), page]


class DicomwebProxy(Product):
    """Errors as 200 with "500", unknown routes as its HTML page, rows of instances without InstanceNumber, a wildcard after every
    value, names in UTF-8 decoded as Latin-1 and encoded again as UTF-8."""

    uid_lists = False
    page = {"status": 200, "type": "text/html", "text": "<!doctype html><title>viewer</title>"}

    def empty(self, vr):
        return {"vr": vr, "Value": []}

    def name(self, value):
        return {"vr": "PN", "Value": [{"Alphabetic": value.encode().decode("latin-1")}]}

    def finds(self, study, key, value):
        whole = key in ("StudyInstanceUID", "StudyDate", "ModalitiesInStudy")
        return super().finds(study, key, value if whole or value.endswith("*") else f"{value}*")

    def instance(self, study, series, number):
        row = super().instance(study, series, number)
        del row["00200013"]
        return row

    def details(self, study, series, path):
        yield {"path": path, **self.page}

    def exchanges(self):
        error = {"path": "*", "when": {"includefield": "repeated"}, "status": 200, "type": "application/json", "text": "500"}
        of_studies = [self.answer(f"/studies/{study['uid']}/metadata", self.series_rows(study)) for study in STUDIES]
        return [error, *super().exchanges(), *of_studies, {"path": "*", **self.page}]


class Google(Product):
    """204 without matches; file meta information in metadata; bulk data on another host."""

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



def search(query, uids, resource="ImagingStudy", **values):
    expected = {"get": f"/fhir/{resource}?{query}", "status": 200}
    return expected | ({"ids": uids} if uids is not None else {}) | ({"values": values} if values else {})


def read(product, study, from_rows):
    """The study that a client must get. `from_rows`: it is assembled from QIDO-RS rows only."""
    counted = sum(series["count"] for series in study["series"])
    values = {"/id": study["uid"], "/numberOfSeries": len(study["series"]), "/numberOfInstances": counted, "/subject/identifier/value": study["id"],
              "/started": STARTED[study["uid"]], "/description": study["description"] and study["description"].strip()}
    if from_rows and not product.description:
        values["/description"] = None
    for place, series in enumerate(study["series"]):
        values |= {f"/series/{place}/uid": series["uid"], f"/series/{place}/numberOfInstances": series["count"],
                   f"/series/{place}/instance/{series['count']}": None,
                   f"/series/{place}/instance/0/sopClass/code": f"urn:oid:{series['class']}"}
        if series["modality"]:
            values[f"/series/{place}/modality/code"] = series["modality"]
        else:
            values[f"/series/{place}/modality/extension/0/valueCode"] = "unknown"
        if series["body"] and not from_rows:
            values[f"/series/{place}/bodySite/code"] = BODIES[series["body"].strip()]
        uids = [f"{series['uid']}.{number}" for number in range(1, series["count"] + 1)]
        values |= {f"/series/{place}/instance/{index}/uid": uid for index, uid in enumerate(uids)}
    return {"get": f"/fhir/ImagingStudy/{study['uid']}", "status": 200, "values": values}


BODIES = {"CHEST": "816094009", "HEAD": "69536005", "KNEE": "72696002", "ABDOMEN": "818981001"}
STARTED = {"1.2.1": "2023-08-05T10:15:00+09:00", "1.2.2": "1994-01-30", "1.2.3": None, "1.2.4": "2024-01-31T16:54:47.788280+09:00", "1.2.5": "2024-02-01"}


def expectations(name, product):
    total = {"/total": 5}
    yield search("_elements=id", UIDS, **total)
    for patient in ("P1", "p1", "X2", "P10", "P*", "nobody"):
        uids = [study["uid"] for study in STUDIES if study["id"] == patient]
        yield search(f"patient.identifier={urllib.parse.quote(patient)}&_elements=id", uids, **{"/total": len(uids)}) | {"unasked": ["PatientID=*"]}
    yield search("identifier=A1&_elements=id", ["1.2.1"])
    yield search("identifier=a1&_elements=id", ["1.2.5"])
    yield search("identifier=urn:dicom:uid%7Curn:oid:1.2.3&_elements=id", ["1.2.3"])
    yield search("_id=1.2.1,1.2.3&_elements=id", ["1.2.1", "1.2.3"])
    yield search("started=2023&_elements=id", ["1.2.1"])
    yield search("modality=SR&_elements=id", ["1.2.1", "1.2.4"])
    # The newest studies first, with their series, which are queried by lists of UIDs only if the product supports them.
    page = {f"/entry/{place}/resource/series/{last}/uid": f"{uid}.{last + 1}" for place, (uid, last) in enumerate((("1.2.5", 0), ("1.2.4", 2), ("1.2.1", 1)))}
    yield search("_count=5", UIDS, **total, **page) | ({} if product.uid_lists else {"unasked": ["/dicom-web/series"]})
    yield {"get": "/fhir/ImagingStudy/1.2.9", "status": 404, "values": {"/resourceType": "OperationOutcome"}}
    from_rows = name in ("dicom-rst", "dicom-rst-pynetdicom", "dicomweb-proxy")
    for study in STUDIES:
        # A metadata request makes this product retrieve all pixel data.
        yield read(product, study, from_rows) | ({"unasked": ["/metadata"]} if name == "dicom-rst" else {})
    yield search("identifier=P1", None, "Patient", **{"/total": 1, "/entry/0/resource/identifier/0/value": "P1"})
    yield search("identifier=p1", None, "Patient", **{"/total": 1, "/entry/0/resource/identifier/0/value": "p1"})
    if name not in ("orthanc-1.10", "dicom-rst-pynetdicom", "dicomweb-proxy"):
        yield search("identifier=X2", None, "Patient", **{"/total": 1, "/entry/0/resource/name/0/family": "Иванов"})
        kanji = {"/total": 1, "/entry/0/resource/name/1/family": "山田", "/entry/0/resource/name/1/extension/0/valueCode": "IDE"}
        yield search(f"name={urllib.parse.quote('山田')}", None, "Patient", **kanji)
    series = "/dicom-web/main/studies/1.2.1/series/1.2.1.1"
    if name == "dicomweb-proxy":
        yield {"get": f"{series}/metadata", "status": 502}
    else:
        yield {"get": f"{series}/metadata", "status": 200, "values": {"/0/00080018/Value/0": "1.2.1.1.1", "/0/0020000D/Value/0": "1.2.1"}}
    if name == "static-dicomweb":
        yield {"get": f"{series}/instances/1.2.1.1.1/metadata", "status": 200, "values": {"/0/00080018/Value/0": "1.2.1.1.1", "/1": None}}


def write(path, entries):
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    path.write_text(f"[\n{lines}\n]\n")


for name, product in DIALECTS.items():
    write(HERE / name / "exchanges.json", product().exchanges())
    write(HERE / name / "expect.json", expectations(name, product))
