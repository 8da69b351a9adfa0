"""Metadata that the gateway synthesizes from instances equals the files as pydicom reads them."""

import base64
import io

import pydicom
import pytest
import requests

from servers import Gateway
from test_dicomweb import assert_no_url_of

# Elements that are not compared: pixel data and trailing padding, which metadata does not contain, and the character set, which is
# that of JSON; and the transfer syntax, which the file has in its file meta information.
EXCLUDED = {"00080005", "00083002", "7FE00010", "7FE00008", "7FE00009", "FFFCFFFC"}
LUT_DATA = "00283006"


@pytest.fixture(scope="module")
def gateway(orthanc, holdings, tmp_path_factory):
    server = Gateway(tmp_path_factory.mktemp("synthesis"), "gateway", orthanc.dicomweb, archive='synthesize = ["metadata"]')
    yield server
    server.stop()


@pytest.fixture(scope="module")
def metadata(gateway, orthanc, holdings) -> dict[str, dict]:
    """The metadata of every instance in a study of one patient, by its UID."""
    metadata = {}
    for study in (study for study in holdings.of_one_patient() if study.uid.replace(".", "").isdigit()):
        response = requests.get(f"{gateway.dicomweb}/studies/{study.uid}/metadata", timeout=300)
        # Orthanc lists the series of one study but cannot retrieve them.
        if requests.get(f"{orthanc.dicomweb}/studies/{study.uid}/metadata", timeout=300).status_code == 404:
            assert response.status_code == 502, (study.uid, response.text[:300])
            continue
        # Orthanc returns files without the preamble of PS3.10 7.1 if they were stored without it.
        if any(holdings.contents[str(dataset.SOPInstanceUID)][128:132] != b"DICM" for dataset in study.datasets()):
            assert response.status_code == 502 and "DICOM file" in response.text, (study.uid, response.text[:300])
            continue
        assert response.status_code == 200, (study.uid, response.text[:300])
        rows = response.json()
        metadata.update({row["00080018"]["Value"][0]: row for row in rows})
        assert len(rows) == len(study.datasets()), study.uid
    assert len(metadata) > 400
    return metadata


def normalize_number(value):
    try:
        return round(float(value), 6)
    except (TypeError, ValueError):
        return value


def normalize_element(element: dict, fetch) -> object:
    """Returns the value of an element in a form that does not depend on the representation of numbers and bytes."""
    if "BulkDataURI" in element:
        return fetch(element["BulkDataURI"])
    if "InlineBinary" in element:
        return base64.b64decode(element["InlineBinary"])
    values = element.get("Value") or []
    if element["vr"] == "SQ":
        return [normalize_object(item, fetch) for item in values]
    if element["vr"] == "PN":
        values = [{group: text.rstrip(" ^") for group, text in (value or {}).items() if text.strip(" ^")} for value in values]
    if element["vr"] in ("DS", "IS", "FL", "FD", "US", "SS", "UL", "SL", "SV", "UV"):
        values = [normalize_number(value) for value in values]
    values = [(value.strip(" \0") or None) if isinstance(value, str) else value for value in values]
    return [] if all(value in (None, "", {}) for value in values) else values


def normalize_object(row: dict, fetch) -> dict:
    elements = {tag: normalize_element(element, fetch) for tag, element in row.items() if tag not in EXCLUDED and not tag.endswith("0000")}
    # LUT Data may be US or OW (PS3.3 C.11.1.1).
    if isinstance(elements.get(LUT_DATA), list):
        elements[LUT_DATA] = b"".join(int(word).to_bytes(2, "little") for word in elements[LUT_DATA])
    return {tag: value for tag, value in elements.items() if value not in ([], b"", None)}


def test_synthesized_metadata_equals_the_file_read_by_pydicom(gateway, metadata, holdings):
    fetch_count = 0

    def fetch(uri: str) -> bytes:
        nonlocal fetch_count
        fetch_count += 1
        assert uri.startswith(f"{gateway.dicomweb}/studies/"), uri
        response = requests.get(uri, headers={"Accept": "application/octet-stream"}, timeout=300)
        assert response.status_code == 200, (uri, response.text[:300])
        return response.content

    differences = {}
    for uid, row in metadata.items():
        file = pydicom.dcmread(io.BytesIO(holdings.contents[uid]), force=True)
        from_file = normalize_object(file.to_json_dict(suppress_invalid_tags=True, bulk_data_threshold=2**40), None)
        from_gateway = normalize_object(row, fetch)
        for tag in sorted(from_file.keys() | from_gateway.keys()):
            # Only pydicom knows the VRs of private attributes.
            if int(tag[:4], 16) % 2 and row.get(tag, {}).get("vr") == "UN":
                continue
            if from_file.get(tag) != from_gateway.get(tag):
                differences.setdefault(tag, []).append((uid, str(from_file.get(tag))[:80], str(from_gateway.get(tag))[:80]))
    assert fetch_count > 10
    assert not differences, "\n".join(f"{tag}: {len(pairs)}, {pairs[0]}" for tag, pairs in differences.items())


def test_pydicom_reads_the_synthesized_metadata(metadata, holdings):
    for uid, row in metadata.items():
        dataset = pydicom.Dataset.from_json(row, bulk_data_uri_handler=lambda _uri: b"")
        file = pydicom.dcmread(io.BytesIO(holdings.contents[uid]), force=True, stop_before_pixels=True)
        for keyword in ("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "Rows", "Columns"):
            assert dataset.get(keyword) == file.get(keyword), (uid, keyword)
        if "7FE00010" in row:
            assert dataset.AvailableTransferSyntaxUID == file.file_meta.get("TransferSyntaxUID", "1.2.840.10008.1.2"), uid


def test_native_pixel_data_equals_the_pixel_data_of_the_files(metadata, holdings):
    compared_count = 0
    for uid, row in metadata.items():
        if "7FE00010" not in row:
            continue
        assert set(row["7FE00010"]) == {"vr", "BulkDataURI"}
        file = pydicom.dcmread(io.BytesIO(holdings.contents[uid]), force=True)
        syntax = file.file_meta.TransferSyntaxUID
        if compared_count == 60 or syntax.is_compressed or not syntax.is_little_endian:
            continue
        response = requests.get(row["7FE00010"]["BulkDataURI"], headers={"Accept": "application/octet-stream"}, timeout=300)
        assert response.status_code == 200 and response.content == file.PixelData, (uid, response.status_code)
        compared_count += 1
    assert compared_count == 60


def test_synthesized_metadata_contains_no_url_of_the_archive(gateway, holdings, orthanc):
    response = requests.get(f"{gateway.dicomweb}/studies/{holdings.of_one_patient()[0].uid}/metadata", timeout=300)
    assert_no_url_of(orthanc, response)
