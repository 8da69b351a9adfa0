"""A parser of FHIR XML (R4 xml.html) that checks names, order, cardinality and types with HL7's JSON schema.

Its result is the resource in JSON (R4 json.html), so that both formats can be compared and validated in the same way."""

import decimal
import functools
import json

from lxml import etree

from validators import SCHEMA

FHIR, XHTML = "{http://hl7.org/fhir}", "{http://www.w3.org/1999/xhtml}"


class NotFhir(Exception):
    """The XML is not valid FHIR."""


@functools.cache
def definitions() -> dict:
    return json.loads(SCHEMA.read_text())["definitions"]


def read(content: bytes) -> dict:
    root = etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
    return resource(root)


def resource(element: etree._Element) -> dict:
    kind = name_of(element)
    if "resourceType" not in definitions().get(kind, {}).get("properties", {}):
        raise NotFhir(f"{kind} is not a resource")
    return {"resourceType": kind, **members(element, kind, set())}


def name_of(element: etree._Element) -> str:
    if not isinstance(element.tag, str) or not element.tag.startswith(FHIR):
        raise NotFhir(f"{element.tag} is not a FHIR element")
    return element.tag.removeprefix(FHIR)


def members(element: etree._Element, type_name: str, attributes: set[str]) -> dict:
    """Returns the members of an element of a complex type, including its attributes."""
    if unknown := set(element.attrib) - attributes:
        raise NotFhir(f"{type_name} has no attribute {unknown}")
    if (element.text or "").strip() or any((child.tail or "").strip() for child in element):
        raise NotFhir(f"{type_name} contains text")
    properties = definitions()[type_name]["properties"]
    order = [name for name in properties if not name.startswith("_") and name != "resourceType" and name not in attributes]
    parsed, last = dict(element.attrib), 0
    for child in element:
        name = "div" if child.tag == XHTML + "div" and type_name == "Narrative" else name_of(child)
        if name not in order[last:]:
            raise NotFhir(f"{type_name}.{name} is unknown or out of order")
        last = order.index(name)
        is_array = properties[name].get("type") == "array"
        if not is_array and (name in parsed or f"_{name}" in parsed):
            raise NotFhir(f"{type_name}.{name} is repeated")
        value, extension = read_value(child, properties[name]["items"] if is_array else properties[name])
        if not is_array:
            parsed.update({name: value} if value is not None else {}, **({f"_{name}": extension} if extension else {}))
            continue
        parsed.setdefault(name, []).append(value)
        if extension or f"_{name}" in parsed:
            extensions = parsed.setdefault(f"_{name}", [])
            extensions += [None] * (len(parsed[name]) - 1 - len(extensions)) + [extension]
    for name in [name for name, values in parsed.items() if isinstance(values, list) and not any(value is not None for value in values)]:
        del parsed[name]
    return parsed


def read_value(element: etree._Element, schema: dict) -> tuple[object, dict | None]:
    """Returns the value of an element, and the id and extensions that JSON has in the member `_name`."""
    type_name = schema.get("$ref", "").removeprefix("#/definitions/")
    if type_name == "ResourceList":
        if element.attrib or len(element) != 1:
            raise NotFhir("the element does not contain exactly one resource")
        return resource(element[0]), None
    if type_name == "xhtml":
        return canonicalize(element), None
    definition = definitions()[type_name] if type_name else schema
    if "properties" in definition:
        attributes = {"id", "url"} if type_name == "Extension" else {"id"}
        return members(element, type_name, attributes) or None, None
    value = element.attrib.pop("value", None)
    extension = members(element, "Element", {"id"})
    if value == "" or (value is None and not extension):
        raise NotFhir(f"{element.tag} is empty")
    if value is not None and definition.get("type") in ("number", "boolean"):
        value = json.loads(value, parse_float=decimal.Decimal)
    return value, extension or None


def canonicalize(div: etree._Element) -> str:
    return etree.tostring(div, method="c14n", exclusive=True, with_tail=False).decode()


def normalize(value: object) -> object:
    """Returns a resource in JSON with its narratives in the form that `read` returns."""
    if isinstance(value, dict):
        return {name: canonicalize(etree.fromstring(member)) if name == "div" else normalize(member) for name, member in value.items()}
    return [normalize(item) for item in value] if isinstance(value, list) else value
