"""FHIR clients of other projects read, search, page and handle errors. The tests compare their results with the files and with the
responses of the gateway.

The parameters for each client are the base URL, a study and its patient, a modality, the page size, and a batch. Its results are a
dictionary with these members:

- version, capabilities: the FHIR version, the interactions and the parameters that it reads from the CapabilityStatement;
- study, patient: the two resources, read and then serialized from the model of the client;
- nextPages, previousPages: the ids on each page of a search by the modality, to the last page and from there to the first page;
- found, streamed: the ids that the search returns, if the client hides pages;
- posted: the ids that the search returns if it is sent by POST;
- included: the resources that a search for the study includes;
- summary: the summary of the study;
- total: the number of studies of the modality;
- versioned, unknownVersion: a vread of the current version of the study, and of a version that never existed;
- unchanged: the result of a conditional read of the current version;
- inXml: the study, read as XML;
- compartment: the ids of the studies of the patient; everything: the references of Patient/$everything;
- allTypes: the references that a search across types finds by the two ids;
- batch: the statuses of a batch of a read, a search, and a read of an unknown resource;
- unknownStudy, invalidDate: the errors for an unknown study and for an invalid date.

A client that does not support a request omits its result.
"""

import importlib
import json
import pathlib
import subprocess

import pytest

from conftest import matches
from test_search import studies_with

CLIENTS = pathlib.Path(__file__).parent / "clients"
# A Bundle of CT studies has no total, because one of them has no valid UID.
MODALITY, COUNT = "MR", 4

# The clients that support each optional result. Without capabilities, a client reads only the FHIR version.
READ_CAPABILITIES = {"hapi", "fhirclient", "kit"}
READ_PREVIOUS_PAGES = {"hapi", "kit"}
READ_CONDITIONALLY = {"hapi", "kit"}
SEARCH_ACROSS_TYPES = {"hapi", "fhirclient", "fhirpy", "kit", "smart"}
SEARCH_BY_POST = {"hapi", "kit", "smart", "medplum"}


