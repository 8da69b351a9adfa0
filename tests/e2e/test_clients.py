"""FHIR clients of other projects: each reads, searches, pages and handles errors; its results are compared with the files and with
the responses of the gateway.

Each client gets one question: the base URL, a study and its patient, a modality, and the page size. Its answers are a dictionary
of

- version, capabilities: FHIR version, interactions and parameters that it reads from the CapabilityStatement;
- study, patient: a read of each, serialized from the model of the client;
- forth, back: the ids on each page of a search by the modality, with the paging of the client, to the last page and back;
- found, streamed: the same ids without pages, if the client hides them;
- posted: the ids that the same search by POST returns;
- included: the resources that are included with the study;
- summary: the summary of the study;
- total: the number of studies of the modality;
- versioned, noVersion: a vread of the current version of the study, and of a version that never existed;
- unchanged: the result of a conditional read of the current version;
- inXml: the study, read as XML;
- compartment: the ids of the studies of the patient; everything: the references of Patient/$everything;
- allTypes: the references that a search across types finds by the two ids;
- batch: the statuses of a batch of a read, a search, and a read of an unknown resource;
- missing, wrong: the errors for an unknown study and for an invalid date.

A client omits the answers that it does not support.
"""

import importlib
import json
import pathlib
import subprocess

import pytest

from conftest import matches
from test_search import studies_with

CLIENTS = pathlib.Path(__file__).parent / "clients"
# Not CT: one of its studies has no valid UID, so the Bundle has no total.
MODALITY, COUNT = "MR", 4

# These clients read the whole CapabilityStatement, the others only the FHIR version.
READ_CAPABILITIES = {"hapi", "fhirclient", "kit"}
GO_BACK = {"hapi", "kit"}
ASK_WHETHER_CHANGED = {"hapi", "kit"}
SEARCH_ALL_TYPES = {"hapi", "fhirclient", "fhirpy", "kit", "smart"}
POST = {"hapi", "kit", "smart", "medplum"}


