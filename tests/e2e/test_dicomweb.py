"""The DICOMweb API: the responses of the gateway equal those of Orthanc, except for URLs."""

import email.parser
import hashlib
import io
import json
import re

import pydicom
import pytest
import requests
from PIL import Image
from dicomweb_client.api import DICOMwebClient

from servers import Gateway

DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@pytest.fixture(scope="module")
def session() -> requests.Session:
    return requests.Session()


@pytest.fixture(scope="module")
def studies(holdings) -> list:
    return [study for study in holdings.studies.values() if study.uid.replace(".", "").isdigit() and study.uid != "1.2.999.999.99.9.9999.8888"]


def get_from_both(session, gateway, orthanc, path: str, **headers) -> tuple[requests.Response, requests.Response]:
    from_gateway = session.get(gateway.dicomweb + path, headers=headers, timeout=300)
    from_orthanc = session.get(orthanc.dicomweb + path, headers=headers, timeout=300)
    assert from_gateway.status_code == from_orthanc.status_code == 200, (path, from_gateway.status_code, from_gateway.text[:300], from_orthanc.status_code)
    return from_gateway, from_orthanc


def rewrite(value, gateway, orthanc):
    """Returns a response of Orthanc as the gateway must return it: with other URLs, and changed like rows."""
    return rows_of_gateway(json.loads(json.dumps(value).replace(orthanc.dicomweb, gateway.dicomweb)))


def has_dicom_uids(row) -> bool:
    """Whether the UIDs by which the row is retrieved are DICOM UIDs (PS3.5 9.1). The gateway omits others, because it does not serve them."""
    uids = [uid for tag in ("0020000D", "0020000E", "00080018") for uid in row.get(tag, {}).get("Value", [])]
    return all(len(uid) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+)*", uid) for uid in uids)


def rows_of_gateway(rows):
    """Removes rows without DICOM UIDs, and ModalitiesInStudy without a value from the others, because viewers cannot read it."""
    if not isinstance(rows, list):
        return rows
    rows = [row for row in rows if not isinstance(row, dict) or has_dicom_uids(row)]
    for row in rows:
        if isinstance(row, dict) and not any(row.get("00080061", {"Value": ["any"]}).get("Value", [])):
            del row["00080061"]
    return rows


def parts(response: requests.Response) -> list[tuple[dict, bytes]]:
    """Returns the headers and the body of each part of a multipart body."""
    header = b"Content-Type: " + response.headers["Content-Type"].encode() + b"\r\n\r\n"
    boundary = email.parser.BytesParser().parsebytes(header, headersonly=True).get_boundary().encode()
    sections = response.content.split(b"--" + boundary)
    parts = []
    for section in sections[1:]:
        if section.startswith(b"--"):
            break
        header, _, body = section.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = dict(line.decode().split(": ", 1) for line in header.split(b"\r\n") if line)
        parts.append(({name.lower(): value for name, value in headers.items()}, body.removesuffix(b"\r\n")))
    return parts


def digests(response: requests.Response) -> list[str]:
    return sorted(hashlib.sha256(body).hexdigest() for _, body in parts(response))


def assert_no_url_of(orthanc, response: requests.Response) -> None:
    text = response.text + str(response.headers)
    assert orthanc.url.removeprefix("http://") not in text


@pytest.mark.parametrize("path", [
    "/studies",
    "/studies?PatientID=DEMO-0001",
    "/studies?StudyDate=20000101-&limit=5&offset=2",
    "/studies?includefield=00081030&includefield=00080061",
    "/series",
    "/instances?limit=20",
])
def test_searches_return_the_rows_of_orthanc(session, gateway, orthanc, path):
    from_gateway, from_orthanc = get_from_both(session, gateway, orthanc, path)
    assert from_gateway.json() == rewrite(from_orthanc.json(), gateway, orthanc) and len(from_gateway.json()) > 0
    assert_no_url_of(orthanc, from_gateway)


def test_the_aggregate_root_returns_the_resources_of_the_only_archive(session, gateway, orthanc, studies):
    aggregate_root = f"{gateway.url}/dicom-web"

    def rows(path: str) -> list:
        response = session.get(aggregate_root + path, timeout=300)
        assert response.status_code == 200, (path, response.text)
        assert_no_url_of(orthanc, response)
        return response.json()

    # Orthanc sorts pages and complete lists differently, and lists a study of two patients without Patient ID twice.
    def normalize(rows: list) -> list:
        return sorted({json.dumps(row) for row in rows})

    for path in ("/studies", "/studies?PatientID=DEMO-0001", "/series", f"/studies/{studies[0].uid}/series", f"/studies/{studies[0].uid}/metadata"):
        from_orthanc = session.get(orthanc.dicomweb + path, timeout=300).json()
        from_orthanc = rows_of_gateway(json.loads(json.dumps(from_orthanc).replace(orthanc.dicomweb, aggregate_root)))
        assert normalize(rows(path)) == normalize(from_orthanc) and from_orthanc, path
    pages = [row for offset in range(0, 140, 7) for row in rows(f"/studies?limit=7&offset={offset}")]
    assert normalize(pages) == normalize(rows("/studies"))


