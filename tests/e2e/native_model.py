"""An independent reader of the Native DICOM Model, with the schema of PS3.19 A.1.6, and its comparison with DICOM JSON."""

import re

import lxml.etree
import pydicom.datadict

NAMESPACE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"

COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
VR = "AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()

SCHEMA = lxml.etree.RelaxNG(lxml.etree.fromstring(f"""
<grammar xmlns="http://relaxng.org/ns/structure/1.0" ns="http://dicom.nema.org/PS3.19/models/NativeDICOM"
         datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">
  <start><element name="NativeDicomModel">
    <attribute name="xml:space" ns="http://www.w3.org/XML/1998/namespace"><value>preserve</value></attribute>
    <ref name="DataSet"/>
  </element></start>
  <define name="DataSet"><zeroOrMore><ref name="DicomAttribute"/></zeroOrMore></define>
  <define name="Number"><attribute name="number" ns=""><data type="positiveInteger"/></attribute></define>
  <define name="DicomAttribute"><element name="DicomAttribute">
    <attribute name="tag" ns=""><data type="string"><param name="pattern">[0-9A-F]{{8}}</param></data></attribute>
    <attribute name="vr" ns=""><choice>{"".join(f"<value>{vr}</value>" for vr in VR)}</choice></attribute>
    <optional><attribute name="keyword" ns=""><data type="token"/></attribute></optional>
    <optional><attribute name="privateCreator" ns=""><data type="string"/></attribute></optional>
    <optional><choice>
      <element name="BulkData"><choice>
        <attribute name="uuid" ns=""><data type="string"/></attribute>
        <attribute name="uri" ns=""><data type="anyURI"/></attribute>
      </choice></element>
      <oneOrMore><element name="Value"><ref name="Number"/><data type="string"/></element></oneOrMore>
      <oneOrMore><element name="Item"><ref name="Number"/><ref name="DataSet"/></element></oneOrMore>
      <oneOrMore><element name="PersonName"><ref name="Number"/>
        {"".join(f'<optional><element name="{group}"><ref name="NameComponents"/></element></optional>'
                 for group in ("Alphabetic", "Ideographic", "Phonetic"))}
      </element></oneOrMore>
      <element name="InlineBinary"><data type="base64Binary"/></element>
    </choice></optional>
  </element></define>
  <define name="NameComponents">
    {"".join(f'<optional><element name="{name}"><data type="string"/></element></optional>' for name in COMPONENTS)}
  </define>
</grammar>"""))


def read(document: bytes) -> dict:
    """Returns the VR and the values of each element of a document, by private creator and tag."""
    root = lxml.etree.fromstring(document)
    SCHEMA.assertValid(root)
    return members(root)


def members(parent) -> dict:
    """Checks keywords, private creators and the order of the elements, and returns the elements."""
    elements = {}
    for attribute in parent:
        tag, creator = attribute.get("tag"), attribute.get("privateCreator")
        if int(tag[:4], 16) % 2 == 0:
            assert attribute.get("keyword", "") == pydicom.datadict.keyword_for_tag(int(tag, 16)), tag
        else:
            assert attribute.get("keyword") is None
            assert creator is None or tag[4:6] == "00", tag
        key = (creator, tag)
        assert key not in elements, key
        elements[key] = (attribute.get("vr"), values(attribute))
    standard_tags = [tag for creator, tag in elements if creator is None]
    assert standard_tags == sorted(standard_tags)
    return elements


def values(attribute) -> list:
    children = list(attribute)
    numbers = [int(child.get("number")) for child in children if child.get("number")]
    assert numbers == list(range(1, len(numbers) + 1))
    return [value(child) for child in children]


def value(child):
    match child.tag.removeprefix(NAMESPACE):
        case "BulkData":
            return ("BulkDataURI", child.get("uri"))
        case "InlineBinary":
            return ("InlineBinary", child.text or "")
        case "Item":
            return members(child)
        case "PersonName":
            return {group.tag.removeprefix(NAMESPACE): name(group) for group in child}
        case "Value":
            return child.text or ""


def name(group) -> str:
    components = {component.tag.removeprefix(NAMESPACE): component.text for component in group}
    return "^".join(components.get(component, "") for component in COMPONENTS).rstrip("^")


def from_json(objects: dict) -> dict:
    """Returns the same as `read` for an object in DICOM JSON."""
    def creator(tag: str) -> str | None:
        element = objects.get(f"{tag[:4]}00{tag[4:6]}", {})
        return next(iter(element.get("Value", [])), None) if int(tag[:4], 16) % 2 and tag[4:6] != "00" else None

    def is_included(tag: str) -> bool:
        is_creator = int(tag[:4], 16) % 2 and tag[4:6] == "00" and int(tag[6:], 16) >= 0x10
        return tag[4:] != "0000" and not (is_creator and objects[tag].get("Value"))

    elements = {}
    for tag, element in objects.items():
        if is_included(tag):
            relative_tag = f"{tag[:4]}00{tag[6:]}" if creator(tag) else tag
            elements[creator(tag), relative_tag] = (element["vr"], json_values(element))
    return elements


def json_values(element: dict) -> list:
    for member in ("BulkDataURI", "InlineBinary"):
        if member in element:
            return [(member, element[member])]
    return [json_value(element["vr"], value) for value in element.get("Value", [])]


def json_value(vr: str, value):
    match vr, value:
        case "SQ", _:
            return from_json(value or {})
        case "PN", _:
            return {group: text.rstrip("^") for group, text in (value or {}).items() if text}
        case _, None:
            return ""
        case _, str():
            return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", value.rstrip("\0"))
        case _:
            return value


def equal(left, right) -> bool:
    """Whether a value in XML equals a value in JSON: a number equals its text."""
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return isinstance(right, (list, tuple)) and len(left) == len(right) and all(map(equal, left, right))
    if isinstance(right, (int, float)):
        return float(left) == right
    return left == right
