"""Writes every-element/*.json from HL7's StructureDefinitions (R4 4.0.1), which the end-to-end tests install with npm."""

import json
import pathlib

HERE = pathlib.Path(__file__).parent
DEFINITIONS = HERE.parent / "e2e" / "node_modules" / "@medplum" / "definitions" / "dist" / "fhir" / "r4"
# A Reference contains an Identifier, which contains a Reference. At this depth, only primitive elements are written.
MAX_DEPTH = 3
# Elements that Medplum adds to Meta.
NOT_IN_R4 = {"Meta.project", "Meta.author", "Meta.onBehalfOf", "Meta.account", "Meta.accounts", "Meta.compartment"}
# Values for some of the fifty types of Extension.value[x]: the types that the Rust types define, and some that they preserve as JSON.
VALUES = {"boolean": True, "code": "c", "integer": -1, "decimal": 1.5, "Quantity": {"value": 1.0, "unit": "u"}}


def structures() -> dict[str, list[dict]]:
    elements = {}
    for name in ["profiles-resources.json", "profiles-types.json"]:
        for entry in json.loads((DEFINITIONS / name).read_text())["entry"]:
            if entry["resource"]["resourceType"] == "StructureDefinition":
                elements[entry["resource"]["name"]] = entry["resource"]["snapshot"]["element"]
    return elements


STRUCTURES = structures()


def extension(type_name: str) -> dict:
    return {"id": "e", "url": f"http://example.org/{type_name}", "value" + type_name[0].upper() + type_name[1:]: VALUES[type_name]}


def extensions(depth: int) -> list[dict]:
    if depth >= MAX_DEPTH:
        return [extension("code")]
    nested = {"extension": [extension(type_name) for type_name in VALUES], "url": "http://example.org/nested"}
    simple = {"url": "http://example.org/beside", "valueString": "s", "_valueString": {"id": "v"}}
    return [nested, simple]


def primitive(type_name: str):
    match type_name:
        case "boolean":
            return False
        case "integer":
            return -1
        case "unsignedInt" | "positiveInt":
            return 7
        case "xhtml":
            return "<div>x</div>"
        case _:
            return type_name


def members(path: str, depth: int) -> dict:
    """Returns the members of the element at `path`, or of the type with this name, in the order of R4."""
    elements = STRUCTURES[path.split(".")[0]]
    written = {"resourceType": path} if path in ("ImagingStudy", "Patient", "Endpoint") else {}
    for element in elements:
        if element["path"].rpartition(".")[0] != path or element["path"] in NOT_IN_R4:
            continue
        name = element["path"].rpartition(".")[2]
        is_list = element["max"] == "*"
        for type_name in [type_name["code"] for type_name in element["type"]]:
            member_name = name.replace("[x]", type_name[0].upper() + type_name[1:])
            if type_name.startswith("http://hl7.org/fhirpath/"):
                written[member_name] = "id"
            elif type_name == "Extension":
                written[member_name] = extensions(depth)
            elif type_name == "Resource":
                written[member_name] = [{"resourceType": "Basic", "id": "b", "code": {"text": "1.50"}}]
            elif type_name[0].islower():
                value, primitive_element = primitive(type_name), {"id": "p", "extension": [extension("code")]}
                written[member_name] = [value, None] if is_list else value
                if type_name != "xhtml":
                    written[f"_{member_name}"] = [None, primitive_element] if is_list else primitive_element
            elif depth < MAX_DEPTH:
                value = members(element["path"] if type_name == "BackboneElement" else type_name, depth + 1)
                written[member_name] = [value] if is_list else value
    return written


for resource in ["ImagingStudy", "Patient", "Endpoint"]:
    text = json.dumps(members(resource, 0), separators=(",", ":"))
    # The precision of a decimal is significant (R4 json#primitive).
    text = text.replace('"valueDecimal":1.5', '"valueDecimal":1.50')
    (HERE / "every-element" / f"{resource}.json").write_text(text + "\n")
