/*
 * browser.cjs - the stories in Debian's chromium, a page per library: URL.
 *
 * A library believes delivered what was answered with 2xx: the ids are read
 * from the requests as the browser sent them.
 */
'use strict';

const readline = require('node:readline');
const { chromium } = require('playwright-core');

const [url] = process.argv.slice(2);
const libraries = ['segment', 'rudderstack', 'snowplow'];
const delivered = {};
const wanted = {};
const pages = {};

function ids(request) {
    let body;
    try {
        body = JSON.parse(request.postData());
    } catch {
        return [];
    }
    return (body.batch ?? body.data ?? [body]).map((e) => e.messageId ?? e.eid);
}

async function open(browser, library) {
    const page = await (await browser.newContext()).newPage();
    delivered[library] = [];
    wanted[library] = 0;
    pages[library] = page;
    page.on('response', (response) => {
        if (response.request().method() === 'POST' && response.ok()) {
            delivered[library].push(...ids(response.request()));
        }
    });
    await page.goto(`${url}/${library}.html`);
}

async function tell(library, chapter) {
    wanted[library] += await pages[library].evaluate(
        (n) => window.chapters[n](), chapter);
    while (new Set(delivered[library]).size < wanted[library]) {
        await new Promise((resolve) => { setTimeout(resolve, 20); });
    }
}

async function main() {
    const browser = await chromium.launch({
        executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
    await Promise.all(libraries.map((library) => open(browser, library)));
    console.log('done 0');
    readline.createInterface({ input: process.stdin }).on('line',
        async (line) => {
            await Promise.all(libraries.map((one) => tell(one, line)));
            console.log(`done ${line}`);
            if (line === '3') {
                console.log(JSON.stringify(delivered));
                await browser.close();
                process.exit(0);
            }
        });
}

main();
