"""Collects the results of PyPI's fhirclient, the SMART client, without authorization; test_clients.py describes the results.

The models of the client validate each resource: an unknown or missing property, or one with an invalid type, raises an exception.
"""

import requests
from fhirclient import client, server
from fhirclient.models import bundle, endpoint, imagingstudy, patient

ImagingStudy = imagingstudy.ImagingStudy


def failure(request) -> dict:
    """Describes the exception that a request raises."""
    try:
        return {"unexpected": request()}
    except (server.FHIRNotFoundException, requests.HTTPError) as error:
        return {"kind": type(error).__name__, "status": error.response.status_code, "outcome": error.response.json()}


def collect_results(parameters: dict) -> dict:
    smart = client.FHIRClient(settings={"app_id": "tests", "api_base": parameters["base"]})
    assert smart.prepare()
    statement = smart.server.capabilityStatement
    capabilities = {
        resource.type: {
            "interactions": [interaction.code for interaction in resource.interaction],
            "parameters": [parameter.name for parameter in resource.searchParam],
        }
        for resource in statement.rest[0].resource
    }

    def pages(**parameters) -> list:
        return list(ImagingStudy.where(parameters).perform_iter(smart.server))

    def resources_of_mode(bundle, mode: str) -> list:
        return [entry.resource for entry in bundle.entry or [] if entry.search.mode == mode]

    modality, study = parameters["modality"], parameters["study"]
    next_pages = pages(modality=modality, _count=str(parameters["count"]))
    (included,) = ImagingStudy.where({"_id": study}).include("subject").include("endpoint").perform_iter(smart.server)
    (summary,) = pages(_id=study, _summary="true")
    (counted,) = pages(modality=modality, _summary="count")
    assert {type(resource) for resource in resources_of_mode(included, "include")} == {patient.Patient, endpoint.Endpoint}
    read = ImagingStudy.read(study, smart.server)
    history = f"ImagingStudy/{study}/_history"

    def names(path: str) -> list[str]:
        response = bundle.Bundle.read_from(path, smart.server)
        return [f"{entry.resource.resource_type}/{entry.resource.id}" for entry in response.entry]

    patient_path = f"Patient/{parameters['patient']}"
    batch_response = bundle.Bundle(smart.server.post_json("", parameters["batch"]).json())
    return {
        "version": statement.fhirVersion,
        "capabilities": capabilities,
        "study": read.as_json(),
        "versioned": ImagingStudy.read_from(f"{history}/{read.meta.versionId}", smart.server).as_json(),
        "unknownVersion": failure(lambda: ImagingStudy.read_from(f"{history}/none", smart.server)),
        "compartment": [name.removeprefix("ImagingStudy/") for name in names(f"{patient_path}/ImagingStudy?_count=200")],
        "allTypes": names(f"?_type=ImagingStudy,Patient&_id={study},{parameters['patient']}"),
        "everything": names(f"{patient_path}/$everything"),
        "batch": [entry.response.status for entry in batch_response.entry],
        "patient": patient.Patient.read(parameters["patient"], smart.server).as_json(),
        "nextPages": [[study.id for study in resources_of_mode(page, "match")] for page in next_pages],
        "included": [resource.as_json() for resource in resources_of_mode(included, "include")],
        "summary": resources_of_mode(summary, "match")[0].as_json(),
        "total": counted.total,
        "unknownStudy": failure(lambda: ImagingStudy.read("1.2.3.4.5", smart.server)),
        "invalidDate": failure(lambda: pages(started="yesterday")),
    }
