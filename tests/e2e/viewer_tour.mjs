// Takes the viewer in headless Chromium through the same stops at two places at once, and waits at each view until both pages have
// rendered it and are equal, or until it is certain that they remain different. Prints as JSON what both pages showed and requested;
// test_viewer_tour.py compares it. The screenshots are FOLDER/{stop}-{view}-{place}.png.
//
//   node viewer_tour.mjs CHROMIUM PLACES STOPS FOLDER
//
// PLACES are the URLs of the viewer by name. A stop has a name, a StudyInstanceUID and views; a view has a name, the number of the series
// that is opened, and what the viewport must show: "image", "last" (the last image), "slide", "document", "video", or a text.

import { writeFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';

const [executablePath, places, stops, folder] = [process.argv[2], JSON.parse(process.argv[3]), JSON.parse(process.argv[4]), process.argv[5]];
// In milliseconds. Rendering may take minutes on a busy machine.
const TIMEOUT = 120_000;
// In milliseconds: how long pages that have rendered a view may remain different.
const DIFFERENCE_TIMEOUT = 20_000;
const POLL_INTERVAL = 250;
// How many successive polls must find both pages rendered and equal.
const EQUAL_POLLS = 2;
// How much a channel of equal pixels may differ: text is not antialiased equally in every process.
const MAX_DIFFERENCE = 8;
const SIZE = { width: 1000, height: 700 };

const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist'],
});
const observations = [];
let stopped;
try {
  const pages = {};
  for (const [place, url] of Object.entries(places)) pages[place] = await openPage(url);
  for (const stop of stops) {
    for (const page of Object.values(pages)) page.startStop();
    await onEach(pages, page => page.goto(`${page.viewer}viewer?StudyInstanceUIDs=${stop.study}`, { waitUntil: 'domcontentloaded' }));
    for (const view of stop.views) {
      await onEach(pages, page => openView(page, view));
      const observation = { stop: stop.name, view: view.name, ...await settle(pages, view, `${folder}/${stop.name}-${view.name}`) };
      for (const [place, page] of Object.entries(pages)) {
        const [failures, requests] = [page.failures, page.requests].map(values => [...values].sort());
        Object.assign(observation.places[place], { failures, requests, messages: await readMessages(page) });
      }
      observations.push(observation);
      if (!Object.values(observation.places).every(state => state.rendered)) break;
    }
  }
} catch (error) {
  stopped = String(error);
} finally {
  await browser.close();
}
console.log(JSON.stringify({ observations, stopped }));

async function openPage(viewer) {
  const context = await browser.newContext({ viewport: SIZE });
  await context.addInitScript(() => localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour'])));
  await context.addInitScript(collectMessages);
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT);
  page.viewer = viewer;
  page.startStop = () => Object.assign(page, { pending: new Set(), failures: new Set(), requests: new Set() });
  page.startStop();
  const isDicomweb = request => request.url().includes('/dicom-web/');
  const relativeUrl = request => request.url().replace(/^.*?\/dicom-web(\/main)?/, '');
  page.on('pageerror', error => page.failures.add(String(error)));
  page.on('request', request => {
    if (isDicomweb(request)) page.pending.add(request);
  });
  page.on('requestfinished', request => page.pending.delete(request));
  // A request that is aborted by the next stop does not belong to it.
  page.on('requestfailed', request => {
    if (page.pending.delete(request)) page.failures.add(`${relativeUrl(request)} failed`);
  });
  page.on('response', response => {
    if (!isDicomweb(response)) return;
    page.requests.add(relativeUrl(response));
    if (response.status() >= 400) page.failures.add(`${relativeUrl(response)} was rejected`);
  });
  return page;
}

function onEach(pages, action) {
  return Promise.all(Object.values(pages).map(action));
}

// Opens the series of a view as a user does: the first one is open already, others by a double click.
async function openView(page, view) {
  // Messages disappear after a time. Their texts are compared, not when each page shows them.
  await page.addStyleTag({ content: '[data-sonner-toaster] { opacity: 0 !important; }' });
  // No place shows the video, which has no frames. What the empty viewport writes over it depends on the order of events, so it is not compared.
  if (view.shows === 'video') await page.addStyleTag({ content: '[data-cy="viewport-grid"] { visibility: hidden !important; }' });
  if (view.shows === 'last') {
    await page.keyboard.press('End');
  } else if (view.opens) {
    const thumbnail = page.locator('[data-cy^="study-browser-thumbnail"]').filter({ hasText: new RegExp(`S:${view.series}(?!\\d)`) });
    await thumbnail.dblclick();
    // No control with a tooltip is at this position.
    await page.mouse.move(4, SIZE.height - 4);
  }
}

// Waits until both pages have rendered the view and are equal, stores the screenshots, and returns the states.
async function settle(pages, view, path) {
  const deadline = Date.now() + TIMEOUT;
  let renderedSince, equalPolls = 0, states, screenshots;
  for (;;) {
    states = await onEach(pages, page => readState(page, view));
    const rendered = states.every(state => state.rendered);
    let equal = false;
    if (rendered) {
      screenshots = await onEach(pages, page => page.screenshot());
      const pixels = await comparePixels(Object.values(pages)[0], screenshots);
      equal = pixels.different === 0 && states.every(state => JSON.stringify(state) === JSON.stringify(states[0]));
      // Scripts cannot read what the browser's viewer for documents shows. A page of a document is white.
      if (view.shows !== 'document' || pixels.white > 0.2) renderedSince ??= Date.now();
    }
    equalPolls = equal && renderedSince ? equalPolls + 1 : 0;
    if (equalPolls === EQUAL_POLLS || Date.now() > deadline || (renderedSince && Date.now() > renderedSince + DIFFERENCE_TIMEOUT)) break;
    await new Promise(resolve => setTimeout(resolve, POLL_INTERVAL));
  }
  // What is stored is what was compared.
  screenshots ??= await onEach(pages, page => page.screenshot());
  const result = {};
  for (const [index, place] of Object.keys(pages).entries()) {
    const screenshot = `${path}-${place}.png`;
    await writeFile(screenshot, screenshots[index]);
    result[place] = { ...states[index], screenshot };
    if (states[index].rendered && !renderedSince) Object.assign(result[place], { rendered: false, reason: 'no page of the document is visible' });
  }
  return { places: result };
}

