"""FHIR XML parsed with HL7's JSON schema as its grammar: the elements, their order, cardinality and types (R4 xml.html,
json.html). The result is the resource as JSON, so that both formats can be compared and validated in the same way."""

import decimal
import functools
import json

from lxml import etree

from validators import SCHEMA

FHIR, XHTML = "{http://hl7.org/fhir}", "{http://www.w3.org/1999/xhtml}"


class NotFhir(Exception):
    """The place of an error and its kind."""


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
    """The members of an element of a complex type, including its attributes."""
    if unknown := set(element.attrib) - attributes:
        raise NotFhir(f"{type_name} has no attribute {unknown}")
    if (element.text or "").strip() or any((child.tail or "").strip() for child in element):
        raise NotFhir(f"{type_name} contains text")
    properties = definitions()[type_name]["properties"]
    order = [name for name in properties if not name.startswith("_") and name != "resourceType" and name not in attributes]
    found, last = dict(element.attrib), 0
    for child in element:
        name = "div" if child.tag == XHTML + "div" and type_name == "Narrative" else name_of(child)
        if name not in order[last:]:
            raise NotFhir(f"{type_name}.{name} is unknown or out of order")
        last = order.index(name)
        many = properties[name].get("type") == "array"
        if not many and (name in found or f"_{name}" in found):
            raise NotFhir(f"{type_name}.{name} is repeated")
        value, beside = read_value(child, properties[name]["items"] if many else properties[name])
        if not many:
            found.update({name: value} if value is not None else {}, **({f"_{name}": beside} if beside else {}))
            continue
        found.setdefault(name, []).append(value)
        if beside or f"_{name}" in found:
            besides = found.setdefault(f"_{name}", [])
            besides += [None] * (len(found[name]) - 1 - len(besides)) + [beside]
    for name in [name for name, values in found.items() if isinstance(values, list) and not any(value is not None for value in values)]:
        del found[name]
    return found


def read_value(element: etree._Element, schema: dict) -> tuple[object, dict | None]:
    """A value, and the `_name` member that JSON has besides it."""
    type_name = schema.get("$ref", "").removeprefix("#/definitions/")
    if type_name == "ResourceList":
        if element.attrib or len(element) != 1:
            raise NotFhir("not one resource")
        return resource(element[0]), None
    if type_name == "xhtml":
        return canonical(element), None
    definition = definitions()[type_name] if type_name else schema
    if "properties" in definition:
        attributes = {"id", "url"} if type_name == "Extension" else {"id"}
        return members(element, type_name, attributes) or None, None
    value = element.attrib.pop("value", None)
    beside = members(element, "Element", {"id"})
    if value == "" or (value is None and not beside):
        raise NotFhir(f"{element.tag} is empty")
    if value is not None and definition.get("type") in ("number", "boolean"):
        value = json.loads(value, parse_float=decimal.Decimal)
    return value, beside or None


def canonical(div: etree._Element) -> str:
    return etree.tostring(div, method="c14n", exclusive=True, with_tail=False).decode()


def normal(value: object) -> object:
    """A resource in JSON with its narratives in the form that `read` returns."""
    if isinstance(value, dict):
        return {name: canonical(etree.fromstring(one)) if name == "div" else normal(one) for name, one in value.items()}
    return [normal(one) for one in value] if isinstance(value, list) else value
