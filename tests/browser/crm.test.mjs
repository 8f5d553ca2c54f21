/*
 * crm.test.mjs - what crm.js tells of real pages in Chromium, as it arrives in
 * the warehouse; long times pass on the page's own clock, not on ours.
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, rows, until, url } from './shop.mjs';

const END = '/crm/v1/b';
let browser;
let number = 0;

before(async () => {
    browser = await launch();
});

after(async () => {
    await browser?.close();
});

/* A page with crm.js at work; `clock`: its time moves when told. */
async function open({ clock = false, path = '/' } = {}) {
    const context = await browser.newContext({
        viewport: { width: 800, height: 600 },
    });
    const page = await context.newPage();
    const problems = [];
    const query = `t=${process.pid}-${++number}`;

    page.on('console', (m) => m.type() === 'error' && problems.push(m.text()));
    page.on('pageerror', (e) => problems.push(String(e)));
    await page.addInitScript(() => document.addEventListener(
        'securitypolicyviolation', (e) => console.error('CSP ' + e.blockedURI)));
    if (clock) {
        await page.clock.install({ time: Date.now() });
    }
    const loaded = page.waitForResponse((r) => r.url().endsWith('/crm.js'));
    await page.goto(`${url}${path}?${query}`);
    await (await loaded).finished();
    await page.waitForLoadState('load');
    if (clock) {
        await page.clock.pauseAt(Date.now() + 1000);
    }
    const { sid } = await until(() => rows(
        `select json_build_object('sid', sid) from crm.event
          where src = 'origin' and req ->> 'query' = '${query}'`)[0],
        'the page to be in the warehouse');

    return { context, page, problems, sid };
}

/* What the page's script has told so far, oldest first. */
function told(shop, name) {
    return rows(
        `select json_build_object('type', type, 'name', name, 'path',
                req ->> 'path', 'props', props)
           from crm.event where sid = '${shop.sid}' and src = 'client'
            and (name = '${name}' or type = '${name}') order by rts, seq`);
}

function dwell(shop) {
    return rows(
        `select json_build_object('path', path, 'dwell', dwell_seconds,
                'engaged', engaged_seconds, 'scroll', scroll_percent)
           from mart.page_dwell where sid = '${shop.sid}' order by rts`);
}

/* Leaves the page for another and waits for its last word. */
async function leave(shop) {
    const before = told(shop, 'Page Left').length;

    await shop.page.goto('about:blank');
    await until(() => told(shop, 'Page Left').length > before, 'a last report');
}

async function done(shop) {
    assert.deepEqual(shop.problems, []);
    await shop.context.close();
}

/* Chromium, told by Playwright, takes every page for the one in front. */
async function background(shop, hidden) {
    await shop.page.evaluate((state) => {
        Object.defineProperty(document, 'visibilityState', {
            configurable: true, get: () => state });
        document.hasFocus = () => state === 'visible';
        document.dispatchEvent(new Event('visibilitychange'));
        window.dispatchEvent(new Event(state === 'visible' ? 'focus' : 'blur'));
    }, hidden ? 'hidden' : 'visible');
}

function near(value, wanted, tolerance = 1) {
    assert.ok(Math.abs(value - wanted) <= tolerance,
        `${value} is not within ${tolerance} of ${wanted}`);
}

test('under the shop\'s CSP it loads, and leaves no trace', async () => {
    const shop = await open();
    const answer = await shop.page.request.get(url + '/');
    const kept = await shop.page.evaluate(() => [
        document.cookie, localStorage.length, sessionStorage.length]);
    const cookies = (await shop.context.cookies()).map((c) => c.name);

    assert.equal(answer.headers()['content-security-policy'],
        "default-src 'self'");
    assert.deepEqual(kept, ['', 0, 0]);
    assert.deepEqual(cookies, ['crm']);
    await leave(shop);
    await done(shop);
});

test('clicks on slots and on marked elements are told', async () => {
    const shop = await open();

    await until(async () => {
        await shop.page.reload();
        return shop.page.locator('[data-crm-slot]').count();
    }, 'the campaign to be live');
    await shop.page.evaluate(() => {
        document.querySelector('footer').dataset.crm = 'the footer';
    });
    await shop.page.locator('[data-crm-slot] h1').click();
    await shop.page.locator('footer p').last().click();
    await shop.page.locator('h2').first().click();
    await until(() => told(shop, 'Element Clicked').length, 'the clicks');

    const [slot, ...more] = told(shop, 'Slot Clicked');
    const [element] = told(shop, 'Element Clicked');

    assert.deepEqual(more, []);
    assert.equal(slot.props.slot, 'home-hero');
    assert.match(slot.props.campaign, /^hero-/);
    assert.match(slot.props.variant, /^[ab]$/);
    assert.equal(slot.path, '/');
    assert.equal(element.props.name, 'the footer');
    assert.equal(element.props.page_id, slot.props.page_id);
    await leave(shop);
    await done(shop);
});

