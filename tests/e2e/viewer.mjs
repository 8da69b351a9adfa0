// Opens the viewer in headless Chromium: the study list, a series, its first image, its last image. Prints as JSON what the page
// showed and requested; test_viewer.py checks it.
//
//   node viewer.mjs CHROMIUM VIEWER_URL STUDY_UID IMAGES FOLDER

import { chromium } from 'playwright-core';

const [executablePath, viewer, study, images, folder] = process.argv.slice(2);
// In milliseconds. Rendering may take minutes on a busy machine.
const TIMEOUT = 300_000;
const SIZE = { width: 1400, height: 900 };

const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist'],
});
const observations = { requests: [], failed: [], errors: [] };
try {
  const context = await browser.newContext({ viewport: SIZE });
  await context.addInitScript(() => localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour'])));
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT);
  page.on('pageerror', error => observations.errors.push(String(error)));
  page.on('response', response => {
    if (response.url().includes('/dicom-web/')) {
      observations.requests.push({ url: response.url(), status: response.status() });
    }
  });
  page.on('requestfailed', request => {
    if (request.url().includes('/dicom-web/')) {
      observations.failed.push({ url: request.url(), reason: request.failure()?.errorText });
    }
  });

  await page.goto(viewer, { waitUntil: 'domcontentloaded' });
  await page.getByText('CT Thorax with report').first().waitFor({ timeout: TIMEOUT });
  observations.list = await page.locator('body').innerText();
  await page.screenshot({ path: `${folder}/list.png` });

  await page.goto(`${viewer}viewer?StudyInstanceUIDs=${study}`, { waitUntil: 'domcontentloaded' });
  const canvas = page.locator('canvas.cornerstone-canvas').first();
  await canvas.waitFor({ timeout: TIMEOUT });
  observations.first = await waitForImage(page, null);
  await page.screenshot({ path: `${folder}/first.png` });

  // A turn of the wheel by one notch shows the next image. The viewer may miss a turn, which is then repeated.
  const box = await canvas.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  const deadline = Date.now() + TIMEOUT;
  while ((await imagePosition(page)) !== `${images}/${images}` && Date.now() < deadline) {
    const before = await imagePosition(page);
    await page.mouse.wheel(0, 120);
    await page.waitForFunction(`(${readImagePosition})() !== ${JSON.stringify(before)}`, null, { timeout: 3_000 }).catch(() => {});
  }
  observations.shown = await imagePosition(page);
  observations.last = await waitForImage(page, observations.first.digest);
  await page.screenshot({ path: `${folder}/last.png` });
} catch (error) {
  observations.stopped = String(error);
  const page = browser.contexts()[0]?.pages()[0];
  await page?.screenshot({ path: `${folder}/stopped.png` }).catch(() => {});
} finally {
  await browser.close();
}
console.log(JSON.stringify(observations));

// Returns "3/12" from the overlay "I: 3 (3/12)".
function readImagePosition() {
  const overlay = [...document.querySelectorAll('[data-cy^="viewport-overlay"]')].map(element => element.innerText).join(' ');
  return /(\d+\/\d+)/.exec(overlay)?.[1] ?? null;
}

function imagePosition(page) {
  return page.evaluate(readImagePosition);
}

// Waits until the viewport shows an image with several gray levels whose digest is not `previousDigest`, and describes it.
async function waitForImage(page, previousDigest) {
  const describeImage = previous => {
    const canvas = document.querySelector('canvas.cornerstone-canvas');
    const pixels = canvas?.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height).data;
    if (!pixels) return null;
    const shades = new Set();
    let digest = 0;
    for (let index = 0; index < pixels.length; index += 4) {
      shades.add(pixels[index]);
      digest = (digest * 31 + pixels[index]) | 0;
    }
    return shades.size > 16 && digest !== previous ? { shades: shades.size, digest, width: canvas.width, height: canvas.height } : null;
  };
  const handle = await page.waitForFunction(describeImage, previousDigest, { timeout: TIMEOUT, polling: 250 });
  return handle.jsonValue();
}
