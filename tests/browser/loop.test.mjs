/*
 * loop.test.mjs - two shoppers open the same page in Chromium and see
 * different slots; each keeps their own, and the cookie is no script's.
 */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch, shots, until, url } from './shop.mjs';

let browser;

/* Campaigns are live within a second of being applied. */
before(async () => {
    browser = await launch();
    await until(async () => {
        const context = await browser.newContext();
        const { text } = await hero(context);

        await context.close();
        return /welcome/i.test(text);
    }, 'the campaigns to be live');
});

after(async () => {
    await browser?.close();
});

/* The hero of the page as this context sees it, and the answer's headers. */
async function hero(context, shot) {
    const page = await context.newPage();
    const problems = [];

    page.on('console', (m) => m.type() === 'error' && problems.push(m.text()));
    page.on('pageerror', (e) => problems.push(String(e)));
    const answer = await page.goto(url + '/');
    const text = (await page.locator('main > section').first().innerText())
        .trim();

    if (shot) {
        await page.screenshot({ path: join(shots, shot) });
    }
    assert.equal(answer.status(), 200);
    assert.deepEqual(problems, []);
    await page.close();

    return { text, headers: answer.headers() };
}

test('a new visitor gets a hero and a cookie no script can read', async () => {
    const context = await browser.newContext();
    const first = await hero(context, 'new-visitor.png');
    const cookie = (await context.cookies()).find((c) => c.name === 'crm');

    assert.match(first.text, /welcome/i);
    assert.ok(cookie, 'the first answer set no cookie');
    assert.equal(cookie.httpOnly, true);
    assert.equal(cookie.sameSite, 'Lax');
    assert.match(first.headers['cache-control'], /private/);
    await context.close();
});

test('two visitors see two heroes on the same URL', async () => {
    const fresh = await browser.newContext();
    const known = await browser.newContext();
    const page = await known.newPage();

    await page.goto(url + '/');
    await page.goto(url + '/p/SK1.html');
    await page.close();

    const a = await hero(fresh);
    const b = await hero(known, 'known-visitor.png');

    assert.match(a.text, /welcome/i);
    assert.match(b.text, /more skirts are waiting/i);
    assert.deepEqual((await hero(known)).text, b.text);
    await fresh.close();
    await known.close();
});

test('a purchase along links and forms ends with thanks', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();

    await page.goto(url + '/');
    await page.locator('nav a[href^="/c/trousers"]').click();
    await page.locator('a.tile').first().click();
    await page.locator('form[action="/cart/add"] button').click();
    await page.waitForURL('**/cart.html');
    await page.goto(url + '/checkout.html');
    await page.locator('a[href^="/order/place"]').click();
    await page.waitForURL('**/order/done?*');
    assert.match(await page.locator('h1').innerText(), /thank you/i);
    await page.screenshot({ path: join(shots, 'order-done.png') });
    await context.close();
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
