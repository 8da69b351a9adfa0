"""WADO-URI through the gateway, against the Orthanc whose service it is."""

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
    asked = {"requestType": "WADO", "studyUID": study.uid, "seriesUID": series.uid, "objectUID": uid, **further}
    # This Orthanc decodes no escapes.
    return urllib.parse.urlencode(asked, safe="/")


def objects(holdings, step: int):
    """Every so many objects of all that Orthanc holds."""
    held = [(study, series, uid) for study in holdings.studies.values() for series in study.series.values() for uid in series.instances]
    return [one for one in held[::step] if all(part.replace(".", "").isdigit() for part in (one[0].uid, one[1].uid, one[2]))]


def test_objects_are_the_same_to_the_byte(gateway, holdings):
    compared = 0
    for study, series, uid in objects(holdings, 7):
        answer = requests.get(f"{gateway.dicomweb}/wado", params=query(study, series, uid, contentType="application/dicom"), timeout=300)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/dicom"), (uid, answer.text[:300])
        assert answer.content == holdings.contents[uid]
        compared += 1
    assert compared > 50


def test_images_are_the_same(gateway, orthanc, holdings):
    study = next(study for study in holdings.studies.values() if study.uid.startswith(SAMPLE))
    series = next(iter(study.series.values()))
    asked = query(study, series, next(iter(series.instances)), contentType="image/jpeg")
    ours, theirs = (requests.get(url, params=asked, timeout=300) for url in (f"{gateway.dicomweb}/wado", f"{orthanc.url}/wado"))
    assert ours.status_code == theirs.status_code == 200
    assert ours.headers["Content-Type"] == theirs.headers["Content-Type"]
    assert ours.content == theirs.content and ours.headers["Content-Type"].startswith("image/")


def test_an_orthanc_makes_nothing_anonymous_and_nobody_is_told_that_it_did(gateway, orthanc, holdings):
    study, series, uid = objects(holdings, 7)[0]
    asked = query(study, series, uid, contentType="application/dicom", anonymize="yes")
    assert requests.get(f"{orthanc.url}/wado", params=asked, timeout=300).content == holdings.contents[uid]
    answer = requests.get(f"{gateway.dicomweb}/wado", params=asked, timeout=300)
    assert answer.status_code == 501 and uid not in answer.text


def test_what_is_not_there_is_not_found(gateway, orthanc, holdings):
    study, series, _ = objects(holdings, 7)[0]
    answer = requests.get(f"{gateway.dicomweb}/wado", params=query(study, series, "1.2.3.4.5.6"), timeout=300)
    assert answer.status_code == 404, answer.text
    assert orthanc.url.removeprefix("http://") not in answer.text and "Orthanc" not in answer.text