test('the deepest point that was seen is told in percent', async () => {
    const shop = await open();
    const wanted = await shop.page.evaluate(() => {
        const height = document.documentElement.scrollHeight;

        window.scrollTo(0, Math.round(height / 2));
        return Math.round(100
            * (Math.round(height / 2) + window.innerHeight) / height);
    });

    await shop.page.waitForFunction(() => window.scrollY > 0);
    await shop.page.evaluate(() => new Promise((resolve) =>
        requestAnimationFrame(() => requestAnimationFrame(resolve))));
    await shop.page.evaluate(() => window.scrollTo(0, 0));
    await leave(shop);
    near(told(shop, 'Page Left').at(-1).props.scroll, Math.min(wanted, 100));
    await done(shop);
});

test('pages that a script makes are pages, with their own times', async () => {
    const shop = await open({ clock: true });

    await shop.page.clock.runFor(10_000);
    await shop.page.evaluate(() => {
        history.pushState({}, '', '/spa/one?x=1');
        document.title = 'One';
    });
    await shop.page.clock.runFor(4_000);
    await shop.page.evaluate(() => history.replaceState({}, '', '#part'));
    await shop.page.clock.runFor(3_000);
    await shop.page.evaluate(() => history.back());
    await shop.page.waitForFunction(() => location.pathname === '/');
    await shop.page.clock.runFor(2_000);
    await leave(shop);

    const pages = told(shop, 'page');
    const seen = dwell(shop);

    assert.deepEqual(pages.map((p) => p.path), ['/spa/one', '/']);
    assert.equal(pages[0].props.name, 'One');
    assert.deepEqual(seen.map((p) => p.path), ['/', '/spa/one', '/']);
    near(seen[0].dwell, 10 + 1);
    near(seen[1].dwell, 7);
    near(seen[2].dwell, 2);
    await done(shop);
});

test('dwell is right to a second; a reader who rests is not engaged',
    async () => {
        const shop = await open({ clock: true });

        await shop.page.mouse.move(100, 100);
        await shop.page.clock.runFor(20_000);
        await shop.page.mouse.move(200, 200);
        await shop.page.clock.runFor(100_000);
        await leave(shop);

        const [page] = dwell(shop);

        near(page.dwell, 121);
        near(page.engaged, 51);
        await done(shop);
    });

test('a tab in the background is not dwelt upon', async () => {
    const shop = await open({ clock: true });

    await shop.page.clock.runFor(12_000);
    await background(shop, true);
    await until(() => told(shop, 'Page Left').length === 1, 'a report');
    await shop.page.clock.runFor(600_000);
    await background(shop, false);
    await shop.page.clock.runFor(8_000);
    await leave(shop);

    const [page] = dwell(shop);
    const last = told(shop, 'Page Left').at(-1).props;

    near(page.dwell, 12 + 1 + 8);
    near(page.engaged, 12 + 1 + 8);
    near(last.open_ms / 1000, 621, 2);
    await done(shop);
});

test('a window whose other tab has the focus is not engaged', async () => {
    const shop = await open({ clock: true });
    const session = await shop.context.newCDPSession(shop.page);

    await session.send('Emulation.setFocusEmulationEnabled',
        { enabled: false });
    await shop.page.mouse.move(100, 100);
    await shop.page.clock.runFor(10_000);

    const other = await shop.context.newPage();

    await other.bringToFront();
    await until(() => shop.page.evaluate(() => !document.hasFocus()),
        'the focus to go');
    await shop.page.clock.runFor(15_000);
    await shop.page.bringToFront();
    await until(() => shop.page.evaluate(() => document.hasFocus()),
        'the focus to come back');
    await shop.page.mouse.move(200, 200);
    await shop.page.clock.runFor(5_000);
    await leave(shop);
    near(dwell(shop)[0].engaged, 1 + 10 + 5);
    await done(shop);
});

test('a page that is left open reports while it is read, and no longer',
    async () => {
        const shop = await open({ clock: true });
        let beacons = 0;

        shop.page.on('request', (r) => {
            beacons += r.url().includes(END);
        });
        for (let n = 0; n < 10; n++) {
            await shop.page.mouse.move(100 + n, 100);
            await shop.page.clock.runFor(10_000);
        }
        await until(() => beacons >= 6, 'reports every 15 s');
        const read = beacons;
        assert.ok(read <= 7, `${read} reports in 100 s`);

        await shop.page.clock.runFor(3_600_000);
        assert.ok(beacons - read <= 3, `${beacons - read} reports of nobody`);

        await until(() => told(shop, 'Page Left').length === beacons,
            'all of them');
        near(dwell(shop)[0].engaged, 100 + 1 + 20, 15);
        await done(shop);
    });

test('a page that is killed loses 15 seconds at most', async () => {
    const shop = await open({ clock: true });

    for (let n = 0; n < 10; n++) {
        await shop.page.mouse.move(100 + n, 100);
        await shop.page.clock.runFor(7_000);
    }
    await until(() => told(shop, 'Page Left').length === 4, 'four reports');

    const crashed = shop.page.waitForEvent('crash');
    const session = await shop.context.newCDPSession(shop.page);

    session.send('Page.crash').catch(() => {});
    await crashed;

    const [page] = dwell(shop);

    assert.ok(page.dwell > 71 - 16 && page.dwell <= 71, `${page.dwell}`);
    assert.ok(page.engaged > 71 - 16 && page.engaged <= 71, `${page.engaged}`);
    await shop.context.close();
});
