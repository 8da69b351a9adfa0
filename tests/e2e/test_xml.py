"""Rows and metadata in XML, converted from the JSON of Orthanc: equal by an independent reader, and valid."""

import pytest
import requests

import native_model
from servers import Gateway, Nginx, free_ports
from test_dicomweb import assert_no_url_of, parts

XML = {"Accept": 'multipart/related; type="application/dicom+xml"'}


@pytest.fixture(scope="module")
def gateway(orthanc, holdings, tmp_path_factory):
    """In front of an Orthanc whose requests are changed to JSON, because it writes metadata in XML itself."""
    folder = tmp_path_factory.mktemp("json")
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    archive = Nginx(folder, f"""listen 127.0.0.1:{port}; location / {{
      proxy_pass {orthanc.url}; proxy_set_header Host $http_host; proxy_set_header Accept application/dicom+json; }}""", f"{url}/system")
    server = Gateway(folder, "gateway", f"{url}/dicom-web")
    yield server
    server.stop()
    archive.stop()


def compared(path: str) -> int:
    """The number of objects at `path`, which must be equal in both formats."""
    json = requests.get(path, timeout=300)
    xml = requests.get(path, headers=XML, timeout=300)
    assert json.status_code == xml.status_code == 200, (path, json.status_code, xml.status_code, xml.text[:300])
    assert xml.headers["Content-Type"].startswith('multipart/related; type="application/dicom+xml"; boundary=')
    objects, documents = json.json(), parts(xml)
    assert len(objects) == len(documents)
    for (headers, document), expected in zip(documents, objects):
        assert headers == {"content-type": "application/dicom+xml"}
        found = native_model.data_set(document)
        # Rows of studies in JSON have no empty ModalitiesInStudy, which viewers cannot read.
        if found.get((None, "00080061")) == ("CS", []) and "00080061" not in expected:
            del found[None, "00080061"]
        assert native_model.same(found, native_model.of_json(expected)), path
    return len(objects)


@pytest.fixture(scope="module")
def studies(holdings) -> list:
    return [uid for uid in holdings.studies if uid.replace(".", "").isdigit()]


@pytest.mark.parametrize("root", ["dicom-web/main", "dicom-web"])
def test_rows_in_xml_equal_rows_in_json(gateway, root):
    for path, least in (("studies", 80), ("studies?PatientID=DEMO-0001", 1), ("series", 100), ("instances?limit=50", 50)):
        assert compared(f"{gateway.url}/{root}/{path}") >= least


def test_metadata_in_xml_equals_metadata_in_json(gateway, studies):
    counted = 0
    for uid in studies:
        path = f"{gateway.dicomweb}/studies/{uid}/metadata"
        # A study of two patients has no metadata.
        if requests.head(path, timeout=300).status_code == 200:
            counted += compared(path)
    assert counted > 450


def test_empty_lists_in_xml_are_a_204(gateway):
    for root in ("dicom-web/main", "dicom-web"):
        answer = requests.get(f"{gateway.url}/{root}/studies?PatientID=nobody", headers=XML, timeout=300)
        assert (answer.status_code, answer.content) == (204, b"")


def test_xml_of_the_archive_is_forwarded(orthanc, holdings, tmp_path):
    gateway = Gateway(tmp_path, "gateway", orthanc.dicomweb)
    path = "/studies/2.25.133470007535392751803217985031206560121.16.3/metadata"
    try:
        ours, theirs = (requests.get(root + path, headers=XML, timeout=300) for root in (gateway.dicomweb, orthanc.dicomweb))
    finally:
        gateway.stop()
    assert len(parts(ours)) == len(parts(theirs)) > 3
    assert_no_url_of(orthanc, ours)