def test_searches_below_a_study_return_the_rows_of_orthanc(session, gateway, orthanc, studies):
    for study in studies[::6]:
        series = next(iter(study.series))
        for path in (f"/studies/{study.uid}/series", f"/studies/{study.uid}/instances", f"/studies/{study.uid}/series/{series}/instances"):
            from_gateway, from_orthanc = get_from_both(session, gateway, orthanc, path)
            assert from_gateway.json() == rewrite(from_orthanc.json(), gateway, orthanc) and from_gateway.json()
            assert_no_url_of(orthanc, from_gateway)


def test_metadata_equals_the_metadata_of_orthanc(session, gateway, orthanc, studies):
    for study in studies:
        from_gateway, from_orthanc = get_from_both(session, gateway, orthanc, f"/studies/{study.uid}/metadata")
        assert from_gateway.json() == rewrite(from_orthanc.json(), gateway, orthanc), study.uid
        assert_no_url_of(orthanc, from_gateway)


def test_every_instance_is_forwarded_byte_for_byte(session, gateway, orthanc, studies, holdings):
    compared_count = 0
    for study in studies:
        for series in study.series.values():
            for uid in series.instances:
                path = f"/studies/{study.uid}/series/{series.uid}/instances/{uid}"
                from_gateway, from_orthanc = get_from_both(session, gateway, orthanc, path, Accept=DICOM)
                assert digests(from_gateway) == digests(from_orthanc) and len(parts(from_gateway)) == 1, path
                # Orthanc stores files unchanged.
                assert parts(from_gateway)[0][1] == holdings.contents[uid], path
                compared_count += 1
    assert compared_count > 450


def test_studies_and_series_are_forwarded_byte_for_byte(session, gateway, orthanc, studies):
    for study in studies[::8]:
        for path in (f"/studies/{study.uid}", f"/studies/{study.uid}/series/{next(iter(study.series))}"):
            from_gateway, from_orthanc = get_from_both(session, gateway, orthanc, path, Accept=DICOM)
            assert digests(from_gateway) == digests(from_orthanc) and parts(from_gateway)


def test_frames_and_bulk_data_are_forwarded_byte_for_byte(session, gateway, orthanc, studies):
    sample = next(study for study in studies if study.uid.startswith("2.25.133470007535392751803217985031206560121.2.1"))
    series = next(iter(sample.series.values()))
    path = f"/studies/{sample.uid}/series/{series.uid}/instances/{next(iter(series.instances))}"
    accept = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'
    from_gateway, from_orthanc = get_from_both(session, gateway, orthanc, f"{path}/frames/1", Accept=accept)
    assert digests(from_gateway) == digests(from_orthanc) and len(parts(from_gateway)) == 1
    for headers, _ in parts(from_gateway):
        assert headers.get("content-location", gateway.dicomweb).startswith(gateway.dicomweb)
    assert_no_url_of(orthanc, from_gateway)
    metadata = session.get(gateway.dicomweb + path + "/metadata", timeout=300).json()
    uri = metadata[0]["7FE00010"]["BulkDataURI"]
    assert uri.startswith(gateway.dicomweb)
    from_gateway = session.get(uri, timeout=300)
    from_orthanc = session.get(uri.replace(gateway.dicomweb, orthanc.dicomweb), timeout=300)
    assert from_gateway.status_code == from_orthanc.status_code == 200 and digests(from_gateway) == digests(from_orthanc)


@pytest.fixture
def generic(orthanc, folder):
    """A gateway that requests rendered images from Orthanc, because its configuration does not say what the archive is."""
    server = Gateway(folder, "generic", orthanc.dicomweb, profile="generic")
    yield server
    server.stop()


def test_rendered_images_of_an_archive_are_forwarded(session, generic, orthanc, studies):
    sample = next(study for study in studies if study.uid.startswith("2.25.133470007535392751803217985031206560121.1.1"))
    series = next(iter(sample.series.values()))
    path = f"/studies/{sample.uid}/series/{series.uid}/instances/{next(iter(series.instances))}/rendered"
    from_gateway, from_orthanc = get_from_both(session, generic, orthanc, path, Accept="image/jpeg")
    assert from_gateway.headers["Content-Type"] == from_orthanc.headers["Content-Type"] == "image/jpeg"
    assert from_gateway.content == from_orthanc.content


