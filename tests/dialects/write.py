#!/usr/bin/env python3
"""Writes exchanges.json and expect.json for every archive product. exchanges.json contains the responses of the product for a small
set of studies, which is the same for all products; expect.json contains the responses of the gateway that clients expect.

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


# Inexact matching confuses the Patient IDs P1, p1 and P10, and the Accession Numbers A1 and a1. Study 1.2.2 has a date in the format
# of ACR-NEMA and a series without a modality, 1.2.3 has no date, and 1.2.4 has padded values.
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

# The matching keys that the gateway may send in searches for studies, and their values. {"contains": text} is any value that
# contains the text.
QUERIES = [
    *(("StudyInstanceUID", uid) for uid in UIDS), ("StudyInstanceUID", "1.2.1,1.2.3"),
    *(("PatientID", value) for value in ("P1", "p1", "X2", "P10", "P*")),
    *(("AccessionNumber", value) for value in ("A1", "a1")),
    ("StudyDate", {"contains": "2023"}), ("ModalitiesInStudy", "SR"),
]


def modalities(study):
    return [modality for modality in dict.fromkeys(series["modality"] for series in study["series"]) if modality]


class Product:
    """The responses of an archive that follows the standard. Subclasses override the differences of their product."""

    content_type = "application/dicom+json"
    has_counts = has_modalities = has_parent_uids = has_description = True
    supports_uid_lists = True
    ignored_keys = ()
    base_url = "http://inner.example:8042/dicom-web"

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
        return {"00081190": {"vr": "UR", "Value": [f"{self.base_url}{path}"]}}

    def study(self, study):
        row = {"00080020": self.text("DA", study["date"]), "00080030": self.text("TM", study["time"]), "00080050": self.text("SH", study["accession"]),
               "00100010": self.name(study["name"]), "00100020": self.text("LO", study["id"]), "0020000D": self.text("UI", study["uid"])}
        if study["zone"]:
            row["00080201"] = self.text("SH", study["zone"])
        if self.has_description and study["description"]:
            row["00081030"] = self.text("LO", study["description"])
        if self.has_modalities:
            values = modalities(study)
            row["00080061"] = {"vr": "CS", "Value": values} if values else self.empty("CS")
        if self.has_counts:
            row["00201206"] = self.number(len(study["series"]))
            row["00201208"] = self.number(sum(series["count"] for series in study["series"]))
        return row | self.url(f"/studies/{study['uid']}")

    def series(self, study, series):
        row = {"0020000E": self.text("UI", series["uid"]), "00200011": self.number(int(series["uid"][-1]))}
        if series["modality"]:
            row["00080060"] = self.text("CS", series["modality"])
        if self.has_parent_uids:
            row["0020000D"] = self.text("UI", study["uid"])
        if self.has_counts:
            row["00201209"] = self.number(series["count"])
        return row | self.url(f"/studies/{study['uid']}/series/{series['uid']}")

    def instance(self, study, series, number):
        return {"00080016": self.text("UI", series["class"]), "00080018": self.text("UI", f"{series['uid']}.{number}"), "00200013": self.number(number)} | (
            {"0020000D": self.text("UI", study["uid"]), "0020000E": self.text("UI", series["uid"])} if self.has_parent_uids else {})

    def metadata(self, study, series, number):
        row = self.study(study) | self.series(study, series) | self.instance(study, series, number)
        row = {tag: element for tag, element in row.items() if tag not in ("00081190", "00080061", "00201206", "00201208", "00201209")}
        row |= {"0020000D": self.text("UI", study["uid"]), "0020000E": self.text("UI", series["uid"]), "00080005": self.text("CS", "ISO_IR 192")}
        if study["description"]:
            row["00081030"] = self.text("LO", study["description"])
        if series["body"]:
            row["00180015"] = self.text("CS", series["body"])
        row["7FE00010"] = {"vr": "OW", "BulkDataURI": f"{self.base_url}/studies/{study['uid']}/series/{series['uid']}/instances/{series['uid']}.{number}/bulk/7fe00010"}
        return row

    def response(self, path, body, query=None, status=200, **members):
        return {"path": path, **({"query": query} if query else {}), "status": status, "type": self.content_type, "body": body, **members}

    def instances_of(self, study, series, write):
        return [write(study, series, number) for number in range(1, series["count"] + 1)]

    def matches(self, study, key, value):
        """Whether the study matches: case-insensitive, with `*` as a wildcard and with lists of UIDs, as in most archives."""
        if key in self.ignored_keys:
            return True
        if key == "StudyInstanceUID":
            return study["uid"] in value.split(",") if self.supports_uid_lists else study["uid"] == value
        if key == "StudyDate":
            return study["date"].startswith("2023")
        if key == "ModalitiesInStudy":
            return value in modalities(study)
        attribute = study["id" if key == "PatientID" else "accession"].strip().lower()
        return attribute.startswith(value[:-1].lower()) if value.endswith("*") else attribute == value.lower()

    def searches(self):
        """The responses to searches for studies by every matching key. The second page is empty."""
        yield self.response("/studies", [], query={"offset": "*"})
        for key, value in QUERIES:
            yield self.response("/studies", self.rows(study for study in STUDIES if self.matches(study, key, value)), query={key: value})
        for key in ("StudyInstanceUID", "PatientID", "AccessionNumber", "StudyID"):
            if key not in self.ignored_keys:
                yield self.response("/studies", [], query={key: "*"})
        yield self.response("/studies", self.rows(STUDIES))

    def rows(self, studies):
        return [self.study(study) for study in studies]

    def series_rows(self, study):
        return [self.series(study, series) for series in study["series"]]

    def levels_below_study(self):
        for study in STUDIES:
            path = f"/studies/{study['uid']}/series"
            yield self.response(path, [], query={"offset": "*"})
            yield self.response(path, self.series_rows(study))
            for series in study["series"]:
                yield self.response(f"{path}/{series['uid']}/instances", [], query={"offset": "*"})
                yield self.response(f"{path}/{series['uid']}/instances", self.instances_of(study, series, self.instance))
                yield from self.series_metadata(study, series, f"{path}/{series['uid']}/metadata")

    def series_metadata(self, study, series, path):
        yield self.response(path, self.instances_of(study, series, self.metadata))

    def series_of_all_studies(self):
        """The responses to searches for the series of all studies by a list of Study Instance UIDs."""
        rows = [row for study in STUDIES for row in self.series_rows(study)]
        yield self.response("/series", [], query={"offset": "*"})
        yield self.response("/series", rows, query={"StudyInstanceUID": {"contains": ","}})

    def exchanges(self):
        return [*self.searches(), *(self.series_of_all_studies() if self.supports_uid_lists else ()), *self.levels_below_study()]


class Orthanc(Product):
    """Returns StudyDescription only if it is requested, and errors as JSON with media type text/plain and with URLs."""

    def searches(self):
        """Each response occurs twice: for requests with StudyDescription in includefield, and for others."""
        for response in super().searches():
            yield response | {"query": response.get("query", {}) | {"includefield": {"contains": "00081030"}}}
            rows = [{tag: element for tag, element in row.items() if tag != "00081030"} for row in response["body"]]
            yield response | {"body": rows}

    def exchanges(self):
        error = {"HttpError": "Not Found", "Uri": f"{self.base_url}/studies/1.2.9", "Details": "Doe^Jane"}
        return [*super().exchanges(), {"path": "*", "status": 404, "type": "text/plain", "text": json.dumps(error)}]


class OrthancBookworm(Orthanc):
    """Encodes rows of studies in Latin-1, which replaces names in other scripts. Metadata is correct."""

    def study(self, study):
        row = super().study(study)
        row["00080005"] = self.text("CS", "ISO_IR 100")
        latin_name = "=".join(group if group.isascii() else "^" for group in study["name"].split("="))
        row["00100010"] = self.name(latin_name)
        return row

    def metadata(self, study, series, number):
        return super().metadata(study, series, number) | {"00100010": self.name(study["name"])}


class OrthancTrixie(Orthanc):
    """Returns NumberOfFrames with an empty Value array."""

    def instance(self, study, series, number):
        return super().instance(study, series, number) | {"00280008": {"vr": "IS", "Value": []}}


class OrthancSid(OrthancTrixie):
    """Differs from OrthancTrixie in padded code strings."""

    def metadata(self, study, series, number):
        row = super().metadata(study, series, number)
        row["00080008"] = {"vr": "CS", "Value": ["DERIVED ", None]}
        return row


class DicomRst(Product):
    """Returns integers as padded strings, names without component groups, rows without the UIDs of study and series, and the metadata of
    the whole study for each series."""

    content_type = "application/json"
    has_parent_uids = supports_uid_lists = False

    def number(self, value):
        return {"vr": "IS", "Value": [f"{value} "]}

    def name(self, value):
        return {"vr": "PN", "Value": [{"Alphabetic": value}]}

    def url(self, path):
        return {"00081190": {"vr": "UR"}}

    def series_metadata(self, study, series, path):
        rows = [row for other in study["series"] for row in self.instances_of(study, other, self.metadata)]
        for row in rows:
            row.pop("7FE00010")
        yield self.response(path, rows)

    def exchanges(self):
        rejection = {"path": "*", "query": {"includefield": "repeated"}, "status": 400, "type": "text/plain", "text": "duplicate field `includefield`"}
        unknown = {"path": "*", "status": 500, "type": "text/plain", "text": "Sub-operation failed"}
        return [rejection, *super().exchanges(), unknown]


class DicomRstDcmqrscp(DicomRst):
    """Returns no counts, no ModalitiesInStudy and no SOPClassUID in rows, and ignores ModalitiesInStudy as a matching key."""

    has_counts = has_modalities = has_description = False
    ignored_keys = ("ModalitiesInStudy",)

    def matches(self, study, key, value):
        """Whether the study matches: case-sensitive."""
        attribute = {"PatientID": study["id"], "AccessionNumber": study["accession"].strip()}.get(key)
        return super().matches(study, key, value) and (attribute is None or value.endswith("*") or attribute == value)

    def instance(self, study, series, number):
        row = super().instance(study, series, number)
        del row["00080016"]
        return row

    def metadata(self, study, series, number):
        return super().metadata(study, series, number) | {"00080016": self.text("UI", series["class"])}


class DicomRstPynetdicom(DicomRst):
    """Returns one row per instance at every level, replaces non-ASCII characters, and ignores unsupported matching keys."""

    has_counts = has_modalities = has_description = False

    def name(self, value):
        return super().name(value.encode("ascii", "replace").decode())

    ignored_keys = ("ModalitiesInStudy", "StudyDate", "StudyID")

    def rows(self, studies):
        return [row for study in studies for row in [self.study(study)] * sum(series["count"] for series in study["series"])]

    def series_rows(self, study):
        """The rows of the series, one per instance."""
        return [self.series(study, series) for series in study["series"] for _ in range(series["count"])]


class StaticDicomweb(Product):
    """Ignores unsupported matching keys and paging. Returns empty Value arrays, gzip that was not requested, and HTML with 404."""

    content_type = "application/json; charset=utf-8"

    def empty(self, vr):
        return {"vr": vr, "Value": []}

    def url(self, path):
        return {}

    def study(self, study):
        return super().study(study) | {"00090010": {"vr": "CS", "Value": ["dedupped"]}, "00091011": {"vr": "OB", "Value": ["0123abcd"]}}

    def metadata(self, study, series, number):
        return super().metadata(study, series, number) | {"7FE00010": {"vr": "OW", "BulkDataURI": "./frames"}}

    ignored_keys = ("ModalitiesInStudy", "StudyID")

    def matches(self, study, key, value):
        """Whether the study matches: an empty attribute matches every value."""
        is_empty = {"StudyDate": study["date"], "AccessionNumber": study["accession"]}.get(key) == ""
        return is_empty or super().matches(study, key, value)

    def searches(self):
        yield from ({**response, "encoding": "gzip"} for response in super().searches() if "offset" not in response.get("query", {}))

    def series_of_all_studies(self):
        """The product does not support these searches."""
        return ()

    def levels_below_study(self):
        for study in STUDIES:
            path = f"/studies/{study['uid']}/series"
            yield self.response(path, self.series_rows(study), encoding="gzip")
            for series in study["series"]:
                rows = self.instances_of(study, series, self.metadata)
                yield self.response(f"{path}/{series['uid']}/metadata", rows, encoding="gzip")
                response = self.response(f"{path}/{series['uid']}/instances/{series['uid']}.1/metadata", rows[:1], encoding="undeclared gzip")
                yield response | {"type": "application/gzip"}

    def exchanges(self):
        not_found = {"path": "*", "status": 404, "type": "text/html", "text": "<html>Cannot GET</html>"}
        return [*super().exchanges(), not_found]


class DicomwebProxy(Product):
    """Responds to errors with 200 and the text 500, and to unknown routes with an HTML page. Returns rows of instances without
    InstanceNumber, and names whose UTF-8 was decoded as Latin-1. Appends a wildcard to every value."""

    supports_uid_lists = False
    html_page = {"status": 200, "type": "text/html", "text": "<!doctype html><title>viewer</title>"}

    def empty(self, vr):
        return {"vr": vr, "Value": []}

    def name(self, value):
        return {"vr": "PN", "Value": [{"Alphabetic": value.encode().decode("latin-1")}]}

    def matches(self, study, key, value):
        is_exact = key in ("StudyInstanceUID", "StudyDate", "ModalitiesInStudy")
        return super().matches(study, key, value if is_exact or value.endswith("*") else f"{value}*")

    def instance(self, study, series, number):
        row = super().instance(study, series, number)
        del row["00200013"]
        return row

    def series_metadata(self, study, series, path):
        yield {"path": path, **self.html_page}

    def exchanges(self):
        error = {"path": "*", "query": {"includefield": "repeated"}, "status": 200, "type": "application/json", "text": "500"}
        study_metadata = [self.response(f"/studies/{study['uid']}/metadata", self.series_rows(study)) for study in STUDIES]
        return [error, *super().exchanges(), *study_metadata, {"path": "*", **self.html_page}]


class Google(Product):
    """Returns 204 if there are no matches, metadata with file meta information, and bulk data URLs with another host."""

    content_type = "application/dicom+json; charset=utf-8"
    base_url = "https://healthcare.example.com/v1/dicomWeb"

    def metadata(self, study, series, number):
        return super().metadata(study, series, number) | {"00020010": self.text("UI", "1.2.840.10008.1.2.1")}

    def response(self, path, body, query=None, status=200, **members):
        if body == []:
            return {"path": path, **({"query": query} if query else {}), "status": 204, "type": self.content_type, "text": ""}
        return super().response(path, body, query, status, **members)


DIALECTS = {
    "orthanc-1.10": OrthancBookworm, "orthanc-1.12": OrthancTrixie, "orthanc-1.13": OrthancSid, "dicom-rst": DicomRst,
    "dicom-rst-dcmqrscp": DicomRstDcmqrscp, "dicom-rst-pynetdicom": DicomRstPynetdicom, "static-dicomweb": StaticDicomweb,
    "dicomweb-proxy": DicomwebProxy, "google": Google,
}



def expected_search(query, uids, resource="ImagingStudy", **values):
    expected = {"get": f"/fhir/{resource}?{query}", "status": 200}
    return expected | ({"ids": uids} if uids is not None else {}) | ({"values": values} if values else {})


def expected_study(product, study, from_rows):
    """Returns the expected response to a read of `study`. If `from_rows`, the gateway assembles it from QIDO-RS rows only."""
    instance_count = sum(series["count"] for series in study["series"])
    values = {"/id": study["uid"], "/numberOfSeries": len(study["series"]), "/numberOfInstances": instance_count, "/subject/identifier/value": study["id"],
              "/started": STARTED[study["uid"]], "/description": study["description"] and study["description"].strip()}
    if from_rows and not product.has_description:
        values["/description"] = None
    for position, series in enumerate(study["series"]):
        values |= {f"/series/{position}/uid": series["uid"], f"/series/{position}/numberOfInstances": series["count"],
                   f"/series/{position}/instance/{series['count']}": None,
                   f"/series/{position}/instance/0/sopClass/code": f"urn:oid:{series['class']}"}
        if series["modality"]:
            values[f"/series/{position}/modality/code"] = series["modality"]
        else:
            values[f"/series/{position}/modality/extension/0/valueCode"] = "unknown"
        if series["body"] and not from_rows:
            values[f"/series/{position}/bodySite/code"] = BODY_SITE_CODES[series["body"].strip()]
        uids = [f"{series['uid']}.{number}" for number in range(1, series["count"] + 1)]
        values |= {f"/series/{position}/instance/{index}/uid": uid for index, uid in enumerate(uids)}
    return {"get": f"/fhir/ImagingStudy/{study['uid']}", "status": 200, "values": values}


BODY_SITE_CODES = {"CHEST": "816094009", "HEAD": "69536005", "KNEE": "72696002", "ABDOMEN": "818981001"}
STARTED = {"1.2.1": "2023-08-05T10:15:00+09:00", "1.2.2": "1994-01-30", "1.2.3": None, "1.2.4": "2024-01-31T16:54:47.788280+09:00", "1.2.5": "2024-02-01"}


def expectations(name, product):
    total = {"/total": 5}
    yield expected_search("_elements=id", UIDS, **total)
    for patient in ("P1", "p1", "X2", "P10", "P*", "nobody"):
        uids = [study["uid"] for study in STUDIES if study["id"] == patient]
        yield expected_search(f"patient.identifier={urllib.parse.quote(patient)}&_elements=id", uids, **{"/total": len(uids)}) | {"not_sent": ["PatientID=*"]}
    yield expected_search("identifier=A1&_elements=id", ["1.2.1"])
    yield expected_search("identifier=a1&_elements=id", ["1.2.5"])
    yield expected_search("identifier=urn:dicom:uid%7Curn:oid:1.2.3&_elements=id", ["1.2.3"])
    yield expected_search("_id=1.2.1,1.2.3&_elements=id", ["1.2.1", "1.2.3"])
    yield expected_search("started=2023&_elements=id", ["1.2.1"])
    yield expected_search("modality=SR&_elements=id", ["1.2.1", "1.2.4"])
    # The newest studies are first. Their series are queried by lists of UIDs only if the product supports such lists.
    page_values = {f"/entry/{position}/resource/series/{last_index}/uid": f"{uid}.{last_index + 1}" for position, (uid, last_index) in enumerate((("1.2.5", 0), ("1.2.4", 2), ("1.2.1", 1)))}
    yield expected_search("_count=5", UIDS, **total, **page_values) | ({} if product.supports_uid_lists else {"not_sent": ["/dicom-web/series"]})
    yield {"get": "/fhir/ImagingStudy/1.2.9", "status": 404, "values": {"/resourceType": "OperationOutcome"}}
    from_rows = name in ("dicom-rst", "dicom-rst-pynetdicom", "dicomweb-proxy")
    for study in STUDIES:
        # A metadata request makes this product retrieve all pixel data.
        yield expected_study(product, study, from_rows) | ({"not_sent": ["/metadata"]} if name == "dicom-rst" else {})
    yield expected_search("identifier=P1", None, "Patient", **{"/total": 1, "/entry/0/resource/identifier/0/value": "P1"})
    yield expected_search("identifier=p1", None, "Patient", **{"/total": 1, "/entry/0/resource/identifier/0/value": "p1"})
    if name not in ("orthanc-1.10", "dicom-rst-pynetdicom", "dicomweb-proxy"):
        yield expected_search("identifier=X2", None, "Patient", **{"/total": 1, "/entry/0/resource/name/0/family": "Иванов"})
        kanji_name = {"/total": 1, "/entry/0/resource/name/1/family": "山田", "/entry/0/resource/name/1/extension/0/valueCode": "IDE"}
        yield expected_search(f"name={urllib.parse.quote('山田')}", None, "Patient", **kanji_name)
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
