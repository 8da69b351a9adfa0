"""Implementation guides and narratives: resources conform to the profiles that they claim, and narratives are XHTML as R4 allows it.

The conditions are written from the text of the profiles. All implementation guides and narratives are enabled.
"""

import collections
import re
from xml.etree import ElementTree

import pytest
import requests

from conftest import Client
from servers import Gateway

GUIDES = ["smart-imaging-access", "ihe-imr", "eu-imaging", "us-core", "ipa"]
ARGONAUT = "http://fhir.org/argonaut/smart-imaging/StructureDefinition/"
IMR = "https://profiles.ihe.net/RAD/IMR/StructureDefinition/"
DATA_ABSENT_REASON = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
NUMBER_OF_FRAMES = "https://profiles.ihe.net/RAD/MADO/StructureDefinition/MadoNumberOfFrames"
DCM = "http://dicom.nema.org/resources/ontology/DCM"

# R4 narrative.html: the elements of HTML 4 for text, lists and tables, and no active content.
ALLOWED = set(
    "div p br span em strong dfn code samp kbd var cite abbr acronym blockquote q sub sup pre ins del ul ol li dl dt dd table "
    "caption thead tfoot tbody colgroup col tr th td a img b i big small tt hr h1 h2 h3 h4 h5 h6".split()
)


@pytest.fixture(scope="module")
def with_guides(orthanc, holdings, folder, record):
    names = ", ".join(f'"{name}"' for name in GUIDES)
    archive = 'patient_id_system = "urn:oid:2.999.7"'
    server = Gateway(folder, "with-guides", orthanc.dicomweb, archive=archive, fhir=f"profiles = [{names}]\nnarrative = true")
    yield Client(server.fhir, record)
    server.stop()


@pytest.fixture(scope="module")
def resources(with_guides) -> dict[str, list[dict]]:
    """Every resource by its type."""
    return {
        name: [entry["resource"] for page in with_guides.pages(f"/{name}?_count=200") for entry in page.get("entry", [])
               if entry["search"]["mode"] == "match"]
        for name in ["ImagingStudy", "Patient", "Endpoint"]
    }


def extensions(element: dict) -> list[str]:
    return [extension["url"] for extension in element.get("extension", [])]


def is_smart_imaging_study(study: dict) -> bool:
    uids = [identifier for identifier in study.get("identifier", []) if identifier.get("system") == "urn:dicom:uid" and identifier.get("value")]
    return len(uids) == 1 and bool(study.get("modality")) and bool(study.get("endpoint"))


def is_us_core_name(name: dict) -> bool:
    return bool(name.get("family") or name.get("given")) != (DATA_ABSENT_REASON in extensions(name))


def is_us_core_patient(patient: dict) -> bool:
    identifiers, names = patient.get("identifier", []), patient.get("name", [])
    return bool(
        identifiers and all(identifier.get("system") and identifier.get("value") for identifier in identifiers)
        and names and all(map(is_us_core_name, names)) and patient.get("gender")
    )


def is_ipa_patient(patient: dict) -> bool:
    identifiers, names = patient.get("identifier", []), patient.get("name", [])
    qualified = [identifier.get("value") and (identifier.get("system") or identifier.get("type") or identifier.get("assigner")) for identifier in identifiers]
    texts = [name.get("text") and (name.get("family") or name.get("given")) for name in names]
    return bool(qualified and all(qualified) and texts and all(texts))


# Each profile with its requirements beyond R4, and whether some resources do not meet them.
PROFILES = {
    "ImagingStudy": {
        ARGONAUT + "smart-imaging-study": (is_smart_imaging_study, False),
        IMR + "imr-imagingstudy": (lambda study: is_smart_imaging_study(study) and "started" in study, True),
    },
    "Patient": {
        "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient": (is_us_core_patient, True),
        "http://hl7.org/fhir/uv/ipa/StructureDefinition/ipa-patient": (is_ipa_patient, True),
    },
    "Endpoint": {
        ARGONAUT + "smart-wado-endpoint": (lambda endpoint: extensions(endpoint).count(ARGONAUT + "requires-access-token") == 1, False),
        IMR + "imaging-study-endpoint": (
            lambda endpoint: [payload["coding"][0]["code"] for payload in endpoint["payloadType"]] == ["113014"]
            and endpoint["connectionType"]["code"] == "dicom-wado-rs", False),
    },
}


