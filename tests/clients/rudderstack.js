/*
 * rudderstack.js - the same, told by RudderStack's, to another origin.
 */
import { RudderAnalytics } from '@rudderstack/analytics-js/bundled';
import { large, order, product } from './story.js';

const analytics = new RudderAnalytics();
const far = `${window.location.protocol}//localhost:${window.location.port}/far`;
analytics.load('browser-key', far, {
    configUrl: far, logLevel: 'NONE', queueOptions: { minRetryDelay: 500 },
});

window.chapters = {
    1: () => {
        analytics.identify('user-rudderstack', { plan: 'gold' });
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
        analytics.track('Order Completed', order('rudderstack'));
        return 2;
    },
};
