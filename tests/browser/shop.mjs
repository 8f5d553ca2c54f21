/*
 * shop.mjs - what the browser's tests share: Chromium, and the warehouse.
 *
 * CRM_URL, CRM_PG, CRM_SHOTS and CRM_PAGES come from tests/browser/run.
 */

import { execFileSync } from 'node:child_process';
import { chromium } from 'playwright-core';

export const url = process.env.CRM_URL;
export const shots = process.env.CRM_SHOTS;
export const pages = process.env.CRM_PAGES;

export function launch() {
    return chromium.launch({
        executablePath: '/usr/bin/chromium',
        args: ['--no-sandbox', '--disable-gpu', '--disable-quic',
            '--no-first-run', '--disable-background-networking',
            '--disable-component-update', '--disable-sync'],
    });
}

/* Rows of a query that gives one JSON column. */
export function rows(query) {
    const text = execFileSync('psql',
        ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', query, process.env.CRM_PG],
        { encoding: 'utf8' });

    return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
}

/* Polls until found() gives something; the condition, not time, decides. */
export async function until(found, what, seconds = 20) {
    const end = Date.now() + seconds * 1000;

    for (;;) {
        const value = await found();
        if (value) {
            return value;
        }
        if (Date.now() > end) {
            throw new Error(`waited ${seconds} s for ${what}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
}
