"""Formats of FHIR responses: XML equals JSON for every request, and browsers get HTML pages."""

import decimal
import gzip
import html.parser
import json
import subprocess

import pytest

import fhir_xml
import validators
from servers import TARGET

DEFINITIONS = validators.SCHEMA.parent
XML = "application/fhir+xml"


def assert_equal_formats(fhir, path: str, **options) -> None:
    """Asserts that the resource at `path` is equal in both formats."""
    as_json = fhir.get(path, **options)
    as_xml = fhir.get(path, headers={"Accept": XML}, **options)
    assert as_xml.headers["Content-Type"] == f"{XML}; charset=utf-8" and as_xml.status_code == as_json.status_code
    assert fhir_xml.read(as_xml.content) == fhir_xml.normalize(as_json.json()), path


def test_every_study_and_patient_in_xml_equals_its_json(fhir, holdings):
    for uid in holdings.studies:
        assert_equal_formats(fhir, f"/ImagingStudy/{uid}")
    for page in fhir.pages("/Patient?_count=50"):
        for entry in page["entry"]:
            assert_equal_formats(fhir, f"/Patient/{entry['resource']['id']}")


@pytest.mark.parametrize("path", [
    "/metadata",
    "/Endpoint",
    "/Endpoint/main",
    "/ImagingStudy?_count=500",
    "/ImagingStudy?_summary=true&_include=ImagingStudy:patient&_include=ImagingStudy:endpoint&color=green",
    "/ImagingStudy?_elements=started&_count=3",
    "/ImagingStudy?_summary=count",
    "/ImagingStudy?_summary=text",
    "/Patient?_summary=text",
    "/Patient?name=unknown-name",
    "/Patient?_revinclude=ImagingStudy:patient&_count=2",
    "/ImagingStudy/1.2.3",
    "/ImagingStudy?started=2024-13-45&_count=-1",
    "/Observation",
    "?_type=Patient,Endpoint&_count=5",
])
def test_every_kind_of_response_in_xml_equals_its_json(fhir, path):
    assert_equal_formats(fhir, path)


@pytest.mark.parametrize("format_value, content_type", [
    ("xml", XML), (XML, XML), ("application/fhir%2Bxml", XML), ("application/xml", "application/xml"), ("text/xml", "text/xml"),
    ("json", "application/fhir+json"), ("application/fhir%2Bjson", "application/fhir+json"), ("text/json", "text/json"),
])
def test_the_format_parameter_overrides_accept(fhir, format_value, content_type):
    response = fhir.get(f"/Endpoint/main?_format={format_value}", headers={"Accept": "image/png"})
    assert response.headers["Content-Type"] == f"{content_type}; charset=utf-8"


def test_xml_can_be_pretty_printed_compressed_and_revalidated(fhir):
    compact = fhir.get("/metadata?_format=xml")
    pretty = fhir.get("/metadata?_format=xml&_pretty=true")
    assert compact.text.count("\n") == 0 and pretty.text.count("\n") > 100
    assert fhir_xml.read(pretty.content) == fhir_xml.read(compact.content)
    compressed = fhir.session.get(f"{fhir.base}/metadata?_format=xml", headers={"Accept-Encoding": "gzip"}, stream=True)
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.raw.read(decode_content=False)) == compact.content
    assert fhir.get("/metadata?_format=xml", headers={"If-None-Match": compact.headers["ETag"]}).status_code == 304


def test_unsupported_formats_and_versions_are_rejected(fhir):
    for options in ({"headers": {"Accept": "application/fhir+turtle"}}, {"params": {"_format": "ttl"}},
                    {"headers": {"Accept": "application/fhir+xml; fhirVersion=3.0"}}):
        response = fhir.get("/metadata", **options)
        assert response.status_code == 406 and response.json()["resourceType"] == "OperationOutcome"
        assert "Accept" in response.headers["Vary"]


@pytest.mark.parametrize("name", ["profiles-types.json", "search-parameters.json", "conceptmaps.json", "valuesets.json"])
def test_resources_published_by_hl7_are_converted_to_valid_xml(name):
    """These resources have narratives, contained resources and extensions of primitives, which the gateway does not return."""
    source = DEFINITIONS / name
    xml = subprocess.run([TARGET / "debug" / "examples" / "write_xml", source], capture_output=True, check=True).stdout
    resource = json.loads(source.read_text(), parse_float=decimal.Decimal)
    assert fhir_xml.read(xml) == fhir_xml.normalize(resource)


class Page(html.parser.HTMLParser):
    """A parser of a page for browsers: its tags, its links, and the JSON in its element pre."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.links, self.json_text, self.is_in_pre = set(), [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.is_in_pre |= tag == "pre"
        self.links += [value for name, value in attrs if name == "href"]
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)

    def handle_endtag(self, tag):
        self.is_in_pre &= tag != "pre"

    def handle_data(self, data):
        self.json_text += data if self.is_in_pre else ""


@pytest.mark.parametrize("path", ["/metadata", "/ImagingStudy?_count=3&_include=ImagingStudy:patient", "/Patient", "?_count=3", "/Endpoint/main", "/ImagingStudy/1.2.3"])
def test_pages_for_browsers_show_the_json_with_working_links(fhir, path):
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"}
    response = fhir.get(path, headers=browser)
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    page = Page(response.text)
    assert json.loads(page.json_text) == fhir.get(path).json()
    assert not page.tags & {"script", "img", "iframe", "object", "form", "link"}
    for link in page.links:
        assert link.startswith(("?", fhir.base + "/", fhir.base + "?")), link
        target = fhir.get(path.split("?")[0] + link if link.startswith("?") else link, headers=browser)
        assert target.status_code == (404 if link.startswith("?") and "1.2.3" in path else 200), link