async function readState(page, view) {
  const state = await page.evaluate(describePage, view).catch(error => ({ rendered: false, reason: String(error) }));
  if (page.pending.size > 0) Object.assign(state, { rendered: false, reason: 'requests are pending' });
  return state;
}

// Runs in the page: describes what it shows, and whether the view is rendered.
function describePage(view) {
  const missing = reason => ({ rendered: false, reason });
  if (!window.services?.displaySetService?.getActiveDisplaySets().length) return missing('no display sets');
  const readPixels = (source, width, height) => {
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    context.drawImage(source, 0, 0, width, height);
    return new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
  };
  const digest = image => readPixels(image, image.naturalWidth, image.naturalHeight).reduce((hash, pixel) => (hash * 31 + pixel) | 0, 0);
  const thumbnails = [...document.querySelectorAll('[data-cy^="study-browser-thumbnail"]')].map(element => {
    const image = element.querySelector('img');
    return { text: element.innerText, image: image?.naturalWidth ? digest(image) : null, needsImage: element.dataset.cy === 'study-browser-thumbnail' };
  });
  const series = identifier => window.services.displaySetService.getDisplaySetByUID(identifier)?.SeriesNumber;
  const viewports = [...window.services.viewportGridService.getState().viewports.values()].map(({ viewportId, displaySetInstanceUIDs }) => {
    const viewport = window.services.cornerstoneViewportService.getCornerstoneViewport(viewportId);
    return {
      series: (displaySetInstanceUIDs ?? []).map(identifier => String(series(identifier))),
      type: viewport?.type ?? null,
      status: viewport?.viewportStatus ?? null,
      position: viewport?.getCurrentImageIdIndex?.() ?? null,
      images: viewport?.getNumberOfSlices?.() ?? null,
    };
  });
  // Messages are compared by themselves.
  const messages = [...document.querySelectorAll('[data-sonner-toast]')].map(message => message.innerText);
  const text = messages.reduce((rest, message) => rest.replace(message, ''), document.body.innerText).trim();
  const [viewport] = viewports;
  if (thumbnails.length === 0 || thumbnails.some(({ image, needsImage }) => needsImage && image === null)) return missing('a thumbnail is missing');
  const isOpen = viewport && (view.shows === 'unsupported' || viewport.series.includes(String(view.series)));
  if (!isOpen) return missing(`the viewport shows the series ${viewport?.series}`);
  if (view.shows === 'unsupported' && window.shownMessages.size === 0) return missing('no message says that the object is not supported');
  if (view.text && !text.includes(view.text)) return missing(`the text "${view.text}" is missing`);
  if (['image', 'last', 'slide'].includes(view.shows)) {
    const canvases = [...document.querySelectorAll('[data-cy="viewport-grid"] canvas')].filter(canvas => canvas.width && canvas.height);
    // A small copy suffices: the screenshots are compared pixel by pixel.
    const hasColors = canvases.some(canvas => new Set(readPixels(canvas, 64, 64)).size >= 16);
    if (viewport.status !== 'rendered' || !hasColors) return missing('the viewport is empty');
  }
  if (view.shows === 'last' && viewport.position !== viewport.images - 1) return missing('the viewport does not show the last image');
  if (view.shows === 'document' && !document.querySelector('[data-cy="viewport-grid"] object')?.data) return missing('the document is missing');
  if (view.shows === 'video' && viewport.type !== 'video') return missing('the viewport is not for videos');
  return { rendered: true, thumbnails, viewports, text };
}

// Counts the white pixels of the first screenshot, and those that differ in the second one by more than antialiasing.
function comparePixels(page, screenshots) {
  return page.evaluate(async ([images, tolerance]) => {
    const [first, second] = await Promise.all(images.map(async image => {
      const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${image}`)).blob());
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
      context.drawImage(bitmap, 0, 0);
      return context.getImageData(0, 0, bitmap.width, bitmap.height).data;
    }));
    let white = 0, different = 0;
    for (let index = 0; index < first.length; index += 4) {
      const channels = [index, index + 1, index + 2];
      if (channels.every(channel => first[channel] === 255)) white += 1;
      if (channels.some(channel => Math.abs(first[channel] - second[channel]) > tolerance)) different += 1;
    }
    return { white: white / (first.length / 4), different };
  }, [screenshots.map(image => image.toString('base64')), MAX_DIFFERENCE]);
}

// Runs in the page before the viewer: collects the texts of dialogs and messages, which may disappear.
function collectMessages() {
  window.shownMessages = new Set();
  const collect = () => {
    for (const element of document.querySelectorAll('[data-sonner-toast], [role="dialog"], [role="alertdialog"], [role="alert"]')) {
      if (element.innerText.trim()) window.shownMessages.add(element.innerText.trim());
    }
  };
  new MutationObserver(collect).observe(document, { childList: true, subtree: true, characterData: true });
}

async function readMessages(page) {
  return (await page.evaluate(() => [...window.shownMessages])).sort();
}
