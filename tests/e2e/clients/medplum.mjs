// Prints the results of npm's @medplum/core: node medplum.mjs PARAMETERS. test_clients.py describes the results.
import { MedplumClient, OperationOutcomeError } from '@medplum/core';

const { base, study, patient, modality, count, batch: batchBundle } = JSON.parse(process.argv[2]);
const baseUrl = base.slice(0, base.lastIndexOf('/') + 1);
const client = new MedplumClient({ baseUrl, fhirUrlPath: base.slice(baseUrl.length), fetch });
const ids = (resources) => resources.map((resource) => resource.id);

const names = (bundle) => bundle.entry.map((entry) => `${entry.resource.resourceType}/${entry.resource.id}`);

async function failure(request) {
  try {
    return { unexpected: await request };
  } catch (error) {
    return { kind: error instanceof OperationOutcomeError ? 'OperationOutcomeError' : String(error), outcome: error.outcome };
  }
}

const statement = await client.get(client.fhirUrl('metadata'));
const nextPages = [];
for await (const page of client.searchResourcePages('ImagingStudy', { modality, _count: count })) {
  nextPages.push(ids(page));
}
const posted = await client.post(
  client.fhirUrl('ImagingStudy', '_search'),
  String(new URLSearchParams({ modality, _count: 200 })),
  'application/x-www-form-urlencoded',
);
const withIncludes = await client.search('ImagingStudy', [
  ['_id', study],
  ['_include', 'ImagingStudy:patient'],
  ['_include', 'ImagingStudy:endpoint'],
]);
const read = await client.readResource('ImagingStudy', study);
const compartment = await client.get(`${client.fhirUrl('Patient', patient, 'ImagingStudy')}?_count=200`);
const batch = await client.executeBatch(batchBundle);

console.log(
  JSON.stringify({
    version: statement.fhirVersion,
    study: read,
    versioned: await client.readVersion('ImagingStudy', study, read.meta.versionId),
    unknownVersion: await failure(client.readVersion('ImagingStudy', study, 'none')),
    compartment: ids(compartment.entry.map((entry) => entry.resource)),
    everything: names(await client.readPatientEverything(patient)),
    batch: batch.entry.map((entry) => entry.response.status),
    patient: await client.readReference(read.subject),
    nextPages,
    posted: posted.entry.map((entry) => entry.resource.id),
    included: withIncludes.entry.filter((entry) => entry.search.mode === 'include').map((entry) => entry.resource),
    summary: await client.searchOne('ImagingStudy', { _id: study, _summary: 'true' }),
    total: (await client.search('ImagingStudy', { modality, _summary: 'count' })).total,
    unknownStudy: await failure(client.readResource('ImagingStudy', '1.2.3.4.5')),
    invalidDate: await failure(client.search('ImagingStudy', { started: 'yesterday' })),
    patients: ids(await client.searchResources('Patient', { _id: patient })),
  }),
);