@pytest.mark.parametrize("name", PROFILES)
def test_resources_claim_exactly_the_profiles_that_they_conform_to(resources, name):
    assert resources[name]
    for resource in resources[name]:
        expected_profiles = [canonical for canonical, (conforms, _) in PROFILES[name].items() if conforms(resource)]
        assert resource.get("meta", {}).get("profile", []) == expected_profiles, resource["id"]
    for canonical, (conforms, some_do_not_conform) in PROFILES[name].items():
        results = {conforms(resource) for resource in resources[name]}
        assert results == ({True, False} if some_do_not_conform else {True}), canonical


def test_the_capability_statement_lists_the_profiles(with_guides):
    supported = {resource["type"]: resource.get("supportedProfile", []) for resource in with_guides.json("/metadata")["rest"][0]["resource"]}
    assert supported == {name: list(profiles) for name, profiles in PROFILES.items()}


def test_identifiers_have_the_type_codes_of_dicom(resources):
    accession_count = 0
    for study in resources["ImagingStudy"]:
        typed_values = [
            (identifier["value"], {(code["system"], code["code"]) for code in identifier.get("type", {}).get("coding", [])})
            for identifier in study["identifier"] + [order["identifier"] for order in study.get("basedOn", [])]
        ]
        assert typed_values[0] == (f"urn:oid:{study['id']}", {(DCM, "110180")})
        for _, codes in typed_values[1:]:
            if ("http://terminology.hl7.org/CodeSystem/v2-0203", "ACSN") in codes:
                assert (DCM, "121022") in codes
                accession_count += 1
    assert accession_count > 10


def test_numbers_of_frames_match_the_files(resources, holdings, orthanc):
    stored = requests.get(f"{orthanc.url}/instances?expand", timeout=300).json()
    copies = collections.Counter(instance["MainDicomTags"]["SOPInstanceUID"] for instance in stored)
    value_count, multi_frame_count = 0, 0
    for study in resources["ImagingStudy"]:
        files = {str(dataset.SOPInstanceUID): dataset for dataset in holdings.studies[study["id"]].datasets()}
        for instance in (instance for series in study.get("series", []) for instance in series.get("instance", [])):
            # Orthanc stores several objects with this UID.
            if copies[instance["uid"]] > 1:
                continue
            frames = int(files[instance["uid"]].get("NumberOfFrames") or 0)
            values = [extension["valueInteger"] for extension in instance.get("extension", []) if extension["url"] == NUMBER_OF_FRAMES]
            assert values == ([frames] if frames > 0 else []), instance["uid"]
            value_count, multi_frame_count = value_count + len(values), multi_frame_count + (frames > 1)
    assert value_count > 10 and multi_frame_count > 5, (value_count, multi_frame_count)


def strings(value) -> set[str]:
    """Returns every text and number in a resource, except in its narrative."""
    if isinstance(value, dict):
        return set().union(*(strings(member) for name, member in value.items() if name != "text" or not isinstance(member, dict)))
    if isinstance(value, list):
        return set().union(*map(strings, value))
    return {str(value).removeprefix("urn:oid:")}


def assert_is_narrative(resource: dict) -> ElementTree.Element:
    assert resource["text"]["status"] == "generated"
    div = ElementTree.fromstring(resource["text"]["div"])
    assert div.tag == "{http://www.w3.org/1999/xhtml}div"
    for element in div.iter():
        # txt-1: a narrative contains only formatting, no links and no active content.
        assert element.tag.removeprefix("{http://www.w3.org/1999/xhtml}") in ALLOWED and not element.attrib
    # txt-2: a narrative is not empty.
    assert "".join(div.itertext()).strip()
    return div


def normalize_spaces(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


@pytest.mark.parametrize("name", PROFILES)
def test_narratives_are_xhtml_and_contain_only_values_of_the_elements(resources, name):
    for resource in resources[name]:
        div = assert_is_narrative(resource)
        element_texts = {normalize_spaces(text) for text in strings(resource)}
        for cell in div.iter("{http://www.w3.org/1999/xhtml}td"):
            text = normalize_spaces(cell.text or "")
            assert not text or text in element_texts or set(text.split(", ")) <= element_texts, text
        if name == "Patient":
            names = {normalize_spaces(human_name["text"]) for human_name in resource["name"] if "text" in human_name}
            assert names <= {normalize_spaces(text) for text in div.itertext()}


@pytest.mark.parametrize("name", PROFILES)
def test_summary_text_returns_narratives_even_if_they_are_not_enabled(fhir, name):
    bundle = fhir.json(f"/{name}?_summary=text&_count=200")
    resources = [entry["resource"] for entry in bundle["entry"] if entry["search"]["mode"] == "match"]
    assert resources
    for resource in resources:
        assert_is_narrative(resource)
        assert resource["meta"]["tag"][0]["code"] == "SUBSETTED"
