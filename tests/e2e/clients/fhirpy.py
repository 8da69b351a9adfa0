"""The answers of PyPI's fhirpy; test_clients.py describes the answers."""

import json

import fhirpy
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound


def failure(request) -> dict:
    """The exception of the client: for a missing resource it has the body, otherwise the parsed OperationOutcome."""
    try:
        return {"unexpected": request()}
    except ResourceNotFound as error:
        return {"kind": "ResourceNotFound", "outcome": json.loads(str(error))}
    except OperationOutcome as error:
        return {"kind": "OperationOutcome", "outcome": error.resource}


def names(bundle) -> list[str]:
    return [f"{entry.resource.resourceType}/{entry.resource.id}" for entry in bundle.entry]


def answers(question: dict) -> dict:
    client = fhirpy.SyncFHIRClient(question["base"])
    studies = client.resources("ImagingStudy")
    of_modality = studies.search(modality=question["modality"])
    one = studies.search(_id=question["study"])
    with_includes = one.include("ImagingStudy", "patient").include("ImagingStudy", "endpoint").fetch_raw()
    study = client.reference("ImagingStudy", question["study"]).to_resource()
    history = f"ImagingStudy/{question['study']}/_history"
    of_patient = f"Patient/{question['patient']}"
    compartment = client.execute(f"{of_patient}/ImagingStudy", method="get", params={"_count": 200})
    all_types = client.execute("", method="get", params={"_type": "ImagingStudy,Patient", "_id": f"{question['study']},{question['patient']}"})
    return {
        "version": client.execute("metadata", method="get")["fhirVersion"],
        "study": study.serialize(),
        "versioned": client.execute(f"{history}/{study['meta']['versionId']}", method="get"),
        "noVersion": failure(lambda: client.execute(f"{history}/none", method="get")),
        "compartment": [entry.resource.id for entry in compartment.entry],
        "allTypes": names(all_types),
        "everything": names(client.execute(f"{of_patient}/$everything", method="get")),
        "batch": [entry.response.status for entry in client.execute("", data=question["batch"]).entry],
        "patient": study["subject"].to_resource().serialize(),
        "found": [found.id for found in of_modality.limit(question["count"])],
        "included": [entry.resource.serialize() for entry in with_includes.entry if entry.search.mode == "include"],
        "summary": one.search(_summary="true").get().serialize(),
        # It sends `_count=0&_totalMethod=count`; the latter is not a parameter of R4.
        "total": of_modality.count(),
        "elements": one.elements("started").get().serialize(),
        "missing": failure(lambda: client.get("ImagingStudy", "1.2.3.4.5")),
        "wrong": failure(lambda: studies.search(started="yesterday").fetch()),
    }
