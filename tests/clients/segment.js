/*
 * segment.js - the shopping story, told by Segment's library for browsers.
 */
import { AnalyticsBrowser } from '@segment/analytics-next';
import { large, order, product } from './story.js';

const analytics = AnalyticsBrowser.load({
    writeKey: 'browser-key', cdnURL: window.location.origin,
});

window.chapters = {
    1: () => {
        analytics.identify('user-segment', { plan: 'gold' });
        analytics.page('Home');
        analytics.track('Product Viewed', product);
        analytics.track('Product Added', { ...product, quantity: 2 });
        analytics.track('Large', { label: large });
        for (let n = 0; n < 30; n += 1) {
            analytics.track('Burst', { value: n });
        }
        return 35;
    },
    2: () => {
        analytics.track('While Away', { value: 1 });
        return 0;
    },
    3: () => {
        analytics.track('Order Completed', order('segment'));
        return 2;
    },
};
