"""The FHIR API over HTTP: statuses, OperationOutcomes, conditional requests, formats, unknown parameters, and the admin listener."""

import gzip
import json

import pytest
import requests

from conftest import link, matches
from holdings import Holdings
from servers import Gateway


def assert_outcome(response, status: int) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"].startswith("application/fhir+json")
    body = response.json()
    assert body["resourceType"] == "OperationOutcome"
    assert all(issue["severity"] in ("error", "fatal") for issue in body["issue"])
    return body


def study_with_several_instances(holdings: Holdings) -> str:
    return next(uid for uid, study in holdings.studies.items() if len(study.datasets()) > 3)


def test_every_parameter_in_the_capability_statement_is_accepted(fhir):
    statement = fhir.json("/metadata")
    assert statement["fhirVersion"] == "4.0.1"
    types = {resource["type"]: resource for resource in statement["rest"][0]["resource"]}
    assert set(types) == {"ImagingStudy", "Patient", "Endpoint"}
    for name, resource in types.items():
        for parameter in resource["searchParam"]:
            value = {"date": "2000-01-01", "reference": "main", "uri": "http://a.example/b"}.get(parameter["type"], "x")
            if parameter["name"] in ("series", "instance"):
                value = "1.2"
            response = fhir.get(f"/{name}?{parameter['name']}={value}", headers={"Prefer": "handling=strict"})
            assert response.status_code == 200, (name, parameter, response.text)


@pytest.mark.parametrize("query, parameter", [
    ("started=2024-13-45", "started"),
    ("started=gt", "started"),
    ("_count=abc", "_count"),
    ("_count=-1", "_count"),
    ("identifier=urn:oid:1.2.x", "identifier"),
    ("patient.identifier=a%00b", "patient.identifier"),
    ("_summary=some", "_summary"),
    ("_contained=perhaps", "_contained"),
    ("series=x", "series"),
    ("modality:above=CT", "modality"),
    ("_cursor=nonsense", "_cursor"),
    ("identifier=", None),
])
def test_invalid_values_are_rejected_with_the_parameter(fhir, query, parameter):
    response = fhir.get(f"/ImagingStudy?{query}")
    if parameter is None:
        # R4 ignores a parameter without a value; the gateway may also reject it.
        assert response.status_code in (200, 400)
        return
    text = json.dumps(assert_outcome(response, 400))
    assert parameter in text


@pytest.mark.parametrize("path", ["/ImagingStudy/1.2.3", "/ImagingStudy/nothing", "/Patient/0000", "/Endpoint/other", "/Observation", "/Observation/1", "/ImagingStudy/1.2.3/_history", "/ImagingStudy/_history"])
def test_unknown_resources_and_types_are_not_found(fhir, path):
    assert_outcome(fhir.get(path), 404)


def test_unsupported_methods_are_rejected(fhir):
    response = fhir.request("DELETE", "/ImagingStudy/1.2.3")
    assert_outcome(response, 405)
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert_outcome(fhir.request("POST", "/ImagingStudy", json={}), 405)
    assert_outcome(fhir.request("PUT", "/Patient/1", json={}), 405)


def test_representations_are_negotiated(fhir, holdings):
    path = f"/ImagingStudy/{study_with_several_instances(holdings)}"
    assert_outcome(fhir.get(path, headers={"Accept": "application/fhir+turtle"}), 406)
    assert_outcome(fhir.get(f"{path}?_format=ttl"), 406)
    compact = fhir.get(path, headers={"Accept": "application/json"})
    assert compact.headers["Content-Type"].startswith("application/json")
    pretty = fhir.get(f"{path}?_pretty=true")
    assert pretty.text.count("\n") > 20 and pretty.json() == compact.json()
    compressed = fhir.session.get(fhir.base + path, headers={"Accept-Encoding": "gzip"}, stream=True)
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(compressed.raw.read(decode_content=False))) == compact.json()
    head = fhir.request("HEAD", path)
    assert head.status_code == 200 and head.content == b""


def test_searches_by_post_match_searches_by_get(fhir):
    by_get = fhir.json("/ImagingStudy?modality=CT")
    by_post = fhir.request("POST", "/ImagingStudy/_search", data={"modality": "CT"})
    assert by_post.status_code == 200
    assert [study["id"] for study in matches(by_post.json())] == [study["id"] for study in matches(by_get)]
    assert_outcome(fhir.request("POST", "/ImagingStudy/_search", data=b"{}", headers={"Content-Type": "application/json"}), 415)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert_outcome(fhir.request("POST", "/ImagingStudy/_search", data=b"_id=" + 4_000_000 * b"1", headers=form), 413)


