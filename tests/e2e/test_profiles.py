"""Every implementation guide followed and every resource told in words, in front of the same Orthanc: what is named is conformed
to, by the profiles' own words, and the words are XHTML as R4 allows it."""

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

# R4 narrative.html: the chapters of HTML 4 about text, lists and tables, and nothing that acts.
ALLOWED = set(
    "div p br span em strong dfn code samp kbd var cite abbr acronym blockquote q sub sup pre ins del ul ol li dl dt dd table "
    "caption thead tfoot tbody colgroup col tr th td a img b i big small tt hr h1 h2 h3 h4 h5 h6".split()
)


@pytest.fixture(scope="module")
def guided(orthanc, holdings, folder, record):
    names = ", ".join(f'"{name}"' for name in GUIDES)
    archive = 'patient_id_system = "urn:oid:2.999.7"'
    server = Gateway(folder, "guided", orthanc.dicomweb, archive=archive, fhir=f"profiles = [{names}]\nnarrative = true")
    yield Client(server.fhir, record)
    server.stop()


@pytest.fixture(scope="module")
def resources(guided) -> dict[str, list[dict]]:
    """Every resource by its type."""
    return {
        name: [entry["resource"] for page in guided.pages(f"/{name}?_count=200") for entry in page.get("entry", [])
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
    placed = [one.get("value") and (one.get("system") or one.get("type") or one.get("assigner")) for one in identifiers]
    told = [name.get("text") and (name.get("family") or name.get("given")) for name in names]
    return bool(placed and all(placed) and told and all(told))


# Each profile by what it asks for beyond R4, and whether something in the archive falls short of it.
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
def test_a_profile_is_named_exactly_where_it_is_conformed_to(resources, name):
    assert resources[name]
    for resource in resources[name]:
        conformed_to = [canonical for canonical, (conforms, _) in PROFILES[name].items() if conforms(resource)]
        assert resource.get("meta", {}).get("profile", []) == conformed_to, resource["id"]
    for canonical, (conforms, some_fall_short) in PROFILES[name].items():
        found = {conforms(resource) for resource in resources[name]}
        assert found == ({True, False} if some_fall_short else {True}), canonical


def test_the_capability_statement_names_the_profiles(guided):
    supported = {one["type"]: one.get("supportedProfile", []) for one in guided.json("/metadata")["rest"][0]["resource"]}
    assert supported == {name: list(profiles) for name, profiles in PROFILES.items()}


def test_identifiers_are_typed_as_dicom_types_them(resources):
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


def test_frames_are_counted_as_the_files_say(resources, holdings, orthanc):
    stored = requests.get(f"{orthanc.url}/instances?expand", timeout=300).json()
    copies = collections.Counter(instance["MainDicomTags"]["SOPInstanceUID"] for instance in stored)
    told, several = 0, 0
    for study in resources["ImagingStudy"]:
        files = {str(dataset.SOPInstanceUID): dataset for dataset in holdings.studies[study["id"]].datasets()}
        for instance in (instance for series in study.get("series", []) for instance in series.get("instance", [])):
            # Of two objects with one UID nobody can tell which is meant.
            if copies[instance["uid"]] > 1:
                continue
            frames = int(files[instance["uid"]].get("NumberOfFrames") or 0)
            said = [one["valueInteger"] for one in instance.get("extension", []) if one["url"] == NUMBER_OF_FRAMES]
            assert said == ([frames] if frames > 0 else []), instance["uid"]
            told, several = told + len(said), several + (frames > 1)
    assert told > 10 and several > 5, (told, several)


def strings(value) -> set[str]:
    """Every text and number in a resource, but those of its narrative."""
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
        # txt-1: only what formats, and nothing that refers or acts.
        assert element.tag.removeprefix("{http://www.w3.org/1999/xhtml}") in ALLOWED and not element.attrib
    # txt-2: something is said.
    assert "".join(div.itertext()).strip()
    return div


def unfolded(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


@pytest.mark.parametrize("name", PROFILES)
def test_words_are_xhtml_and_say_what_the_elements_say(resources, name):
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
def test_words_alone_are_told_without_being_configured(fhir, name):
    bundle = fhir.json(f"/{name}?_summary=text&_count=200")
    told = [entry["resource"] for entry in bundle["entry"] if entry["search"]["mode"] == "match"]
    assert told
    for resource in told:
        assert_is_narrative(resource)
        assert resource["meta"]["tag"][0]["code"] == "SUBSETTED"
