"""FHIR R4 validators of other projects: Medplum's validator in Node, and HL7's JSON schema in jsonschema."""

import functools
import hashlib
import json
import pathlib
import subprocess

import jsonschema

HERE = pathlib.Path(__file__).parent
SCHEMA = HERE / "node_modules" / "@medplum" / "definitions" / "dist" / "fhir" / "r4" / "fhir.schema.json"


def medplum_errors(folder: pathlib.Path) -> dict[str, list]:
    """Returns the errors by file."""
    run = subprocess.run(["node", HERE / "validate.mjs", folder], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    *lines, summary = [json.loads(line) for line in run.stdout.splitlines()]
    assert summary["files"] == len(list(folder.glob("*.json"))) > 0
    return {line["file"]: line["errors"] for line in lines}


@functools.cache
def type_validator(resource_type: str) -> jsonschema.Draft6Validator:
    schema = json.loads(SCHEMA.read_text())
    assert schema["id"] == "http://hl7.org/fhir/json-schema/4.0"
    reference = schema["discriminator"]["mapping"][resource_type]
    # With the schema of all types, an error would be "none of 148 types" without a location.
    return jsonschema.Draft6Validator({"definitions": schema["definitions"], "$ref": reference})


class Schema:
    """Validates each resource once, even if several Bundles contain it."""

    def __init__(self):
        self.cached: dict[str, list[str]] = {}

    def errors(self, resource: dict) -> list[str]:
        key = hashlib.sha256(json.dumps(resource, sort_keys=True).encode()).hexdigest()
        if key not in self.cached:
            self.cached[key] = self._errors(resource)
        return self.cached[key]

    def _errors(self, resource: dict) -> list[str]:
        entry_errors = []
        if resource["resourceType"] == "Bundle" and "entry" in resource:
            entry_errors = [error for entry in resource["entry"] for error in self.errors(entry["resource"])]
            entries = [{**entry, "resource": {"resourceType": "Basic", "code": {}}} for entry in resource["entry"]]
            resource = {**resource, "entry": entries[:1]}
        errors = type_validator(resource["resourceType"]).iter_errors(resource)
        return entry_errors + [f"{resource['resourceType']} {'/'.join(map(str, error.path))}: {error.message[:200]}" for error in errors]


def hl7_schema_errors(folder: pathlib.Path) -> dict[str, list]:
    """Returns the errors by file."""
    schema, errors_by_file = Schema(), {}
    for path in folder.glob("*.json"):
        errors = schema.errors(json.loads(path.read_text()))
        if errors:
            errors_by_file[path.name] = errors[:5]
    return errors_by_file
