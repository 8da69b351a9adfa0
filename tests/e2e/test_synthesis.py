"""Metadata that the gateway synthesizes from instances, compared with the same files read by pydicom."""

import base64
import io

import pydicom
import pytest
import requests

from servers import Gateway
from test_dicomweb import assert_no_url_of

# Not compared, because metadata does not contain them or every writer differs: pixel data, trailing padding, and the character
# set, which is that of JSON.
EXCLUDED = {"00080005", "7FE00010", "7FE00008", "7FE00009", "FFFCFFFC"}
LUT_DATA = "00283006"


@pytest.fixture(scope="module")
def gateway(orthanc, holdings, tmp_path_factory):
    server = Gateway(tmp_path_factory.mktemp("synthesis"), "gateway", orthanc.dicomweb, archive='synthesize = ["metadata"]')
    yield server
    server.stop()


@pytest.fixture(scope="module")
def metadata(gateway, orthanc, holdings) -> dict[str, dict]:
    """The metadata of every instance in studies of a single patient, by its UID."""
    objects = {}
    for study in (study for study in holdings.unambiguous() if study.uid.replace(".", "").isdigit()):
        answer = requests.get(f"{gateway.dicomweb}/studies/{study.uid}/metadata", timeout=300)
        # Orthanc lists the series of one study but does not retrieve them.
        if requests.get(f"{orthanc.dicomweb}/studies/{study.uid}/metadata", timeout=300).status_code == 404:
            assert answer.status_code == 502, (study.uid, answer.text[:300])
            continue
        # Files that were stored without the preamble of PS3.10 7.1 are returned without it.
        if any(holdings.contents[str(dataset.SOPInstanceUID)][128:132] != b"DICM" for dataset in study.datasets()):
            assert answer.status_code == 502 and "DICOM file" in answer.text, (study.uid, answer.text[:300])
            continue
        assert answer.status_code == 200, (study.uid, answer.text[:300])
        rows = answer.json()
        objects.update({row["00080018"]["Value"][0]: row for row in rows})
        assert len(rows) == len(study.datasets()), study.uid
    assert len(objects) > 400
    return objects


def number(value):
    try:
        return round(float(value), 6)
    except (TypeError, ValueError):
        return value


def plain(element: dict, fetch) -> object:
    """The value of an element, independent of the representation of numbers and bytes."""
    if "BulkDataURI" in element:
        return fetch(element["BulkDataURI"])
    if "InlineBinary" in element:
        return base64.b64decode(element["InlineBinary"])
    values = element.get("Value") or []
    if element["vr"] == "SQ":
        return [objects(item, fetch) for item in values]
    if element["vr"] == "PN":
        values = [{group: text.rstrip(" ^") for group, text in (value or {}).items() if text.strip(" ^")} for value in values]
    if element["vr"] in ("DS", "IS", "FL", "FD", "US", "SS", "UL", "SL", "SV", "UV"):
        values = [number(value) for value in values]
    values = [(value.strip(" \0") or None) if isinstance(value, str) else value for value in values]
    return [] if all(value in (None, "", {}) for value in values) else values


def objects(row: dict, fetch) -> dict:
    elements = {tag: plain(element, fetch) for tag, element in row.items() if tag not in EXCLUDED and not tag.endswith("0000")}
    # US or OW (PS3.3 C.11.1.1).
    if isinstance(elements.get(LUT_DATA), list):
        elements[LUT_DATA] = b"".join(int(word).to_bytes(2, "little") for word in elements[LUT_DATA])
    return {tag: value for tag, value in elements.items() if value not in ([], b"", None)}


def test_synthesized_metadata_equals_the_file_read_by_pydicom(gateway, metadata, holdings):
    fetched = 0

    def fetch(uri: str) -> bytes:
        nonlocal fetched
        fetched += 1
        assert uri.startswith(f"{gateway.dicomweb}/studies/"), uri
        answer = requests.get(uri, headers={"Accept": "application/octet-stream"}, timeout=300)
        assert answer.status_code == 200, (uri, answer.text[:300])
        return answer.content

    different = {}
    for uid, row in metadata.items():
        file = pydicom.dcmread(io.BytesIO(holdings.contents[uid]), force=True)
        read = objects(file.to_json_dict(suppress_invalid_tags=True, bulk_data_threshold=2**40), None)
        ours = objects(row, fetch)
        for tag in sorted(read.keys() | ours.keys()):
            # pydicom also has dictionaries of private attributes.
            if int(tag[:4], 16) % 2 and row.get(tag, {}).get("vr") == "UN":
                continue
            if read.get(tag) != ours.get(tag):
                different.setdefault(tag, []).append((uid, str(read.get(tag))[:80], str(ours.get(tag))[:80]))
    assert fetched > 10
    assert not different, "\n".join(f"{tag}: {len(pairs)}, {pairs[0]}" for tag, pairs in different.items())


def test_pydicom_reads_the_synthesized_metadata(metadata, holdings):
    for uid, row in metadata.items():
        read = pydicom.Dataset.from_json(row, bulk_data_uri_handler=lambda _uri: b"")
        file = pydicom.dcmread(io.BytesIO(holdings.contents[uid]), force=True, stop_before_pixels=True)
        for keyword in ("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "Rows", "Columns"):
            assert read.get(keyword) == file.get(keyword), (uid, keyword)


def test_native_pixel_data_equals_that_of_the_files(metadata, holdings):
    compared = 0
    for uid, row in metadata.items():
        if "7FE00010" not in row:
            continue
        assert set(row["7FE00010"]) == {"vr", "BulkDataURI"}
        file = pydicom.dcmread(io.BytesIO(holdings.contents[uid]), force=True)
        syntax = file.file_meta.TransferSyntaxUID
        if compared == 60 or syntax.is_compressed or not syntax.is_little_endian:
            continue
        answer = requests.get(row["7FE00010"]["BulkDataURI"], headers={"Accept": "application/octet-stream"}, timeout=300)
        assert answer.status_code == 200 and answer.content == file.PixelData, (uid, answer.status_code)
        compared += 1
    assert compared == 60


def test_synthesized_metadata_contains_no_url_of_the_archive(gateway, holdings, orthanc):
    answer = requests.get(f"{gateway.dicomweb}/studies/{holdings.unambiguous()[0].uid}/metadata", timeout=300)
    assert_no_url_of(orthanc, answer)