def test_requests_that_are_too_long_are_rejected(fhir):
    assert_outcome(fhir.get("/ImagingStudy?identifier=" + 50_000 * "1"), 414)
    # The gateway rejects this request before it has read the whole request line.
    assert fhir.get("/ImagingStudy?identifier=" + 200_000 * "1").status_code == 431
    response = fhir.request("POST", "/ImagingStudy/_search", data={"identifier": 50_000 * "1"})
    assert "identifier" in json.dumps(assert_outcome(response, 400))


def test_conditional_requests_return_304_for_the_current_etag(fhir, holdings):
    for path in (f"/ImagingStudy/{study_with_several_instances(holdings)}", "/ImagingStudy?modality=MR", "/Endpoint/main"):
        first = fhir.get(path)
        second = fhir.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (second.status_code, second.content) == (304, b"")
        assert second.headers["ETag"] == first.headers["ETag"]
        assert fhir.get(path, headers={"If-None-Match": '"other"'}).content == first.content
        assert fhir.get(path, headers={"Cache-Control": "no-cache"}).json() == first.json()


def test_unknown_parameters_are_ignored_with_a_warning_or_rejected(fhir):
    lenient = fhir.json("/ImagingStudy?modality=SR&color=green")
    assert "color" not in link(lenient, "self") and "modality" in link(lenient, "self")
    (warning,) = [entry for entry in lenient["entry"] if entry["search"]["mode"] == "outcome"]
    assert "color" in json.dumps(warning["resource"])
    assert lenient["total"] == fhir.json("/ImagingStudy?modality=SR")["total"] > 0
    assert "color" in json.dumps(assert_outcome(fhir.get("/ImagingStudy?color=green", headers={"Prefer": "handling=strict"}), 400))


def test_summary_elements_and_count_omit_other_content(fhir, holdings):
    uid = study_with_several_instances(holdings)
    complete = fhir.json(f"/ImagingStudy/{uid}")
    assert all("instance" in series for series in complete["series"])
    for resource in (fhir.json(f"/ImagingStudy/{uid}?_summary=true"), matches(fhir.json(f"/ImagingStudy?_id={uid}&_summary=true"))[0]):
        assert not any("instance" in series for series in resource["series"])
        assert "SUBSETTED" in json.dumps(resource["meta"])
    selected = fhir.json(f"/ImagingStudy/{uid}?_elements=started,modality")
    assert set(selected) <= {"resourceType", "id", "meta", "started", "modality", "status", "subject"} and {"started", "modality"} & set(selected)
    for query in ("_summary=count", "_count=0"):
        counted = fhir.json(f"/ImagingStudy?modality=SR&{query}")
        assert "entry" not in counted and counted["total"] == fhir.json("/ImagingStudy?modality=SR")["total"]


def test_an_unreachable_archive_is_an_error_without_its_url(record, tmp_path, holdings):
    from conftest import Client

    server = Gateway(tmp_path, "unreachable", "http://127.0.0.1:9/dicom-web")
    try:
        client = Client(server.fhir, record)
        for path in ("/ImagingStudy", "/ImagingStudy/1.2.3", "/Patient?name=x"):
            response = client.get(path)
            text = assert_outcome(response, response.status_code)
            assert response.status_code in (502, 503, 504)
            assert "127.0.0.1:9" not in json.dumps(text)
        assert client.json("/metadata")["status"] == "active"
    finally:
        assert server.stop() == 0


def test_probes_and_metrics_are_on_the_admin_listener_only(gateway, fhir):
    fhir.json("/metadata")
    assert requests.get(f"{gateway.admin}/livez", timeout=300).status_code == 200
    assert requests.get(f"{gateway.admin}/readyz", timeout=300).status_code == 200
    metrics = requests.get(f"{gateway.admin}/metrics", timeout=300).text
    assert "fhir.capabilities" in metrics
    for path in ("/livez", "/readyz", "/metrics"):
        assert requests.get(gateway.url + path, timeout=300).status_code == 404


def test_logs_contain_no_patient_data(gateway, fhir):
    fhir.get("/ImagingStudy?patient.identifier=SECRET-4711")
    fhir.get("/Patient?name=Secretname")
    log = gateway.log.read_text()
    assert "fhir.search.Patient" in log
    for word in ("SECRET-4711", "Secretname", "DEMO-0001", "Yamada"):
        assert word not in log
