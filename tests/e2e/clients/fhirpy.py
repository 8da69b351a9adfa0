"""Collects the results of PyPI's fhirpy; test_clients.py describes the results."""

import json

import fhirpy
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound


def failure(request) -> dict:
    """Describes the exception that a request raises, which contains the body as text or as a parsed OperationOutcome."""
    try:
        return {"unexpected": request()}
    except ResourceNotFound as error:
        return {"kind": "ResourceNotFound", "outcome": json.loads(str(error))}
    except OperationOutcome as error:
        return {"kind": "OperationOutcome", "outcome": error.resource}


def names(bundle) -> list[str]:
    return [f"{entry.resource.resourceType}/{entry.resource.id}" for entry in bundle.entry]


def collect_results(parameters: dict) -> dict:
    client = fhirpy.SyncFHIRClient(parameters["base"])
    studies = client.resources("ImagingStudy")
    studies_of_modality = studies.search(modality=parameters["modality"])
    study_search = studies.search(_id=parameters["study"])
    with_includes = study_search.include("ImagingStudy", "patient").include("ImagingStudy", "endpoint").fetch_raw()
    study = client.reference("ImagingStudy", parameters["study"]).to_resource()
    history = f"ImagingStudy/{parameters['study']}/_history"
    patient_path = f"Patient/{parameters['patient']}"
    compartment = client.execute(f"{patient_path}/ImagingStudy", method="get", params={"_count": 200})
    all_types = client.execute("", method="get", params={"_type": "ImagingStudy,Patient", "_id": f"{parameters['study']},{parameters['patient']}"})
    return {
        "version": client.execute("metadata", method="get")["fhirVersion"],
        "study": study.serialize(),
        "versioned": client.execute(f"{history}/{study['meta']['versionId']}", method="get"),
        "unknownVersion": failure(lambda: client.execute(f"{history}/none", method="get")),
        "compartment": [entry.resource.id for entry in compartment.entry],
        "allTypes": names(all_types),
        "everything": names(client.execute(f"{patient_path}/$everything", method="get")),
        "batch": [entry.response.status for entry in client.execute("", data=parameters["batch"]).entry],
        "patient": study["subject"].to_resource().serialize(),
        "found": [study.id for study in studies_of_modality.limit(parameters["count"])],
        "included": [entry.resource.serialize() for entry in with_includes.entry if entry.search.mode == "include"],
        "summary": study_search.search(_summary="true").get().serialize(),
        # The client sends `_count=0&_totalMethod=count`; R4 does not define the second parameter.
        "total": studies_of_modality.count(),
        "elements": study_search.elements("started").get().serialize(),
        "unknownStudy": failure(lambda: client.get("ImagingStudy", "1.2.3.4.5")),
        "invalidDate": failure(lambda: studies.search(started="yesterday").fetch()),
    }
