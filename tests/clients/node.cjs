/*
 * node.cjs - the shopping story, told by a library for servers: LIBRARY URL.
 *
 * Reads the number of a chapter per line and answers "done N"; the last line
 * it writes holds the message ids that the library believes delivered.
 */
'use strict';

const readline = require('node:readline');

const [library, url] = process.argv.slice(2);
const delivered = [];
const told = {};
const anonymousId = `anon-${library}`;
const userId = `user-${library}`;
const product = {
    product_id: 'p1', name: 'Käse 🧀', category: 'cheese', price: 9.9,
    currency: 'EUR',
};
const order = {
    order_id: `order-${library}`, total: 19.8, currency: 'EUR',
    products: [{ product_id: 'p1', price: 9.9, quantity: 2 }],
};
const large = 'ä'.repeat(15000);

function settled(ask) {
    let left = ask.length;
    return new Promise((resolve) => {
        if (left === 0) {
            resolve();
        }
        for (const one of ask) {
            one(() => {
                left -= 1;
                if (left === 0) {
                    resolve();
                }
            });
        }
    });
}

function segment() {
    const { Analytics } = require('@segment/analytics-node');
    const client = new Analytics({
        writeKey: 'server-key', host: url, path: '/v1/batch', flushAt: 15,
        flushInterval: 100,
    });
    const call = (kind, more) => (done) => {
        client[kind]({ anonymousId, userId, ...more }, (error, context) => {
            if (!error) {
                delivered.push(context.event.messageId);
            }
            done();
        });
    };
    return { call };
}

function rudderstack() {
    const Client = require('@rudderstack/rudder-sdk-node');
    const client = new Client('server-key', {
        dataPlaneUrl: url, flushInterval: 100, logLevel: 'none',
        errorHandler: () => {},
    });
    let n = 0;
    const call = (kind, more) => (done) => {
        n += 1;
        const messageId = `rudder-${process.pid}-${n}`;
        client[kind]({ anonymousId, userId, messageId, ...more }, (error) => {
            if (!error) {
                delivered.push(messageId);
            }
            done();
        });
    };
    return { call };
}

function storyOfSegment({ call }) {
    const track = (event, properties) => call('track', { event, properties });
    return {
        1: () => settled([
            call('identify', { traits: { plan: 'gold' } }),
            call('page', { name: 'Home', properties: { title: 'Home' } }),
            track('Product Viewed', product),
            track('Product Added', { ...product, quantity: 2 }),
            track('Large', { label: large }),
            ...Array.from({ length: 30 },
                (_, n) => track('Burst', { value: n })),
        ]),
        2: () => {
            told.away = settled([track('While Away', { value: 1 })]);
        },
        3: () => Promise.all([
            told.away, settled([track('Order Completed', order)])]),
    };
}

function storyOfSnowplow() {
    const snowplow = require('@snowplow/node-tracker');
    const waiting = new Map();
    const tracker = snowplow.newTracker(
        { namespace: 'sp', appId: 'server-key', encodeBase64: false },
        {
            endpoint: url, eventMethod: 'post', bufferSize: 10,
            onRequestSuccess: (batch) => {
                for (const { eid } of batch) {
                    delivered.push(eid);
                    waiting.get(eid)?.();
                    waiting.delete(eid);
                }
            },
        });
    tracker.setDomainUserId(anonymousId);
    tracker.setUserId(userId);
    const ecommerce = 'iglu:com.snowplowanalytics.snowplow.ecommerce';
    const context = (name, data) => (
        { schema: `${ecommerce}/${name}/jsonschema/1-0-0`, data });
    const { product_id: id, ...rest } = product;
    const track = (event, contexts) => (done) => {
        const payload = tracker.track(event, contexts);
        waiting.set(payload.eid, done);
    };
    const act = (type, contexts) => track(snowplow.buildSelfDescribingEvent({
        event: {
            schema: `${ecommerce}/snowplow_ecommerce_action/jsonschema/1-0-2`,
            data: { type },
        },
    }), contexts);
    const struct = (action, more) => track(snowplow.buildStructEvent(
        { category: 'story', action, ...more }));
    const flushing = (ask) => {
        const all = settled(ask);
        const timer = setInterval(() => tracker.flush(), 200);
        tracker.flush();
        return all.then(() => clearInterval(timer));
    };
    return {
        1: () => flushing([
            track(snowplow.buildPageView({
                pageUrl: 'https://shop.example/', pageTitle: 'Home' })),
            act('product_view', [context('product', { id, ...rest })]),
            act('add_to_cart',
                [context('product', { id, ...rest, quantity: 2 })]),
            struct('Large', { label: large }),
            ...Array.from({ length: 30 }, (_, n) => struct('Burst',
                { value: n })),
        ]),
        2: () => {
            told.away = flushing([struct('While Away', { value: 1 })]);
        },
        3: () => Promise.all([told.away, flushing([act('transaction', [
            context('transaction', {
                transaction_id: `order-${library}`, revenue: 19.8,
                currency: 'EUR' }),
            context('product', { id: 'p1', price: 9.9, quantity: 2 }),
        ])])]),
    };
}

const chapters = library === 'segment-node' ? storyOfSegment(segment())
    : library === 'rudderstack-node' ? storyOfSegment(rudderstack())
        : storyOfSnowplow();

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
    await chapters[line]();
    console.log(`done ${line}`);
    if (line === '3') {
        console.log(JSON.stringify({ [library]: delivered }));
        process.exit(0);
    }
});
