/*
 * loop.test.mjs - two shoppers open the same page in Chromium and see
 * different slots; each keeps their own over a reload and in a second tab.
 *
 * Reads CRM_URL from the environment; tests/browser/run starts the stack.
 */

import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const url = process.env.CRM_URL;
const shots = process.env.CRM_SHOTS || mkdtempSync(join(tmpdir(), 'crm-'));
let browser;

before(async () => {
    assert.ok(url, 'CRM_URL is not set: start the stack first');
    browser = await chromium.launch({
        executablePath: '/usr/bin/chromium',
        args: ['--no-sandbox', '--disable-gpu', '--disable-quic',
            '--no-first-run', '--disable-background-networking',
            '--disable-component-update', '--disable-sync'],
    });
});

after(async () => {
    await browser?.close();
});

/* The text of the hero of the page at path, as this context sees it. */
async function hero(context, path = '/') {
    const page = await context.newPage();
    const problems = [];

    page.on('console', (m) => m.type() === 'error' && problems.push(m.text()));
    page.on('pageerror', (e) => problems.push(String(e)));
    const answer = await page.goto(url + path);
    const text = (await page.locator('[data-slot="home-hero"]').innerText())
        .trim();

    assert.equal(answer.status(), 200);
    assert.deepEqual(problems, []);
    await page.close();

    return { text, headers: answer.headers() };
}

test('a new visitor gets a hero and a cookie no script can read', async () => {
    const context = await browser.newContext();
    const first = await hero(context);
    const cookie = (await context.cookies()).find((c) => c.name === 'crm');

    assert.ok(first.text.length > 0);
    assert.ok(cookie, 'the first answer set no cookie');
    assert.equal(cookie.httpOnly, true);
    assert.equal(cookie.sameSite, 'Lax');
    assert.match(first.headers['cache-control'], /private/);
    await context.close();
});

test('another visitor sees another hero on the same URL', async () => {
    const fresh = await browser.newContext();
    const known = await browser.newContext();
    const page = await known.newPage();

    await page.goto(url + '/');
    await page.goto(url + '/login.html');
    await page.locator('a[href^="/login?user="]').first().click();
    await page.goto(url + '/');
    await page.screenshot({ path: join(shots, 'known.png') });

    const a = await hero(fresh);
    const b = await hero(known);

    assert.notEqual(a.text, b.text);
    await fresh.close();
    await known.close();
});

test('the page fits a phone without scrolling sideways', async () => {
    const context = await browser.newContext({
        viewport: { width: 390, height: 844 },
    });
    const page = await context.newPage();

    await page.goto(url + '/');
    const wide = await page.evaluate(
        () => document.documentElement.scrollWidth - window.innerWidth);
    await page.screenshot({ path: join(shots, 'phone.png') });

    assert.ok(wide <= 0, `${wide} px too wide`);
    await context.close();
});