def in_node(name: str, question: dict) -> dict:
    run = subprocess.run(["node", CLIENTS / f"{name}.mjs", json.dumps(question)], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def in_python(name: str, question: dict) -> dict:
    return importlib.import_module(f"clients.{name}").answers(question)


@pytest.fixture(scope="module")
def question(fhir, holdings) -> dict:
    """A question about a study with several series."""
    study = next(uid for uid in sorted(studies_with(holdings, lambda dataset: dataset.get("Modality") == MODALITY)) if len(holdings.studies[uid].series) > 1)
    patient = fhir.json(f"/ImagingStudy/{study}?_elements=subject")["subject"]["reference"].removeprefix("Patient/")
    urls = (f"ImagingStudy/{study}", f"ImagingStudy?modality={MODALITY}&_summary=count", "Patient/nobody")
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": url}} for url in urls]}
    return {"batch": batch, "base": fhir.base, "study": study, "patient": patient, "modality": MODALITY, "count": COUNT}


@pytest.fixture(scope="module", params=["hapi", "fhirclient", "fhirpy", "kit", "smart", "medplum"])
def client(request, question) -> tuple[str, dict]:
    run = in_node if (CLIENTS / f"{request.param}.mjs").exists() else in_python
    return request.param, run(request.param, question)


@pytest.fixture(scope="module")
def wanted(holdings) -> set[str]:
    found = studies_with(holdings, lambda dataset: dataset.get("Modality") == MODALITY)
    assert len(found) > 2 * COUNT
    return found


def test_the_capability_statement_is_parsed(client, fhir):
    name, answers = client
    statement = fhir.json("/metadata")
    assert answers["version"] == "4.0.1"
    assert ("capabilities" in answers) == (name in READ_CAPABILITIES)
    assert answers.get("release", 4) == 4
    for resource in statement["rest"][0]["resource"] if name in READ_CAPABILITIES else []:
        parsed = answers["capabilities"][resource["type"]]
        assert parsed["interactions"] == [one["code"] for one in resource["interaction"]]
        assert parsed["parameters"] == [one["name"] for one in resource["searchParam"]]


def test_read_resources_are_parsed_without_loss(client, fhir, question):
    _, answers = client
    for key, path in (("study", f"/ImagingStudy/{question['study']}"), ("patient", f"/Patient/{question['patient']}")):
        assert answers[key] == fhir.json(path)


def test_versions_are_read_by_their_id(client, fhir):
    name, answers = client
    assert answers["versioned"] == answers["study"] and answers["study"]["meta"]["versionId"]
    failure = answers["noVersion"]
    assert failure.get("status", 404) == 404 and failure["outcome"]["issue"][0]["code"] == "not-supported"
    assert ("unchanged" in answers) == (name in ASK_WHETHER_CHANGED)
    if name in ASK_WHETHER_CHANGED:
        assert answers["unchanged"] == {"hapi": None, "kit": {"status": 304, "outcome": {}}}[name]


def test_a_resource_in_xml_equals_the_resource_in_json(client):
    name, answers = client
    assert ("inXml" in answers) == (name == "hapi")
    if name == "hapi":
        assert answers["inXml"] == answers["study"]


def test_the_patient_compartment_and_everything_contain_the_studies_of_the_patient(client, fhir, question):
    name, answers = client
    own = {one["id"] for page in fhir.pages(f"/ImagingStudy?patient={question['patient']}&_elements=id") for one in matches(page)}
    assert question["study"] in own and sorted(answers["compartment"]) == sorted(own)
    studies = {f"ImagingStudy/{uid}" for uid in own}
    assert sorted(answers["everything"]) == sorted({f"Patient/{question['patient']}", "Endpoint/main", *studies})
    assert ("allTypes" in answers) == (name in SEARCH_ALL_TYPES)
    if name in SEARCH_ALL_TYPES:
        assert sorted(answers["allTypes"]) == sorted([f"ImagingStudy/{question['study']}", f"Patient/{question['patient']}"])


def test_batch_entries_have_their_own_statuses(client):
    _, answers = client
    assert [status[:3] for status in answers["batch"]] == ["200", "200", "404"]


def test_the_paging_of_the_client_returns_every_study_once(client, wanted):
    name, answers = client
    forth = answers.get("forth", [])
    assert (name == "fhirpy") == (not forth)
    for found in [*([sum(forth, [])] if forth else []), *(answers[key] for key in ("found", "streamed") if key in answers)]:
        assert sorted(found) == sorted(wanted)
    assert all(len(page) == COUNT for page in forth[:-1])


def test_previous_links_lead_to_the_same_pages(client):
    name, answers = client
    assert ("back" in answers) == (name in GO_BACK)
    if name in GO_BACK:
        assert answers["back"] == answers["forth"][::-1]


def test_searches_by_post_match_searches_by_get(client, wanted):
    name, answers = client
    assert ("posted" in answers) == (name in POST)
    if name in POST:
        assert sorted(answers["posted"]) == sorted(wanted)


def test_included_resources_equal_read_resources(client, fhir, question):
    _, answers = client
    included = {f"{one['resourceType']}/{one['id']}": one for one in answers["included"]}
    assert set(included) == {f"Patient/{question['patient']}", "Endpoint/main"}
    for reference, resource in included.items():
        assert resource == fhir.json(f"/{reference}")


def test_a_summary_has_series_and_no_instances(client, fhir, holdings, question):
    _, answers = client
    (summary,) = matches(fhir.json(f"/ImagingStudy?_id={question['study']}&_summary=true"))
    assert answers["summary"] == summary
    assert {one["uid"] for one in answers["summary"]["series"]} == set(holdings.studies[question["study"]].series)
    assert not any("instance" in one for one in answers["summary"]["series"])
    assert "SUBSETTED" in json.dumps(answers["summary"]["meta"])
    if "elements" in answers:
        assert {"started", "status", "subject", "id"} <= set(answers["elements"]) and "series" not in answers["elements"]


def test_the_total_counts_all_matches(client, wanted):
    _, answers = client
    assert answers["total"] == len(wanted)


def test_errors_are_parsed_with_status_and_outcome(client, fhir, question):
    name, answers = client
    missing, wrong = answers["missing"], answers["wrong"]
    for failure, status, code in ((missing, 404, "not-found"), (wrong, 400, "value")):
        assert failure.get("status", status) == status, failure
        assert failure["outcome"]["resourceType"] == "OperationOutcome"
        (issue,) = failure["outcome"]["issue"]
        assert (issue["severity"], issue["code"]) == ("error", code)
    assert wrong["outcome"]["issue"][0]["expression"] == ["http.started"]
    kinds = {
        "hapi": ("ResourceNotFoundException", "InvalidRequestException"),
        "fhirclient": ("FHIRNotFoundException", "HTTPError"),
        "fhirpy": ("ResourceNotFound", "OperationOutcome"),
        "medplum": ("OperationOutcomeError", "OperationOutcomeError"),
    }
    assert (missing.get("kind"), wrong.get("kind")) == kinds.get(name, (None, None))