def run_in_node(name: str, parameters: dict) -> dict:
    run = subprocess.run(["node", CLIENTS / f"{name}.mjs", json.dumps(parameters)], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def run_in_python(name: str, parameters: dict) -> dict:
    return importlib.import_module(f"clients.{name}").collect_results(parameters)


@pytest.fixture(scope="module")
def parameters(fhir, holdings) -> dict:
    """The parameters for every client, about a study with several series."""
    study = next(uid for uid in sorted(studies_with(holdings, lambda dataset: dataset.get("Modality") == MODALITY)) if len(holdings.studies[uid].series) > 1)
    patient = fhir.json(f"/ImagingStudy/{study}?_elements=subject")["subject"]["reference"].removeprefix("Patient/")
    urls = (f"ImagingStudy/{study}", f"ImagingStudy?modality={MODALITY}&_summary=count", "Patient/unknown")
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": url}} for url in urls]}
    return {"batch": batch, "base": fhir.base, "study": study, "patient": patient, "modality": MODALITY, "count": COUNT}


@pytest.fixture(scope="module", params=["hapi", "fhirclient", "fhirpy", "kit", "smart", "medplum"])
def client(request, parameters) -> tuple[str, dict]:
    run = run_in_node if (CLIENTS / f"{request.param}.mjs").exists() else run_in_python
    return request.param, run(request.param, parameters)


@pytest.fixture(scope="module")
def expected_studies(holdings) -> set[str]:
    studies = studies_with(holdings, lambda dataset: dataset.get("Modality") == MODALITY)
    assert len(studies) > 2 * COUNT
    return studies


def test_the_capability_statement_is_parsed(client, fhir):
    name, results = client
    statement = fhir.json("/metadata")
    assert results["version"] == "4.0.1"
    assert ("capabilities" in results) == (name in READ_CAPABILITIES)
    assert results.get("release", 4) == 4
    for resource in statement["rest"][0]["resource"] if name in READ_CAPABILITIES else []:
        parsed = results["capabilities"][resource["type"]]
        assert parsed["interactions"] == [interaction["code"] for interaction in resource["interaction"]]
        assert parsed["parameters"] == [parameter["name"] for parameter in resource["searchParam"]]


def test_resources_are_parsed_without_loss(client, fhir, parameters):
    _, results = client
    for key, path in (("study", f"/ImagingStudy/{parameters['study']}"), ("patient", f"/Patient/{parameters['patient']}")):
        assert results[key] == fhir.json(path)


def test_versions_are_read_by_their_id(client, fhir):
    name, results = client
    assert results["versioned"] == results["study"] and results["study"]["meta"]["versionId"]
    failure = results["unknownVersion"]
    assert failure.get("status", 404) == 404 and failure["outcome"]["issue"][0]["code"] == "not-found"
    assert ("unchanged" in results) == (name in READ_CONDITIONALLY)
    if name in READ_CONDITIONALLY:
        assert results["unchanged"] == {"hapi": None, "kit": {"status": 304, "outcome": {}}}[name]


def test_a_resource_in_xml_equals_the_resource_in_json(client):
    name, results = client
    assert ("inXml" in results) == (name == "hapi")
    if name == "hapi":
        assert results["inXml"] == results["study"]


def test_the_patient_compartment_and_everything_contain_the_studies_of_the_patient(client, fhir, parameters):
    name, results = client
    expected_ids = {study["id"] for page in fhir.pages(f"/ImagingStudy?patient={parameters['patient']}&_elements=id") for study in matches(page)}
    assert parameters["study"] in expected_ids and sorted(results["compartment"]) == sorted(expected_ids)
    studies = {f"ImagingStudy/{uid}" for uid in expected_ids}
    assert sorted(results["everything"]) == sorted({f"Patient/{parameters['patient']}", "Endpoint/main", *studies})
    assert ("allTypes" in results) == (name in SEARCH_ACROSS_TYPES)
    if name in SEARCH_ACROSS_TYPES:
        assert sorted(results["allTypes"]) == sorted([f"ImagingStudy/{parameters['study']}", f"Patient/{parameters['patient']}"])


def test_batch_entries_have_their_own_statuses(client):
    _, results = client
    assert [status[:3] for status in results["batch"]] == ["200", "200", "404"]


def test_the_paging_of_the_client_returns_every_study_once(client, expected_studies):
    name, results = client
    next_pages = results.get("nextPages", [])
    assert (name == "fhirpy") == (not next_pages)
    for ids in [*([sum(next_pages, [])] if next_pages else []), *(results[key] for key in ("found", "streamed") if key in results)]:
        assert sorted(ids) == sorted(expected_studies)
    assert all(len(page) == COUNT for page in next_pages[:-1])


def test_previous_links_lead_to_the_same_pages(client):
    name, results = client
    assert ("previousPages" in results) == (name in READ_PREVIOUS_PAGES)
    if name in READ_PREVIOUS_PAGES:
        assert results["previousPages"] == results["nextPages"][::-1]


def test_searches_by_post_match_searches_by_get(client, expected_studies):
    name, results = client
    assert ("posted" in results) == (name in SEARCH_BY_POST)
    if name in SEARCH_BY_POST:
        assert sorted(results["posted"]) == sorted(expected_studies)


def test_included_resources_equal_read_resources(client, fhir, parameters):
    _, results = client
    included = {f"{resource['resourceType']}/{resource['id']}": resource for resource in results["included"]}
    assert set(included) == {f"Patient/{parameters['patient']}", "Endpoint/main"}
    for reference, resource in included.items():
        read = fhir.json(f"/{reference}")
        if reference.startswith("Patient/"):
            # One study describes an included Patient; only a read, which the client of SMART sends, looks at the changes of all
            # studies of the patient.
            assert resource["meta"].pop("lastUpdated", None) in (None, read["meta"].pop("lastUpdated"))
        assert resource == read


def test_a_summary_has_series_and_no_instances(client, fhir, holdings, parameters):
    _, results = client
    (summary,) = matches(fhir.json(f"/ImagingStudy?_id={parameters['study']}&_summary=true"))
    assert results["summary"] == summary
    assert {series["uid"] for series in results["summary"]["series"]} == set(holdings.studies[parameters["study"]].series)
    assert not any("instance" in series for series in results["summary"]["series"])
    assert "SUBSETTED" in json.dumps(results["summary"]["meta"])
    if "elements" in results:
        assert {"started", "status", "subject", "id"} <= set(results["elements"]) and "series" not in results["elements"]


def test_the_total_counts_all_matches(client, expected_studies):
    _, results = client
    assert results["total"] == len(expected_studies)


def test_errors_are_parsed_with_status_and_outcome(client, fhir, parameters):
    name, results = client
    unknown_study, invalid_date = results["unknownStudy"], results["invalidDate"]
    for failure, status, code in ((unknown_study, 404, "not-found"), (invalid_date, 400, "value")):
        assert failure.get("status", status) == status, failure
        assert failure["outcome"]["resourceType"] == "OperationOutcome"
        (issue,) = failure["outcome"]["issue"]
        assert (issue["severity"], issue["code"]) == ("error", code)
    assert invalid_date["outcome"]["issue"][0]["expression"] == ["http.started"]
    kinds = {
        "hapi": ("ResourceNotFoundException", "InvalidRequestException"),
        "fhirclient": ("FHIRNotFoundException", "HTTPError"),
        "fhirpy": ("ResourceNotFound", "OperationOutcome"),
        "medplum": ("OperationOutcomeError", "OperationOutcomeError"),
    }
    assert (unknown_study.get("kind"), invalid_date.get("kind")) == kinds.get(name, (None, None))
