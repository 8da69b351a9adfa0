"""URLs in responses: without a proxy, behind trusted proxies, and behind nginx under a path."""

import json
import re

import pytest

from conftest import PREFIX, Client, matches


def hosts(value) -> set[str]:
    """Returns the hosts of all URLs in `value`, except those of terminologies and standards."""
    standards = ("hl7.org", "snomed.info", "dicom.nema.org", "fhir.org", "loinc.org", "radlex.org", "unitsofmeasure.org")
    names = set(re.findall(r"https?://([^/\"|]+)", json.dumps(value)))
    return {host for host in names if not host.endswith(standards)}


@pytest.fixture
def proxied_client(proxied, record) -> Client:
    return Client(proxied.fhir, record)


QUERIES = ("/ImagingStudy?_count=2&_include=ImagingStudy:endpoint&_include=ImagingStudy:patient", "/Patient?_count=2", "/Endpoint", "/metadata", "/Endpoint/main")


@pytest.mark.parametrize("query", QUERIES)
def test_forwarded_headers_of_trusted_proxies_are_used(proxied_client, query):
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "imaging.example.org", "X-Forwarded-Prefix": "/pacs"}
    body = proxied_client.json(query, headers=headers)
    assert hosts(body) == {"imaging.example.org"}
    assert "https://imaging.example.org/pacs/" in json.dumps(body)
    body = proxied_client.json(query, headers={"Forwarded": "proto=https;host=other.example.org"})
    assert hosts(body) == {"other.example.org"}


@pytest.mark.parametrize("query", QUERIES)
def test_forwarded_headers_of_other_clients_are_ignored(fhir, query):
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example.org", "Forwarded": "host=evil.example.org"}
    assert hosts(fhir.json(query, headers=headers)) == {fhir.base.split("/")[2]}


def test_urls_behind_nginx_have_its_host_and_path(nginx, record, orthanc, holdings):
    client = Client(f"{nginx.url}/fhir", record)
    pages = client.pages("/ImagingStudy?_count=30&_elements=status")
    assert sum(len(matches(page)) for page in pages) == len(holdings.studies) - 1
    for page in pages:
        for entry in page["entry"]:
            assert entry["search"]["mode"] == "outcome" or entry["fullUrl"].startswith(f"{nginx.url}/fhir/ImagingStudy/")
    endpoint = client.json("/Endpoint/main")
    assert endpoint["address"] == f"{nginx.url}/dicom-web/main"
    rows = client.session.get(f"{endpoint['address']}/studies?limit=5", timeout=300).json()
    assert len(rows) == 5
    for row in rows:
        (url,) = row["00081190"]["Value"]
        assert url.startswith(f"{nginx.url}/dicom-web/main/studies/") and PREFIX in url
        assert client.session.get(f"{url}/metadata", timeout=300).status_code in (200, 404)
    assert orthanc.url.removeprefix("http://") not in json.dumps(rows)
