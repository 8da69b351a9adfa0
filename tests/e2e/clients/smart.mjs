// Prints the results of npm's fhirclient, the SMART client, without authorization: node smart.mjs PARAMETERS. test_clients.py describes the
// results.
import smart from 'fhirclient';

const { base, study, patient, modality, count, batch: batchBundle } = JSON.parse(process.argv[2]);
// The client expects the request that an app handles; it only uses its URL.
const client = smart({ url: '/', headers: {}, session: {} }, {}).client(base);
const query = (parameters) => `ImagingStudy?${new URLSearchParams(parameters)}`;
const matches = (bundle) => (bundle.entry ?? []).filter((entry) => entry.search.mode === 'match').map((entry) => entry.resource);
const ids = (bundle) => matches(bundle).map((resource) => resource.id);

const names = (bundle) => bundle.entry.map((entry) => `${entry.resource.resourceType}/${entry.resource.id}`);

async function failure(request) {
  try {
    return { unexpected: await request };
  } catch (error) {
    // The message of an error contains the body of the response after an empty line.
    return { status: error.status, outcome: JSON.parse(error.message.slice(error.message.indexOf('\n\n'))) };
  }
}

const nextPages = [];
for await (const page of client.pages(query({ modality, _count: count }))) {
  nextPages.push(page);
}
const streamed = [];
for await (const resource of client.resources(query({ modality, _count: count }))) {
  streamed.push(resource.id);
}
const posted = await client.request({
  url: 'ImagingStudy/_search',
  method: 'POST',
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  body: String(new URLSearchParams({ modality, _count: 200 })),
});
const read = await client.request(`ImagingStudy/${study}`);
const history = `ImagingStudy/${study}/_history`;
const compartment = await client.request(`Patient/${patient}/ImagingStudy?_count=200`);
const allTypes = await client.request(`?${new URLSearchParams({ _type: 'ImagingStudy,Patient', _id: `${study},${patient}` })}`);
const batch = await client.request({
  url: base,
  method: 'POST',
  headers: { 'content-type': 'application/fhir+json' },
  body: JSON.stringify(batchBundle),
});
const graph = await client.request(`ImagingStudy/${study}`, { resolveReferences: ['subject', 'endpoint.0'], graph: true });
const flattened = await client.request(query({ modality, _count: count }), { pageLimit: 0, flat: true });
const summary = await client.request(query({ _id: study, _summary: 'true' }));
const counted = await client.request(query({ modality, _summary: 'count' }));

console.log(
  JSON.stringify({
    version: await client.getFhirVersion(),
    release: await client.getFhirRelease(),
    study: read,
    versioned: await client.request(`${history}/${read.meta.versionId}`),
    unknownVersion: await failure(client.request(`${history}/none`)),
    compartment: ids(compartment),
    allTypes: names(allTypes),
    everything: names(await client.request(`Patient/${patient}/$everything`)),
    batch: batch.entry.map((entry) => entry.response.status),
    patient: await client.request(`Patient/${patient}`),
    nextPages: nextPages.map(ids),
    found: flattened.map((resource) => resource.id),
    streamed,
    posted: ids(posted),
    included: [graph.subject, graph.endpoint[0]],
    summary: matches(summary)[0],
    total: counted.total,
    unknownStudy: await failure(client.request('ImagingStudy/1.2.3.4.5')),
    invalidDate: await failure(client.request(query({ started: 'yesterday' }))),
  }),
);
