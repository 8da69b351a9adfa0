"""Clients that this project did not write, each of which reads, searches, pages and fails; what they give back is compared with
what the files say, and with the bytes that were sent.

Each client is asked one question: where the server is, a study and its patient, a modality, and how many entries a page shall
have. Its answers are a dictionary of

- version, capabilities: what its reading of the CapabilityStatement tells;
- study, patient: a read of each, as the client's own model gives it back;
- forth, back: the ids on each page of a search by the modality, by the client's own means, to the end and back again;
- found, streamed: the same ids without their pages, where the client hides these;
- posted: the ids that a POST of the same search gives;
- included: what came along with the study;
- summary: the study's summary;
- total: how many studies of the modality there are;
- versioned, noVersion: a read of the version that the study has, and of one that it never had;
- unchanged: what the client says when it has the study already;
- inXml: the study, read as XML;
- compartment: the ids of the patient's studies; everything: the names of all that is the patient's;
- allTypes: the names of what a search of all types finds by the two ids;
- batch: the statuses of a read, a search, and a read of nothing, asked together;
- missing, wrong: what the client says of a study that there is not, and of a date that is none.

What a client cannot do is missing from its answers.
"""

import importlib
import json
import pathlib
import subprocess

import pytest

from conftest import matches
from test_search import told

CLIENTS = pathlib.Path(__file__).parent / "clients"
# Of CT there is a study without a legal UID, which leaves the total open.
MODALITY, COUNT = "MR", 4

# These read the statement whole; of the others only its version is known.
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
    """Of the studies with several series."""
    study = next(uid for uid in sorted(told(holdings, lambda dataset: dataset.get("Modality") == MODALITY)) if len(holdings.studies[uid].series) > 1)
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
    found = told(holdings, lambda dataset: dataset.get("Modality") == MODALITY)
    assert len(found) > 2 * COUNT
    return found


def test_the_capabilities_are_understood(client, fhir):
    name, answers = client
    statement = fhir.json("/metadata")
    assert answers["version"] == "4.0.1"
    assert ("capabilities" in answers) == (name in READ_CAPABILITIES)
    assert answers.get("release", 4) == 4
    for resource in statement["rest"][0]["resource"] if name in READ_CAPABILITIES else []:
        understood = answers["capabilities"][resource["type"]]
        assert understood["interactions"] == [one["code"] for one in resource["interaction"]]
        assert understood["parameters"] == [one["name"] for one in resource["searchParam"]]


def test_a_resource_that_is_read_comes_back_whole(client, fhir, question):
    _, answers = client
    for key, path in (("study", f"/ImagingStudy/{question['study']}"), ("patient", f"/Patient/{question['patient']}")):
        assert answers[key] == fhir.json(path)


def test_a_version_is_read_by_its_name(client, fhir):
    name, answers = client
    assert answers["versioned"] == answers["study"] and answers["study"]["meta"]["versionId"]
    failure = answers["noVersion"]
    assert failure.get("status", 404) == 404 and failure["outcome"]["issue"][0]["code"] == "not-supported"
    assert ("unchanged" in answers) == (name in ASK_WHETHER_CHANGED)
    if name in ASK_WHETHER_CHANGED:
        assert answers["unchanged"] == {"hapi": None, "kit": {"status": 304, "outcome": {}}}[name]


def test_a_resource_in_xml_is_the_same_resource(client):
    name, answers = client
    assert ("inXml" in answers) == (name == "hapi")
    if name == "hapi":
        assert answers["inXml"] == answers["study"]


def test_a_patients_studies_and_everything_of_the_patient(client, fhir, question):
    name, answers = client
    own = {one["id"] for page in fhir.pages(f"/ImagingStudy?patient={question['patient']}&_elements=id") for one in matches(page)}
    assert question["study"] in own and sorted(answers["compartment"]) == sorted(own)
    studies = {f"ImagingStudy/{uid}" for uid in own}
    assert sorted(answers["everything"]) == sorted({f"Patient/{question['patient']}", "Endpoint/main", *studies})
    assert ("allTypes" in answers) == (name in SEARCH_ALL_TYPES)
    if name in SEARCH_ALL_TYPES:
        assert sorted(answers["allTypes"]) == sorted([f"ImagingStudy/{question['study']}", f"Patient/{question['patient']}"])


def test_a_batch_is_answered_entry_by_entry(client):
    _, answers = client
    assert [status[:3] for status in answers["batch"]] == ["200", "200", "404"]


def test_the_clients_own_paging_brings_every_study_once(client, wanted):
    name, answers = client
    forth = answers.get("forth", [])
    assert (name == "fhirpy") == (not forth)
    for found in [*([sum(forth, [])] if forth else []), *(answers[key] for key in ("found", "streamed") if key in answers)]:
        assert sorted(found) == sorted(wanted)
    assert all(len(page) == COUNT for page in forth[:-1])


def test_the_way_back_leads_over_the_same_pages(client):
    name, answers = client
    assert ("back" in answers) == (name in GO_BACK)
    if name in GO_BACK:
        assert answers["back"] == answers["forth"][::-1]


def test_a_search_by_post_finds_the_same(client, wanted):
    name, answers = client
    assert ("posted" in answers) == (name in POST)
    if name in POST:
        assert sorted(answers["posted"]) == sorted(wanted)


def test_what_is_included_is_what_a_read_gives(client, fhir, question):
    _, answers = client
    included = {f"{one['resourceType']}/{one['id']}": one for one in answers["included"]}
    assert set(included) == {f"Patient/{question['patient']}", "Endpoint/main"}
    for reference, resource in included.items():
        assert resource == fhir.json(f"/{reference}")


def test_a_summary_has_its_series_and_no_instances(client, fhir, holdings, question):
    _, answers = client
    (summary,) = matches(fhir.json(f"/ImagingStudy?_id={question['study']}&_summary=true"))
    assert answers["summary"] == summary
    assert {one["uid"] for one in answers["summary"]["series"]} == set(holdings.studies[question["study"]].series)
    assert not any("instance" in one for one in answers["summary"]["series"])
    assert "SUBSETTED" in json.dumps(answers["summary"]["meta"])
    if "elements" in answers:
        assert {"started", "status", "subject", "id"} <= set(answers["elements"]) and "series" not in answers["elements"]


def test_a_total_counts_all_matches(client, wanted):
    _, answers = client
    assert answers["total"] == len(wanted)


def test_failures_are_read_as_what_they_are(client, fhir, question):
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