def test_single_objects_are_extracted_although_orthanc_only_returns_multipart(session, gateway, orthanc, studies, holdings):
    study = next(study for study in studies if study.uid.startswith("2.25.133470007535392751803217985031206560121.1.1"))
    series = next(iter(study.series.values()))
    uid = next(iter(series.instances))
    path = f"/studies/{study.uid}/series/{series.uid}/instances/{uid}"
    accept = {"Accept": "application/dicom; transfer-syntax=*"}
    assert session.get(orthanc.dicomweb + path, headers=accept, timeout=300).status_code == 400
    response = session.get(gateway.dicomweb + path, headers=accept, timeout=300)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/dicom")
    assert response.content == holdings.contents[uid]
    frame = session.get(f"{gateway.dicomweb}{path}/frames/1", headers={"Accept": "application/octet-stream"}, timeout=300)
    assert frame.content == pydicom.dcmread(io.BytesIO(holdings.contents[uid])).PixelData


def test_missing_thumbnails_are_requested_as_small_rendered_images(session, generic, orthanc, studies):
    sample = next(study for study in studies if study.uid.startswith("2.25.133470007535392751803217985031206560121.1.1"))
    series = next(iter(sample.series.values()))
    path = f"/studies/{sample.uid}/series/{series.uid}/instances/{next(iter(series.instances))}"
    thumbnail = session.get(f"{generic.dicomweb}{path}/thumbnail", timeout=300)
    rendered = session.get(f"{orthanc.dicomweb}{path}/rendered?viewport=128,128", timeout=300)
    assert thumbnail.status_code == rendered.status_code == 200 and thumbnail.headers["Content-Type"] == "image/jpeg"
    assert thumbnail.content == rendered.content


def test_images_of_orthanc_are_rendered_by_the_gateway_within_the_viewport(session, gateway, orthanc, studies):
    """An image is scaled to fit the viewport with its aspect ratio (PS3.18 8.3.5.1.3), but Orthanc stretches it."""
    sample = next(study for study in studies if study.uid.startswith("2.25.133470007535392751803217985031206560121.1.1"))
    series = next(iter(sample.series.values()))
    path = f"/studies/{sample.uid}/series/{series.uid}/instances/{next(iter(series.instances))}/rendered?viewport=64,32"
    from_gateway, from_orthanc = get_from_both(session, gateway, orthanc, path, Accept="image/png")
    size = lambda response: Image.open(io.BytesIO(response.content)).size
    assert (size(from_gateway), size(from_orthanc)) == ((32, 32), (64, 32))


@pytest.mark.parametrize("path, status", [
    ("/studies/1.2.3/metadata", 404),
    ("/studies/1.2.3/series/%2e%2e/metadata", 400),
    ("/studies//series", 400),
    ("/nothing", 404),
    ("/studies/abc/metadata", 404),
])
def test_errors_do_not_contain_responses_of_orthanc(session, gateway, orthanc, path, status):
    request = requests.Request("GET", gateway.dicomweb + path).prepare()
    request.url = gateway.dicomweb + path
    response = session.send(request, timeout=300)
    assert response.status_code in (status, 400), response.text
    assert "Orthanc" not in response.text
    assert_no_url_of(orthanc, response)


def test_a_client_library_searches_and_retrieves(gateway, studies):
    client = DICOMwebClient(gateway.dicomweb)
    study = next(study for study in studies if study.uid == "2.25.133470007535392751803217985031206560121.16.3")
    assert any(row["0020000D"]["Value"] == [study.uid] for row in client.search_for_studies())
    assert len(client.retrieve_study_metadata(study.uid)) == len(study.datasets()) > 3
    datasets = client.retrieve_study(study.uid)
    assert {str(dataset.SOPInstanceUID) for dataset in datasets} == {str(dataset.SOPInstanceUID) for dataset in study.datasets()}


def test_a_truncated_response_of_the_archive_fails_at_the_client(gateway, orthanc, studies):
    """Orthanc cannot decompress one of these images and ends its response there as if it were complete. Only the gateway detects that
    half of the study is missing."""
    study = next(study for study in studies if study.uid == "1.2.826.0.1.3680043.8.498.12406831542731051035295345080039845114")
    assert len(DICOMwebClient(orthanc.dicomweb).retrieve_study(study.uid)) < len(study.datasets())
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        DICOMwebClient(gateway.dicomweb).retrieve_study(study.uid)
