// Prints the results of npm's fhir-kit-client: node kit.mjs PARAMETERS. test_clients.py describes the results.
import { CapabilityTool, Client } from 'fhir-kit-client';

const { base, study, patient, modality, count, batch: batchBundle } = JSON.parse(process.argv[2]);
const client = new Client({ baseUrl: base });
const resourceType = 'ImagingStudy';
const matches = (bundle) => (bundle.entry ?? []).filter((entry) => entry.search.mode === 'match').map((entry) => entry.resource);
const ids = (bundle) => matches(bundle).map((resource) => resource.id);

const names = (bundle) => bundle.entry.map((entry) => `${entry.resource.resourceType}/${entry.resource.id}`);

async function readPages(first, next) {
  const pages = [];
  for (let bundle = first; bundle; bundle = await next(bundle)) {
    pages.push(bundle);
  }
  return pages;
}

async function failure(request) {
  try {
    return { unexpected: await request };
  } catch (error) {
    return { status: error.response.status, outcome: error.response.data };
  }
}

const statement = await client.capabilityStatement();
const tool = new CapabilityTool(statement);
const capabilities = Object.fromEntries(
  ['ImagingStudy', 'Patient', 'Endpoint'].map((type) => [
    type,
    { interactions: tool.interactionsFor({ resourceType: type }), parameters: tool.searchParamsFor({ resourceType: type }) },
  ]),
);
const first = await client.search({ resourceType, searchParams: { modality, _count: count } });
const nextPages = await readPages(first, (bundle) => client.nextPage({ bundle }));
const previousPages = await readPages(nextPages.at(-1), (bundle) => client.prevPage({ bundle }));
const posted = await client.search({ resourceType, searchParams: { modality, _count: 200 }, options: { postSearch: true } });
const withIncludes = await client.search({
  resourceType,
  searchParams: { _id: study, _include: ['ImagingStudy:patient', 'ImagingStudy:endpoint'] },
});
const summary = await client.search({ resourceType, searchParams: { _id: study, _summary: 'true' } });
const counted = await client.search({ resourceType, searchParams: { modality, _summary: 'count' } });
const read = await client.read({ resourceType, id: study });
const version = read.meta.versionId;
const compartment = await client.search({ resourceType, compartment: { resourceType: 'Patient', id: patient }, searchParams: { _count: 200 } });
const allTypes = await client.search({ searchParams: { _type: 'ImagingStudy,Patient', _id: `${study},${patient}` } });
const everything = await client.operation({ name: 'everything', resourceType: 'Patient', id: patient, method: 'GET' });
const batch = await client.batch({ body: batchBundle });
const resolved = await client.resolve({ reference: `Patient/${patient}` });

console.log(
  JSON.stringify({
    version: statement.fhirVersion,
    capabilities,
    study: read,
    versioned: await client.vread({ resourceType, id: study, version }),
    unknownVersion: await failure(client.vread({ resourceType, id: study, version: 'none' })),
    unchanged: await failure(client.read({ resourceType, id: study, options: { headers: { 'If-None-Match': `W/"${version}"` } } })),
    compartment: ids(compartment),
    allTypes: names(allTypes),
    everything: names(everything),
    batch: batch.entry.map((entry) => entry.response.status),
    patient: resolved,
    nextPages: nextPages.map(ids),
    previousPages: previousPages.map(ids),
    posted: ids(posted),
    included: withIncludes.entry.filter((entry) => entry.search.mode === 'include').map((entry) => entry.resource),
    summary: matches(summary)[0],
    total: counted.total,
    unknownStudy: await failure(client.read({ resourceType, id: '1.2.3.4.5' })),
    invalidDate: await failure(client.search({ resourceType, searchParams: { started: 'yesterday' } })),
  }),
);
