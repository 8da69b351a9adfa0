// Calls every search and retrieval of npm's dicomweb-client in headless Chromium, for each root. Prints the results as JSON, with
// digests instead of bytes.
//
//   node dicomweb_client.mjs CHROMIUM PAGE STUDY SERIES INSTANCE ROOT...

import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const [executablePath, address, study, series, instance, ...roots] = process.argv.slice(2);
const library = createRequire(import.meta.url).resolve('dicomweb-client');

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
try {
  const page = await browser.newPage();
  await page.goto(address, { timeout: 300_000 });
  await page.addScriptTag({ path: library });
  const results = {};
  for (const root of roots) {
    results[root] = await page.evaluate(callEverything, { root, study, series, instance });
  }
  console.log(JSON.stringify(results));
} finally {
  await browser.close();
}

async function callEverything({ root, study, series, instance }) {
  const client = new window.DICOMwebClient.api.DICOMwebClient({ url: root });
  const uids = { studyInstanceUID: study, seriesInstanceUID: series, sopInstanceUID: instance };
  const anyTransferSyntax = [{ mediaType: 'application/octet-stream', transferSyntaxUID: '*' }];
  const metadata = await client.retrieveInstanceMetadata(uids);
  const calls = {
    searchForStudies: () => client.searchForStudies({ queryParams: { PatientID: 'DEMO-0001', limit: 10 } }),
    searchForSeries: () => client.searchForSeries({ studyInstanceUID: study }),
    searchForAllSeries: () => client.searchForSeries({}),
    searchForInstances: () => client.searchForInstances({ studyInstanceUID: study, seriesInstanceUID: series }),
    searchForAllInstances: () => client.searchForInstances({ studyInstanceUID: study, queryParams: { includefield: 'all' } }),
    retrieveStudyMetadata: () => client.retrieveStudyMetadata(uids),
    retrieveSeriesMetadata: () => client.retrieveSeriesMetadata(uids),
    retrieveInstanceMetadata: () => metadata,
    retrieveInstanceFrames: () => client.retrieveInstanceFrames({ ...uids, frameNumbers: [1] }),
    retrieveInstanceFramesAsStored: () => client.retrieveInstanceFrames({ ...uids, frameNumbers: [1], mediaTypes: anyTransferSyntax }),
    retrieveInstanceRendered: () => client.retrieveInstanceRendered({ ...uids, mediaTypes: [{ mediaType: 'image/png' }] }),
    retrieveInstanceFramesRendered: () => client.retrieveInstanceFramesRendered({ ...uids, frameNumbers: [1], mediaTypes: [{ mediaType: 'image/jpeg' }] }),
    retrieveInstance: () => client.retrieveInstance(uids),
    retrieveSeries: () => client.retrieveSeries(uids),
    retrieveStudy: () => client.retrieveStudy(uids),
    retrieveBulkData: () => client.retrieveBulkData({ BulkDataURI: metadata[0]['7FE00010'].BulkDataURI }),
  };
  const digest = async bytes => {
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    return { bytes: bytes.byteLength, sha256: [...hash].map(byte => byte.toString(16).padStart(2, '0')).join('') };
  };
  const serialize = async value => {
    if (value instanceof ArrayBuffer) return digest(value);
    if (Array.isArray(value) && value[0] instanceof ArrayBuffer) return Promise.all(value.map(digest));
    return value;
  };
  const results = {};
  for (const [name, call] of Object.entries(calls)) {
    try {
      results[name] = await serialize(await call());
    } catch (error) {
      results[name] = { error: String(error?.message ?? error) };
    }
  }
  return results;
}
