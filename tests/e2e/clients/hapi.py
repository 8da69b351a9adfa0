"""The answers of HAPI's generic client, in a JVM of this process; test_clients.py describes the answers.

Its parser is strict: an element that R4 does not define, or an invalid value, is an exception.
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
        # The first request reads the CapabilityStatement; the client rejects servers of other FHIR versions.
        self.context.getRestfulClientFactory().setSocketTimeout(60_000)
        self.client = self.context.newRestfulGenericClient(base)
        self.bundle = jpype.JClass(R4 + "Bundle").class_
        self.post = jpype.JClass(CLIENT + "api.SearchStyleEnum").POST

    def json(self, resource) -> dict:
        return json.loads(str(self.context.newJsonParser().encodeResourceToString(resource)))

    def read(self, kind: str, identifier: str):
        return self.client.read().resource(kind).withId(identifier).execute()

    def search(self, **parameters):
        """A search for studies; the parameters are tokens."""
        token = jpype.JClass(CLIENT + "gclient.TokenClientParam")
        search = self.client.search().forResource("ImagingStudy").returnBundle(self.bundle)
        for name, code in parameters.items():
            search = search.where(token(name).exactly().code(code))
        return search

    def pages(self, first, relation: str) -> list:
        """This page, and all pages after or before it."""
        pages = [first]
        while pages[-1].getLink(relation) is not None:
            page = self.client.loadPage()
            step = page.next(pages[-1]) if relation == "next" else page.previous(pages[-1])
            pages.append(step.execute())
        return pages

    @staticmethod
    def ids(bundle, mode: str = "match") -> list[str]:
        entries = [entry for entry in bundle.getEntry() if str(entry.getSearch().getMode().toCode()) == mode]
        return [str(entry.getResource().getIdElement().getIdPart()) for entry in entries]

    @staticmethod
    def names(bundle) -> list[str]:
        return [str(entry.getResource().getIdElement().toUnqualifiedVersionless().getValue()) for entry in bundle.getEntry()]

    def failure(self, asking) -> dict:
        """The kind of the exception of the client, and the OperationOutcome that it parsed."""
        try:
            return {"unexpected": self.json(asking())}
        except jpype.JClass(CLIENT + "server.exceptions.BaseServerResponseException") as error:
            outcome = error.getOperationOutcome()
            return {
                "kind": str(error.getClass().getSimpleName()),
                "status": int(error.getStatusCode()),
                "outcome": outcome and self.json(outcome),
            }


def answers(question: dict) -> dict:
    hapi = Hapi(question["base"])
    include = jpype.JClass("ca.uhn.fhir.model.api.Include")
    summary = jpype.JClass(CLIENT + "api.SummaryEnum")
    date = jpype.JClass(CLIENT + "gclient.StringClientParam")
    statement = hapi.client.capabilities().ofType(jpype.JClass(R4 + "CapabilityStatement").class_).execute()
    capabilities = {
        str(resource.getType()): {
            "interactions": [str(one.getCode().toCode()) for one in resource.getInteraction()],
            "parameters": [str(one.getName()) for one in resource.getSearchParam()],
        }
        for resource in statement.getRest()[0].getResource()
    }
    first = hapi.search(modality=question["modality"]).count(question["count"]).execute()
    forth = hapi.pages(first, "next")
    back = hapi.pages(forth[-1], "previous")
    posted = hapi.search(modality=question["modality"]).count(200).usingStyle(hapi.post).execute()
    with_search = jpype.JClass(CLIENT + "api.SearchStyleEnum").GET_WITH_SEARCH
    by_get_with_search = hapi.search(modality=question["modality"]).count(200).usingStyle(with_search).execute()
    included = hapi.search(_id=question["study"]).include(include("ImagingStudy:patient")).include(include("ImagingStudy:endpoint")).execute()
    of_summary = hapi.search(_id=question["study"]).summaryMode(summary.TRUE).execute()
    counted = hapi.search(modality=question["modality"]).summaryMode(summary.COUNT).execute()
    yesterday = hapi.client.search().forResource("ImagingStudy").where(date("started").matches().value("yesterday")).returnBundle(hapi.bundle)
    study, patient = hapi.read("ImagingStudy", question["study"]), f"Patient/{question['patient']}"
    version = study.getMeta().getVersionId()
    parameters = jpype.JClass(R4 + "Parameters").class_
    everything = hapi.client.operation().onInstance(patient).named("$everything").withNoParameters(parameters).useHttpGet()
    batch = hapi.context.newJsonParser().parseResource(hapi.bundle, json.dumps(question["batch"]))
    in_xml = hapi.client.read().resource("ImagingStudy").withId(question["study"]).encodedXml()

    def by_url(path: str):
        return hapi.client.search().byUrl(question["base"] + path).returnBundle(hapi.bundle).execute()

    return {
        "version": str(statement.getFhirVersion().toCode()),
        "capabilities": capabilities,
        "study": hapi.json(study),
        "inXml": hapi.json(in_xml.execute()),
        "versioned": hapi.json(hapi.client.read().resource("ImagingStudy").withIdAndVersion(question["study"], version).execute()),
        "noVersion": hapi.failure(hapi.client.read().resource("ImagingStudy").withIdAndVersion(question["study"], "none").execute),
        "unchanged": hapi.client.read().resource("ImagingStudy").withId(question["study"]).ifVersionMatches(version).returnNull().execute(),
        "compartment": hapi.ids(by_url(f"/{patient}/ImagingStudy?_count=200")),
        "allTypes": hapi.names(by_url(f"?_type=ImagingStudy,Patient&_id={question['study']},{question['patient']}")),
        "everything": hapi.names(everything.returnResourceType(hapi.bundle).execute()),
        "batch": [str(entry.getResponse().getStatus()) for entry in hapi.client.transaction().withBundle(batch).execute().getEntry()],
        "patient": hapi.json(hapi.read("Patient", question["patient"])),
        "forth": [hapi.ids(page) for page in forth],
        "back": [hapi.ids(page) for page in back],
        "posted": hapi.ids(posted),
        "found": hapi.ids(by_get_with_search),
        "included": [hapi.json(entry.getResource()) for entry in included.getEntry() if str(entry.getSearch().getMode().toCode()) == "include"],
        "summary": hapi.json(of_summary.getEntry()[0].getResource()),
        "total": int(counted.getTotal()),
        "missing": hapi.failure(lambda: hapi.read("ImagingStudy", "1.2.3.4.5")),
        "wrong": hapi.failure(yesterday.execute),
    }
