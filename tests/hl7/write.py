"""Writes every-element/*.json from HL7's StructureDefinitions (R4 4.0.1), which the end-to-end tests install with npm."""

import json
import pathlib

HERE = pathlib.Path(__file__).parent
DEFINITIONS = HERE.parent / "e2e" / "node_modules" / "@medplum" / "definitions" / "dist" / "fhir" / "r4"
# A Reference has an Identifier, which has a Reference: below this depth only primitive elements are written.
MAX_DEPTH = 3
# Elements that Medplum adds to Meta.
NOT_OF_HL7 = {"Meta.project", "Meta.author", "Meta.onBehalfOf", "Meta.account", "Meta.accounts", "Meta.compartment"}
# Some of the fifty types of Extension.value[x]: those that the Rust types define, and some that they preserve as raw JSON.
VALUES = {"boolean": True, "code": "c", "integer": -1, "decimal": 1.5, "Quantity": {"value": 1.0, "unit": "u"}}


def structures() -> dict[str, list[dict]]:
    elements = {}
    for name in ["profiles-resources.json", "profiles-types.json"]:
        for entry in json.loads((DEFINITIONS / name).read_text())["entry"]:
            if entry["resource"]["resourceType"] == "StructureDefinition":
                elements[entry["resource"]["name"]] = entry["resource"]["snapshot"]["element"]
    return elements


STRUCTURES = structures()


def extension(kind: str) -> dict:
    return {"id": "e", "url": f"http://example.org/{kind}", "value" + kind[0].upper() + kind[1:]: VALUES[kind]}


def extensions(depth: int) -> list[dict]:
    if depth >= MAX_DEPTH:
        return [extension("code")]
    nested = {"extension": [extension(kind) for kind in VALUES], "url": "http://example.org/nested"}
    beside = {"url": "http://example.org/beside", "valueString": "s", "_valueString": {"id": "v"}}
    return [nested, beside]


def primitive(kind: str):
    match kind:
        case "boolean":
            return False
        case "integer":
            return -1
        case "unsignedInt" | "positiveInt":
            return 7
        case "xhtml":
            return "<div>x</div>"
        case _:
            return kind


def members(path: str, depth: int) -> dict:
    """The members of the element at `path`, or of the type of that name, in order."""
    elements = STRUCTURES[path.split(".")[0]]
    written = {"resourceType": path} if path in ("ImagingStudy", "Patient", "Endpoint") else {}
    for element in elements:
        if element["path"].rpartition(".")[0] != path or element["path"] in NOT_OF_HL7:
            continue
        name = element["path"].rpartition(".")[2]
        is_list = element["max"] == "*"
        for kind in [kind["code"] for kind in element["type"]]:
            own_name = name.replace("[x]", kind[0].upper() + kind[1:])
            if kind.startswith("http://hl7.org/fhirpath/"):
                written[own_name] = "id"
            elif kind == "Extension":
                written[own_name] = extensions(depth)
            elif kind == "Resource":
                written[own_name] = [{"resourceType": "Basic", "id": "b", "code": {"text": "1.50"}}]
            elif kind[0].islower():
                value, beside = primitive(kind), {"id": "p", "extension": [extension("code")]}
                written[own_name] = [value, None] if is_list else value
                if kind != "xhtml":
                    written[f"_{own_name}"] = [None, beside] if is_list else beside
            elif depth < MAX_DEPTH:
                value = members(element["path"] if kind == "BackboneElement" else kind, depth + 1)
                written[own_name] = [value] if is_list else value
    return written


for resource in ["ImagingStudy", "Patient", "Endpoint"]:
    text = json.dumps(members(resource, 0), separators=(",", ":"))
    # The precision of a decimal is significant (R4 json.html#primitive).
    text = text.replace('"valueDecimal":1.5', '"valueDecimal":1.50')
    (HERE / "every-element" / f"{resource}.json").write_text(text + "\n")
