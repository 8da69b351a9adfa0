"""JSON and XML representations are equal, however they are requested; browsers get HTML pages."""

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


def in_both_formats(fhir, path: str, **options) -> dict:
    """The resource, which must be equal in both formats."""
    as_json = fhir.get(path, **options)
    as_xml = fhir.get(path, headers={"Accept": XML}, **options)
    assert as_xml.headers["Content-Type"] == f"{XML}; charset=utf-8" and as_xml.status_code == as_json.status_code
    assert fhir_xml.read(as_xml.content) == fhir_xml.normal(as_json.json()), path
    return as_json.json()


def test_every_study_and_patient_in_xml_equals_its_json(fhir, holdings):
    for uid in holdings.studies:
        in_both_formats(fhir, f"/ImagingStudy/{uid}")
    for page in fhir.pages("/Patient?_count=50"):
        for entry in page["entry"]:
            in_both_formats(fhir, f"/Patient/{entry['resource']['id']}")


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
    "/Patient?name=nobody-is-called-so",
    "/Patient?_revinclude=ImagingStudy:patient&_count=2",
    "/ImagingStudy/1.2.3",
    "/ImagingStudy?started=2024-13-45&_count=-1",
    "/Observation",
    "?_type=Patient,Endpoint&_count=5",
])
def test_every_kind_of_response_in_xml_equals_its_json(fhir, path):
    in_both_formats(fhir, path)


@pytest.mark.parametrize("spelling, content_type", [
    ("xml", XML), (XML, XML), ("application/fhir%2Bxml", XML), ("application/xml", "application/xml"), ("text/xml", "text/xml"),
    ("json", "application/fhir+json"), ("application/fhir%2Bjson", "application/fhir+json"), ("text/json", "text/json"),
])
def test_the_format_parameter_overrides_accept(fhir, spelling, content_type):
    answer = fhir.get(f"/Endpoint/main?_format={spelling}", headers={"Accept": "image/png"})
    assert answer.headers["Content-Type"] == f"{content_type}; charset=utf-8"


def test_xml_is_pretty_printed_compressed_and_revalidated(fhir):
    plain = fhir.get("/metadata?_format=xml")
    pretty = fhir.get("/metadata?_format=xml&_pretty=true")
    assert plain.text.count("\n") == 0 and pretty.text.count("\n") > 100
    assert fhir_xml.read(pretty.content) == fhir_xml.read(plain.content)
    packed = fhir.session.get(f"{fhir.base}/metadata?_format=xml", headers={"Accept-Encoding": "gzip"}, stream=True)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.raw.read(decode_content=False)) == plain.content
    assert fhir.get("/metadata?_format=xml", headers={"If-None-Match": plain.headers["ETag"]}).status_code == 304


def test_unsupported_formats_and_versions_are_rejected(fhir):
    for options in ({"headers": {"Accept": "application/fhir+turtle"}}, {"params": {"_format": "ttl"}},
                    {"headers": {"Accept": "application/fhir+xml; fhirVersion=3.0"}}):
        answer = fhir.get("/metadata", **options)
        assert answer.status_code == 406 and answer.json()["resourceType"] == "OperationOutcome"
        assert "Accept" in answer.headers["Vary"]


@pytest.mark.parametrize("name", ["profiles-types.json", "search-parameters.json", "conceptmaps.json", "valuesets.json"])
def test_resources_published_by_hl7_are_converted_to_valid_xml(name):
    """Narratives, contained resources, extensions of primitives: more than the gateway itself returns."""
    source = DEFINITIONS / name
    written = subprocess.run([TARGET / "debug" / "examples" / "write_xml", source], capture_output=True, check=True).stdout
    resource = json.loads(source.read_text(), parse_float=decimal.Decimal)
    assert fhir_xml.read(written) == fhir_xml.normal(resource)


class Page(html.parser.HTMLParser):
    """The JSON that a browser shows, and the links in it."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.links, self.shown, self.inside = set(), [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.inside |= tag == "pre"
        self.links += [value for name, value in attrs if name == "href"]
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)

    def handle_endtag(self, tag):
        self.inside &= tag != "pre"

    def handle_data(self, data):
        self.shown += data if self.inside else ""


@pytest.mark.parametrize("path", ["/metadata", "/ImagingStudy?_count=3&_include=ImagingStudy:patient", "/Patient", "?_count=3", "/Endpoint/main", "/ImagingStudy/1.2.3"])
def test_pages_for_browsers_show_the_json_with_working_links(fhir, path):
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"}
    answer = fhir.get(path, headers=browser)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    page = Page(answer.text)
    assert json.loads(page.shown) == fhir.get(path).json()
    assert not page.tags & {"script", "img", "iframe", "object", "form", "link"}
    for link in page.links:
        assert link.startswith(("?", fhir.base + "/", fhir.base + "?")), link
        followed = fhir.get(path.split("?")[0] + link if link.startswith("?") else link, headers=browser)
        assert followed.status_code == (404 if link.startswith("?") and "1.2.3" in path else 200), link
