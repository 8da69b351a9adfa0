"""All implementation guides and narratives enabled, in front of the same Orthanc: resources conform to the profiles that they
claim, by the text of the profiles, and narratives are XHTML as R4 allows it."""

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


def smart_study(study: dict) -> bool:
    uids = [one for one in study.get("identifier", []) if one.get("system") == "urn:dicom:uid" and one.get("value")]
    return len(uids) == 1 and bool(study.get("modality")) and bool(study.get("endpoint"))


def us_core_name(name: dict) -> bool:
    return bool(name.get("family") or name.get("given")) != (DATA_ABSENT_REASON in extensions(name))


def us_core(patient: dict) -> bool:
    identifiers, names = patient.get("identifier", []), patient.get("name", [])
    return bool(
        identifiers and all(one.get("system") and one.get("value") for one in identifiers)
        and names and all(map(us_core_name, names)) and patient.get("gender")
    )


def ipa(patient: dict) -> bool:
    identifiers, names = patient.get("identifier", []), patient.get("name", [])
    qualified = [one.get("value") and (one.get("system") or one.get("type") or one.get("assigner")) for one in identifiers]
    texts = [name.get("text") and (name.get("family") or name.get("given")) for name in names]
    return bool(qualified and all(qualified) and texts and all(texts))


# Each profile with its requirements beyond R4, and whether some resources do not meet them.
PROFILES = {
    "ImagingStudy": {
        ARGONAUT + "smart-imaging-study": (smart_study, False),
        IMR + "imr-imagingstudy": (lambda study: smart_study(study) and "started" in study, True),
    },
    "Patient": {
        "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient": (us_core, True),
        "http://hl7.org/fhir/uv/ipa/StructureDefinition/ipa-patient": (ipa, True),
    },
    "Endpoint": {
        ARGONAUT + "smart-wado-endpoint": (lambda one: extensions(one).count(ARGONAUT + "requires-access-token") == 1, False),
        IMR + "imaging-study-endpoint": (
            lambda one: [kind["coding"][0]["code"] for kind in one["payloadType"]] == ["113014"]
            and one["connectionType"]["code"] == "dicom-wado-rs", False),
    },
}


@pytest.mark.parametrize("name", PROFILES)
def test_resources_claim_exactly_the_profiles_that_they_conform_to(resources, name):
    assert resources[name]
    for resource in resources[name]:
        conformed_to = [canonical for canonical, (conforms, _) in PROFILES[name].items() if conforms(resource)]
        assert resource.get("meta", {}).get("profile", []) == conformed_to, resource["id"]
    for canonical, (conforms, some_fall_short) in PROFILES[name].items():
        found = {conforms(resource) for resource in resources[name]}
        assert found == ({True, False} if some_fall_short else {True}), canonical


def test_the_capability_statement_lists_the_profiles(with_guides):
    supported = {one["type"]: one.get("supportedProfile", []) for one in with_guides.json("/metadata")["rest"][0]["resource"]}
    assert supported == {name: list(profiles) for name, profiles in PROFILES.items()}


def test_identifiers_have_the_types_of_dicom(resources):
    accessions = 0
    for study in resources["ImagingStudy"]:
        kinds = [
            (identifier["value"], {(code["system"], code["code"]) for code in identifier.get("type", {}).get("coding", [])})
            for identifier in study["identifier"] + [order["identifier"] for order in study.get("basedOn", [])]
        ]
        assert kinds[0] == (f"urn:oid:{study['id']}", {(DCM, "110180")})
        for _, codes in kinds[1:]:
            if ("http://terminology.hl7.org/CodeSystem/v2-0203", "ACSN") in codes:
                assert (DCM, "121022") in codes
                accessions += 1
    assert accessions > 10


def test_numbers_of_frames_match_the_files(resources, holdings, orthanc):
    stored = requests.get(f"{orthanc.url}/instances?expand", timeout=300).json()
    copies = collections.Counter(instance["MainDicomTags"]["SOPInstanceUID"] for instance in stored)
    counted, several = 0, 0
    for study in resources["ImagingStudy"]:
        files = {str(dataset.SOPInstanceUID): dataset for dataset in holdings.studies[study["id"]].datasets()}
        for instance in (instance for series in study.get("series", []) for instance in series.get("instance", [])):
            # Two objects with one UID are ambiguous.
            if copies[instance["uid"]] > 1:
                continue
            frames = int(files[instance["uid"]].get("NumberOfFrames") or 0)
            values = [one["valueInteger"] for one in instance.get("extension", []) if one["url"] == NUMBER_OF_FRAMES]
            assert values == ([frames] if frames > 0 else []), instance["uid"]
            counted, several = counted + len(values), several + (frames > 1)
    assert counted > 10 and several > 5, (counted, several)


def strings(value) -> set[str]:
    """Every text and number in a resource, except in its narrative."""
    if isinstance(value, dict):
        return set().union(*(strings(one) for name, one in value.items() if name != "text" or not isinstance(one, dict)))
    if isinstance(value, list):
        return set().union(*map(strings, value))
    return {str(value).removeprefix("urn:oid:")}


def assert_is_narrative(resource: dict) -> ElementTree.Element:
    assert resource["text"]["status"] == "generated"
    div = ElementTree.fromstring(resource["text"]["div"])
    assert div.tag == "{http://www.w3.org/1999/xhtml}div"
    for element in div.iter():
        # txt-1: only formatting, no links and no active content.
        assert element.tag.removeprefix("{http://www.w3.org/1999/xhtml}") in ALLOWED and not element.attrib
    # txt-2: not empty.
    assert "".join(div.itertext()).strip()
    return div


def unfolded(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


@pytest.mark.parametrize("name", PROFILES)
def test_narratives_are_xhtml_with_the_values_of_the_elements(resources, name):
    for resource in resources[name]:
        div = assert_is_narrative(resource)
        known = {unfolded(text) for text in strings(resource)}
        for cell in div.iter("{http://www.w3.org/1999/xhtml}td"):
            text = unfolded(cell.text or "")
            assert not text or text in known or set(text.split(", ")) <= known, text
        if name == "Patient":
            names = {unfolded(one["text"]) for one in resource["name"] if "text" in one}
            assert names <= {unfolded(text) for text in div.itertext()}


@pytest.mark.parametrize("name", PROFILES)
def test_summary_text_returns_narratives_without_configuration(fhir, name):
    bundle = fhir.json(f"/{name}?_summary=text&_count=200")
    resources = [entry["resource"] for entry in bundle["entry"] if entry["search"]["mode"] == "match"]
    assert resources
    for resource in resources:
        assert_is_narrative(resource)
        assert resource["meta"]["tag"][0]["code"] == "SUBSETTED"
