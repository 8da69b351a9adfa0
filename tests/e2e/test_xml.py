"""Rows and metadata in XML that the gateway converts from the JSON of Orthanc are valid and, according to an independent reader, equal."""

import pytest
import requests

import native_model
from servers import Gateway, Nginx, free_ports
from test_dicomweb import assert_no_url_of, parts

XML = {"Accept": 'multipart/related; type="application/dicom+xml"'}


@pytest.fixture(scope="module")
def gateway(orthanc, holdings, tmp_path_factory):
    """A gateway in front of an nginx that requests only JSON from Orthanc, which can also write metadata in XML."""
    folder = tmp_path_factory.mktemp("json")
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    archive = Nginx(folder, f"""listen 127.0.0.1:{port}; location / {{
      proxy_pass {orthanc.url}; proxy_set_header Host $http_host; proxy_set_header Accept application/dicom+json; }}""", f"{url}/system")
    server = Gateway(folder, "gateway", f"{url}/dicom-web")
    yield server
    server.stop()
    archive.stop()


def compare_formats(path: str) -> int:
    """Asserts that the objects at `path` are equal in both formats, and returns their number."""
    json = requests.get(path, timeout=300)
    xml = requests.get(path, headers=XML, timeout=300)
    assert json.status_code == xml.status_code == 200, (path, json.status_code, xml.status_code, xml.text[:300])
    assert xml.headers["Content-Type"].startswith('multipart/related; type="application/dicom+xml"; boundary=')
    objects, documents = json.json(), parts(xml)
    assert len(objects) == len(documents)
    for (headers, document), expected in zip(documents, objects):
        assert headers == {"content-type": "application/dicom+xml"}
        elements = native_model.read(document)
        # Rows of studies in JSON have no empty ModalitiesInStudy, which viewers cannot read.
        if elements.get((None, "00080061")) == ("CS", []) and "00080061" not in expected:
            del elements[None, "00080061"]
        assert native_model.equal(elements, native_model.from_json(expected)), path
    return len(objects)


@pytest.fixture(scope="module")
def studies(holdings) -> list:
    return [uid for uid in holdings.studies if uid.replace(".", "").isdigit()]


@pytest.mark.parametrize("root", ["dicom-web/main", "dicom-web"])
def test_rows_in_xml_equal_rows_in_json(gateway, root):
    for path, minimum in (("studies", 80), ("studies?PatientID=DEMO-0001", 1), ("series", 100), ("instances?limit=50", 50)):
        assert compare_formats(f"{gateway.url}/{root}/{path}") >= minimum


def test_metadata_in_xml_equals_metadata_in_json(gateway, studies):
    object_count = 0
    for uid in studies:
        path = f"{gateway.dicomweb}/studies/{uid}/metadata"
        # Orthanc returns no metadata of a study of two patients.
        if requests.head(path, timeout=300).status_code == 200:
            object_count += compare_formats(path)
    assert object_count > 450


def test_empty_lists_in_xml_are_a_204(gateway):
    for root in ("dicom-web/main", "dicom-web"):
        response = requests.get(f"{gateway.url}/{root}/studies?PatientID=unknown", headers=XML, timeout=300)
        assert (response.status_code, response.content) == (204, b"")


def test_xml_of_the_archive_is_forwarded(orthanc, holdings, tmp_path):
    gateway = Gateway(tmp_path, "gateway", orthanc.dicomweb)
    path = "/studies/2.25.133470007535392751803217985031206560121.16.3/metadata"
    try:
        from_gateway, from_orthanc = (requests.get(root + path, headers=XML, timeout=300) for root in (gateway.dicomweb, orthanc.dicomweb))
    finally:
        gateway.stop()
    assert len(parts(from_gateway)) == len(parts(from_orthanc)) > 3
    assert_no_url_of(orthanc, from_gateway)
