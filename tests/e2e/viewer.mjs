// Opens a viewer in headless Chromium: the study list, a series, its first image, its last image. Prints its observations as JSON;
// test_viewer.py evaluates them.
//
//   node viewer.mjs CHROMIUM VIEWER_URL STUDY_UID IMAGES FOLDER

import { chromium } from 'playwright-core';

const [executablePath, viewer, study, images, folder] = process.argv.slice(2);
// Reached only if something fails, however busy the machine is.
const TIMEOUT = 300_000;
const SIZE = { width: 1400, height: 900 };

const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist'],
});
const seen = { requests: [], failed: [], errors: [] };
try {
  const context = await browser.newContext({ viewport: SIZE });
  await context.addInitScript(() => localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour'])));
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT);
  page.on('pageerror', error => seen.errors.push(String(error)));
  page.on('response', answer => {
    if (answer.url().includes('/dicom-web/')) {
      seen.requests.push({ url: answer.url(), status: answer.status() });
    }
  });
  page.on('requestfailed', request => {
    if (request.url().includes('/dicom-web/')) {
      seen.failed.push({ url: request.url(), why: request.failure()?.errorText });
    }
  });

  await page.goto(viewer, { waitUntil: 'domcontentloaded' });
  await page.getByText('CT Thorax with report').first().waitFor({ timeout: TIMEOUT });
  seen.list = await page.locator('body').innerText();
  await page.screenshot({ path: `${folder}/list.png` });

  await page.goto(`${viewer}viewer?StudyInstanceUIDs=${study}`, { waitUntil: 'domcontentloaded' });
  const canvas = page.locator('canvas.cornerstone-canvas').first();
  await canvas.waitFor({ timeout: TIMEOUT });
  seen.first = await painted(page, null);
  await page.screenshot({ path: `${folder}/first.png` });

  // One notch of the wheel is one image; a notch that comes too early is repeated.
  const box = await canvas.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  const deadline = Date.now() + TIMEOUT;
  while ((await shownImage(page)) !== `${images}/${images}` && Date.now() < deadline) {
    const before = await shownImage(page);
    await page.mouse.wheel(0, 120);
    await page.waitForFunction(`(${shownText})() !== ${JSON.stringify(before)}`, null, { timeout: 3_000 }).catch(() => {});
  }
  seen.shown = await shownImage(page);
  seen.last = await painted(page, seen.first.digest);
  await page.screenshot({ path: `${folder}/last.png` });
} catch (error) {
  seen.stopped = String(error);
  const page = browser.contexts()[0]?.pages()[0];
  await page?.screenshot({ path: `${folder}/stopped.png` }).catch(() => {});
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));

// "3/12" in the overlay "I: 3 (3/12)".
function shownText() {
  const overlay = [...document.querySelectorAll('[data-cy^="viewport-overlay"]')].map(one => one.innerText).join(' ');
  return /(\d+\/\d+)/.exec(overlay)?.[1] ?? null;
}

function shownImage(page) {
  return page.evaluate(shownText);
}

// Waits until the viewport shows an image - several gray levels, and not those of `digest` - and returns its description.
async function painted(page, digest) {
  const look = other => {
    const canvas = document.querySelector('canvas.cornerstone-canvas');
    const pixels = canvas?.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height).data;
    if (!pixels) return null;
    const shades = new Set();
    let digest = 0;
    for (let at = 0; at < pixels.length; at += 4) {
      shades.add(pixels[at]);
      digest = (digest * 31 + pixels[at]) | 0;
    }
    return shades.size > 16 && digest !== other ? { shades: shades.size, digest, width: canvas.width, height: canvas.height } : null;
  };
  const handle = await page.waitForFunction(look, digest, { timeout: TIMEOUT, polling: 250 });
  return handle.jsonValue();
}
