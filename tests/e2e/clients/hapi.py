"""Collects the results of HAPI's generic client, in a JVM of this process; test_clients.py describes the results.

The parser of the client is strict: an unknown element or an invalid value raises an exception.
"""

import json
import pathlib

import jpype

ROOT = pathlib.Path(__file__).resolve().parents[3]
# PyPI's pathling contains a jar with all of HAPI except logging, which comes from Debian.
JARS = [*(ROOT / ".cache" / "hapi" / "pathling" / "jars").glob("*.jar"), *map(pathlib.Path, ("/usr/share/java/slf4j-api.jar", "/usr/share/java/slf4j-nop.jar"))]
R4 = "org.hl7.fhir.r4.model."
CLIENT = "ca.uhn.fhir.rest."


class Hapi:
    """A client of the server at `base`."""

    def __init__(self, base: str):
        if not jpype.isJVMStarted():
            assert len(JARS) == 3 and all(jar.exists() for jar in JARS), JARS
            jpype.startJVM(classpath=[str(jar) for jar in JARS])
        self.context = jpype.JClass("ca.uhn.fhir.context.FhirContext").forR4Cached()
        self.context.setParserErrorHandler(jpype.JClass("ca.uhn.fhir.parser.StrictErrorHandler")())
        # The client first reads the CapabilityStatement, and rejects servers of other FHIR versions.
        self.context.getRestfulClientFactory().setSocketTimeout(60_000)
        self.client = self.context.newRestfulGenericClient(base)
        self.bundle = jpype.JClass(R4 + "Bundle").class_
        self.post = jpype.JClass(CLIENT + "api.SearchStyleEnum").POST

    def json(self, resource) -> dict:
        return json.loads(str(self.context.newJsonParser().encodeResourceToString(resource)))

    def read(self, kind: str, identifier: str):
        return self.client.read().resource(kind).withId(identifier).execute()

    def search(self, **parameters):
        """Creates a search for studies by token parameters."""
        token = jpype.JClass(CLIENT + "gclient.TokenClientParam")
        search = self.client.search().forResource("ImagingStudy").returnBundle(self.bundle)
        for name, code in parameters.items():
            search = search.where(token(name).exactly().code(code))
        return search

    def pages(self, first, relation: str) -> list:
        """Returns the first page, and all pages after or before it."""
        pages = [first]
        while pages[-1].getLink(relation) is not None:
            page = self.client.loadPage()
            request = page.next(pages[-1]) if relation == "next" else page.previous(pages[-1])
            pages.append(request.execute())
        return pages

    @staticmethod
    def ids(bundle, mode: str = "match") -> list[str]:
        entries = [entry for entry in bundle.getEntry() if str(entry.getSearch().getMode().toCode()) == mode]
        return [str(entry.getResource().getIdElement().getIdPart()) for entry in entries]

    @staticmethod
    def names(bundle) -> list[str]:
        return [str(entry.getResource().getIdElement().toUnqualifiedVersionless().getValue()) for entry in bundle.getEntry()]

    def failure(self, request) -> dict:
        """Describes the exception that a request raises, and the OperationOutcome that the client parsed."""
        try:
            return {"unexpected": self.json(request())}
        except jpype.JClass(CLIENT + "server.exceptions.BaseServerResponseException") as error:
            outcome = error.getOperationOutcome()
            return {
                "kind": str(error.getClass().getSimpleName()),
                "status": int(error.getStatusCode()),
                "outcome": outcome and self.json(outcome),
            }


