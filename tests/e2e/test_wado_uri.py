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


def query(study, series, uid: str, **further) -> str:
    parameters = {"requestType": "WADO", "studyUID": study.uid, "seriesUID": series.uid, "objectUID": uid, **further}
    # This version of Orthanc does not decode percent-escapes.
    return urllib.parse.urlencode(parameters, safe="/")


def objects(holdings, step: int):
    """Every `step`-th object that Orthanc holds."""
    held = [(study, series, uid) for study in holdings.studies.values() for series in study.series.values() for uid in series.instances]
    return [one for one in held[::step] if all(part.replace(".", "").isdigit() for part in (one[0].uid, one[1].uid, one[2]))]


def test_objects_are_forwarded_byte_for_byte(gateway, holdings):
    compared = 0
    for study, series, uid in objects(holdings, 7):
        answer = requests.get(f"{gateway.dicomweb}/wado", params=query(study, series, uid, contentType="application/dicom"), timeout=300)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/dicom"), (uid, answer.text[:300])
        assert answer.content == holdings.contents[uid]
        compared += 1
    assert compared > 50


def test_rendered_images_are_forwarded(gateway, orthanc, holdings):
    study = next(study for study in holdings.studies.values() if study.uid.startswith(SAMPLE))
    series = next(iter(study.series.values()))
    parameters = query(study, series, next(iter(series.instances)), contentType="image/jpeg")
    ours, theirs = (requests.get(url, params=parameters, timeout=300) for url in (f"{gateway.dicomweb}/wado", f"{orthanc.url}/wado"))
    assert ours.status_code == theirs.status_code == 200
    assert ours.headers["Content-Type"] == theirs.headers["Content-Type"]
    assert ours.content == theirs.content and ours.headers["Content-Type"].startswith("image/")


def test_objects_that_orthanc_does_not_anonymize_are_rejected(gateway, orthanc, holdings):
    study, series, uid = objects(holdings, 7)[0]
    parameters = query(study, series, uid, contentType="application/dicom", anonymize="yes")
    assert requests.get(f"{orthanc.url}/wado", params=parameters, timeout=300).content == holdings.contents[uid]
    answer = requests.get(f"{gateway.dicomweb}/wado", params=parameters, timeout=300)
    assert answer.status_code == 501 and uid not in answer.text


def test_unknown_objects_are_not_found(gateway, orthanc, holdings):
    study, series, _ = objects(holdings, 7)[0]
    answer = requests.get(f"{gateway.dicomweb}/wado", params=query(study, series, "1.2.3.4.5.6"), timeout=300)
    assert answer.status_code == 404, answer.text
    assert orthanc.url.removeprefix("http://") not in answer.text and "Orthanc" not in answer.text
