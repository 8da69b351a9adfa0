"""The DICOMweb proxy: its responses equal those of Orthanc, except for URLs."""

import email.parser
import hashlib
import io
import json

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient

DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@pytest.fixture(scope="module")
def session() -> requests.Session:
    return requests.Session()


@pytest.fixture(scope="module")
def studies(holdings) -> list:
    return [study for study in holdings.studies.values() if study.uid.replace(".", "").isdigit() and study.uid != "1.2.999.999.99.9.9999.8888"]


def both(session, gateway, orthanc, path: str, **headers) -> tuple[requests.Response, requests.Response]:
    ours = session.get(gateway.dicomweb + path, headers=headers, timeout=300)
    theirs = session.get(orthanc.dicomweb + path, headers=headers, timeout=300)
    assert ours.status_code == theirs.status_code == 200, (path, ours.status_code, ours.text[:300], theirs.status_code)
    return ours, theirs


def rewritten(value, gateway, orthanc):
    """The response of Orthanc with the URLs of the gateway, and without empty modalities of studies."""
    return without_empty_modalities(json.loads(json.dumps(value).replace(orthanc.dicomweb, gateway.dicomweb)))


def without_empty_modalities(rows):
    """The rows of a search without a ModalitiesInStudy that has no value, which viewers cannot read."""
    if isinstance(rows, list):
        for row in rows:
            if isinstance(row, dict) and not any(row.get("00080061", {"Value": ["any"]}).get("Value", [])):
                del row["00080061"]
    return rows


def parts(answer: requests.Response) -> list[tuple[dict, bytes]]:
    """The parts of a multipart body."""
    head = b"Content-Type: " + answer.headers["Content-Type"].encode() + b"\r\n\r\n"
    boundary = email.parser.BytesParser().parsebytes(head, headersonly=True).get_boundary().encode()
    pieces = answer.content.split(b"--" + boundary)
    found = []
    for piece in pieces[1:]:
        if piece.startswith(b"--"):
            break
        head, _, body = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n") if line)
        found.append(({name.lower(): value for name, value in headers.items()}, body.removesuffix(b"\r\n")))
    return found


def digests(answer: requests.Response) -> list[str]:
    return sorted(hashlib.sha256(body).hexdigest() for _, body in parts(answer))


def assert_no_url_of(orthanc, answer: requests.Response) -> None:
    text = answer.text + str(answer.headers)
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
    ours, theirs = both(session, gateway, orthanc, path)
    assert ours.json() == rewritten(theirs.json(), gateway, orthanc) and len(ours.json()) > 0
    assert_no_url_of(orthanc, ours)


def test_the_aggregate_root_returns_the_resources_of_the_only_archive(session, gateway, orthanc, studies):
    together = f"{gateway.url}/dicom-web"

    def rows(path: str) -> list:
        answer = session.get(together + path, timeout=300)
        assert answer.status_code == 200, (path, answer.text)
        assert_no_url_of(orthanc, answer)
        return answer.json()

    # Orthanc sorts pages and whole lists differently, and lists a study of two patients without an id twice.
    def in_order(rows: list) -> list:
        return sorted({json.dumps(row) for row in rows})

    for path in ("/studies", "/studies?PatientID=DEMO-0001", "/series", f"/studies/{studies[0].uid}/series", f"/studies/{studies[0].uid}/metadata"):
        theirs = session.get(orthanc.dicomweb + path, timeout=300).json()
        theirs = without_empty_modalities(json.loads(json.dumps(theirs).replace(orthanc.dicomweb, together)))
        assert in_order(rows(path)) == in_order(theirs) and theirs, path
    pages = [row for offset in range(0, 140, 7) for row in rows(f"/studies?limit=7&offset={offset}")]
    assert in_order(pages) == in_order(rows("/studies"))


def test_searches_below_a_study_return_the_rows_of_orthanc(session, gateway, orthanc, studies):
    for study in studies[::6]:
        series = next(iter(study.series))
        for path in (f"/studies/{study.uid}/series", f"/studies/{study.uid}/instances", f"/studies/{study.uid}/series/{series}/instances"):
            ours, theirs = both(session, gateway, orthanc, path)
            assert ours.json() == rewritten(theirs.json(), gateway, orthanc) and ours.json()
            assert_no_url_of(orthanc, ours)


def test_metadata_equals_that_of_orthanc(session, gateway, orthanc, studies):
    for study in studies:
        ours, theirs = both(session, gateway, orthanc, f"/studies/{study.uid}/metadata")
        assert ours.json() == rewritten(theirs.json(), gateway, orthanc), study.uid
        assert_no_url_of(orthanc, ours)


def test_every_instance_is_forwarded_byte_for_byte(session, gateway, orthanc, studies, holdings):
    compared = 0
    for study in studies:
        for series in study.series.values():
            for uid in series.instances:
                path = f"/studies/{study.uid}/series/{series.uid}/instances/{uid}"
                ours, theirs = both(session, gateway, orthanc, path, Accept=DICOM)
                assert digests(ours) == digests(theirs) and len(parts(ours)) == 1, path
                # Orthanc stores files unchanged.
                assert parts(ours)[0][1] == holdings.contents[uid], path
                compared += 1
    assert compared > 450


