"""WADO-URI through the gateway, compared with Orthanc."""

import urllib.parse

import pytest
import requests

from servers import Gateway

SAMPLE = "2.25.133470007535392751803217985031206560121.1.1"


@pytest.fixture(scope="module")
def gateway(orthanc, holdings, tmp_path_factory):
    server = Gateway(tmp_path_factory.mktemp("uri"), "gateway", orthanc.dicomweb, archive=f'wado_uri_url = "{orthanc.url}/wado"')
    yield server
    server.stop()


def query(study, series, uid: str, **parameters) -> str:
    parameters = {"requestType": "WADO", "studyUID": study.uid, "seriesUID": series.uid, "objectUID": uid, **parameters}
    # This version of Orthanc does not decode percent-escapes.
    return urllib.parse.urlencode(parameters, safe="/")


def objects(holdings, step: int):
    """Returns every `step`-th object that can be requested: one study has no valid UID."""
    objects = [(study, series, uid) for study in holdings.studies.values() for series in study.series.values() for uid in series.instances]
    return [(study, series, uid) for study, series, uid in objects[::step] if all(part.replace(".", "").isdigit() for part in (study.uid, series.uid, uid))]


def test_objects_are_forwarded_byte_for_byte(gateway, holdings):
    compared_count = 0
    for study, series, uid in objects(holdings, 7):
        response = requests.get(f"{gateway.dicomweb}/wado", params=query(study, series, uid, contentType="application/dicom"), timeout=300)
        assert (response.status_code, response.headers["Content-Type"]) == (200, "application/dicom"), (uid, response.text[:300])
        assert response.content == holdings.contents[uid]
        compared_count += 1
    assert compared_count > 50


def test_rendered_images_are_forwarded(gateway, orthanc, holdings):
    study = next(study for study in holdings.studies.values() if study.uid.startswith(SAMPLE))
    series = next(iter(study.series.values()))
    parameters = query(study, series, next(iter(series.instances)), contentType="image/jpeg")
    from_gateway, from_orthanc = (requests.get(url, params=parameters, timeout=300) for url in (f"{gateway.dicomweb}/wado", f"{orthanc.url}/wado"))
    assert from_gateway.status_code == from_orthanc.status_code == 200
    assert from_gateway.headers["Content-Type"] == from_orthanc.headers["Content-Type"]
    assert from_gateway.content == from_orthanc.content and from_gateway.headers["Content-Type"].startswith("image/")


def test_objects_that_orthanc_does_not_anonymize_are_rejected(gateway, orthanc, holdings):
    study, series, uid = objects(holdings, 7)[0]
    parameters = query(study, series, uid, contentType="application/dicom", anonymize="yes")
    assert requests.get(f"{orthanc.url}/wado", params=parameters, timeout=300).content == holdings.contents[uid]
    response = requests.get(f"{gateway.dicomweb}/wado", params=parameters, timeout=300)
    assert response.status_code == 501 and uid not in response.text


def test_unknown_objects_are_not_found(gateway, orthanc, holdings):
    study, series, _ = objects(holdings, 7)[0]
    response = requests.get(f"{gateway.dicomweb}/wado", params=query(study, series, "1.2.3.4.5.6"), timeout=300)
    assert response.status_code == 404, response.text
    assert orthanc.url.removeprefix("http://") not in response.text and "Orthanc" not in response.text