def collect_results(parameters: dict) -> dict:
    hapi = Hapi(parameters["base"])
    include = jpype.JClass("ca.uhn.fhir.model.api.Include")
    summary = jpype.JClass(CLIENT + "api.SummaryEnum")
    date = jpype.JClass(CLIENT + "gclient.StringClientParam")
    statement = hapi.client.capabilities().ofType(jpype.JClass(R4 + "CapabilityStatement").class_).execute()
    capabilities = {
        str(resource.getType()): {
            "interactions": [str(interaction.getCode().toCode()) for interaction in resource.getInteraction()],
            "parameters": [str(parameter.getName()) for parameter in resource.getSearchParam()],
        }
        for resource in statement.getRest()[0].getResource()
    }
    first = hapi.search(modality=parameters["modality"]).count(parameters["count"]).execute()
    next_pages = hapi.pages(first, "next")
    previous_pages = hapi.pages(next_pages[-1], "previous")
    posted = hapi.search(modality=parameters["modality"]).count(200).usingStyle(hapi.post).execute()
    with_search = jpype.JClass(CLIENT + "api.SearchStyleEnum").GET_WITH_SEARCH
    searched_by_get = hapi.search(modality=parameters["modality"]).count(200).usingStyle(with_search).execute()
    included = hapi.search(_id=parameters["study"]).include(include("ImagingStudy:patient")).include(include("ImagingStudy:endpoint")).execute()
    summarized = hapi.search(_id=parameters["study"]).summaryMode(summary.TRUE).execute()
    counted = hapi.search(modality=parameters["modality"]).summaryMode(summary.COUNT).execute()
    invalid_date = hapi.client.search().forResource("ImagingStudy").where(date("started").matches().value("yesterday")).returnBundle(hapi.bundle)
    study, patient = hapi.read("ImagingStudy", parameters["study"]), f"Patient/{parameters['patient']}"
    version = study.getMeta().getVersionId()
    parameters_class = jpype.JClass(R4 + "Parameters").class_
    everything = hapi.client.operation().onInstance(patient).named("$everything").withNoParameters(parameters_class).useHttpGet()
    batch = hapi.context.newJsonParser().parseResource(hapi.bundle, json.dumps(parameters["batch"]))
    in_xml = hapi.client.read().resource("ImagingStudy").withId(parameters["study"]).encodedXml()

    def by_url(path: str):
        return hapi.client.search().byUrl(parameters["base"] + path).returnBundle(hapi.bundle).execute()

    return {
        "version": str(statement.getFhirVersion().toCode()),
        "capabilities": capabilities,
        "study": hapi.json(study),
        "inXml": hapi.json(in_xml.execute()),
        "versioned": hapi.json(hapi.client.read().resource("ImagingStudy").withIdAndVersion(parameters["study"], version).execute()),
        "unknownVersion": hapi.failure(hapi.client.read().resource("ImagingStudy").withIdAndVersion(parameters["study"], "none").execute),
        "unchanged": hapi.client.read().resource("ImagingStudy").withId(parameters["study"]).ifVersionMatches(version).returnNull().execute(),
        "compartment": hapi.ids(by_url(f"/{patient}/ImagingStudy?_count=200")),
        "allTypes": hapi.names(by_url(f"?_type=ImagingStudy,Patient&_id={parameters['study']},{parameters['patient']}")),
        "everything": hapi.names(everything.returnResourceType(hapi.bundle).execute()),
        "batch": [str(entry.getResponse().getStatus()) for entry in hapi.client.transaction().withBundle(batch).execute().getEntry()],
        "patient": hapi.json(hapi.read("Patient", parameters["patient"])),
        "nextPages": [hapi.ids(page) for page in next_pages],
        "previousPages": [hapi.ids(page) for page in previous_pages],
        "posted": hapi.ids(posted),
        "found": hapi.ids(searched_by_get),
        "included": [hapi.json(entry.getResource()) for entry in included.getEntry() if str(entry.getSearch().getMode().toCode()) == "include"],
        "summary": hapi.json(summarized.getEntry()[0].getResource()),
        "total": int(counted.getTotal()),
        "unknownStudy": hapi.failure(lambda: hapi.read("ImagingStudy", "1.2.3.4.5")),
        "invalidDate": hapi.failure(invalid_date.execute),
    }