def test_studies_and_series_are_forwarded_byte_for_byte(session, gateway, orthanc, studies):
    for study in studies[::8]:
        for path in (f"/studies/{study.uid}", f"/studies/{study.uid}/series/{next(iter(study.series))}"):
            ours, theirs = both(session, gateway, orthanc, path, Accept=DICOM)
            assert digests(ours) == digests(theirs) and parts(ours)


def test_frames_and_bulk_data_are_forwarded_byte_for_byte(session, gateway, orthanc, studies):
    sample = next(study for study in studies if study.uid.startswith("2.25.133470007535392751803217985031206560121.2.1"))
    series = next(iter(sample.series.values()))
    path = f"/studies/{sample.uid}/series/{series.uid}/instances/{next(iter(series.instances))}"
    accept = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'
    ours, theirs = both(session, gateway, orthanc, f"{path}/frames/1", Accept=accept)
    assert digests(ours) == digests(theirs) and len(parts(ours)) == 1
    for headers, _ in parts(ours):
        assert headers.get("content-location", gateway.dicomweb).startswith(gateway.dicomweb)
    assert_no_url_of(orthanc, ours)
    metadata = session.get(gateway.dicomweb + path + "/metadata", timeout=300).json()
    uri = metadata[0]["7FE00010"]["BulkDataURI"]
    assert uri.startswith(gateway.dicomweb)
    bulk = session.get(uri, timeout=300)
    own = session.get(uri.replace(gateway.dicomweb, orthanc.dicomweb), timeout=300)
    assert bulk.status_code == own.status_code == 200 and digests(bulk) == digests(own)


def test_rendered_images_of_orthanc_are_forwarded(session, gateway, orthanc, studies):
    sample = next(study for study in studies if study.uid.startswith("2.25.133470007535392751803217985031206560121.1.1"))
    series = next(iter(sample.series.values()))
    path = f"/studies/{sample.uid}/series/{series.uid}/instances/{next(iter(series.instances))}/rendered"
    ours, theirs = both(session, gateway, orthanc, path, Accept="image/jpeg")
    assert ours.headers["Content-Type"] == theirs.headers["Content-Type"] == "image/jpeg"
    assert ours.content == theirs.content


def test_single_objects_are_extracted_although_orthanc_only_returns_multipart(session, gateway, orthanc, studies, holdings):
    study = next(study for study in studies if study.uid.startswith("2.25.133470007535392751803217985031206560121.1.1"))
    series = next(iter(study.series.values()))
    uid = next(iter(series.instances))
    path = f"/studies/{study.uid}/series/{series.uid}/instances/{uid}"
    accept = {"Accept": "application/dicom; transfer-syntax=*"}
    assert session.get(orthanc.dicomweb + path, headers=accept, timeout=300).status_code == 400
    answer = session.get(gateway.dicomweb + path, headers=accept, timeout=300)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/dicom")
    assert answer.content == holdings.contents[uid]
    frame = session.get(f"{gateway.dicomweb}{path}/frames/1", headers={"Accept": "application/octet-stream"}, timeout=300)
    assert frame.content == pydicom.dcmread(io.BytesIO(holdings.contents[uid])).PixelData


def test_missing_thumbnails_are_requested_as_small_rendered_images(session, gateway, orthanc, studies):
    sample = next(study for study in studies if study.uid.startswith("2.25.133470007535392751803217985031206560121.1.1"))
    series = next(iter(sample.series.values()))
    path = f"/studies/{sample.uid}/series/{series.uid}/instances/{next(iter(series.instances))}"
    thumbnail = session.get(f"{gateway.dicomweb}{path}/thumbnail", timeout=300)
    rendered = session.get(f"{orthanc.dicomweb}{path}/rendered?viewport=128,128", timeout=300)
    assert thumbnail.status_code == rendered.status_code == 200 and thumbnail.headers["Content-Type"] == "image/jpeg"
    assert thumbnail.content == rendered.content


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
    answer = session.send(request, timeout=300)
    assert answer.status_code in (status, 400), answer.text
    assert "Orthanc" not in answer.text
    assert_no_url_of(orthanc, answer)


def test_a_client_library_searches_and_retrieves(gateway, studies):
    client = DICOMwebClient(gateway.dicomweb)
    study = next(study for study in studies if study.uid == "2.25.133470007535392751803217985031206560121.16.3")
    assert any(row["0020000D"]["Value"] == [study.uid] for row in client.search_for_studies())
    assert len(client.retrieve_study_metadata(study.uid)) == len(study.datasets()) > 3
    datasets = client.retrieve_study(study.uid)
    assert {str(dataset.SOPInstanceUID) for dataset in datasets} == {str(one.SOPInstanceUID) for one in study.datasets()}


def test_a_truncated_response_of_the_archive_fails_at_the_client(gateway, orthanc, studies):
    """Orthanc cannot decompress one of these images and ends its response there as if it were complete: half of the study is
    missing, and clients cannot detect it. Through the gateway they can."""
    study = next(study for study in studies if study.uid == "1.2.826.0.1.3680043.8.498.12406831542731051035295345080039845114")
    assert len(DICOMwebClient(orthanc.dicomweb).retrieve_study(study.uid)) < len(study.datasets())
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        DICOMwebClient(gateway.dicomweb).retrieve_study(study.uid)
