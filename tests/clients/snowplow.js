/*
 * snowplow.js - the same, told by Snowplow's, to another origin.
 */
import {
    newTracker, setUserId, trackPageView, trackStructEvent,
} from '@snowplow/browser-tracker';
import {
    SnowplowEcommercePlugin, trackAddToCart, trackProductView, trackTransaction,
} from '@snowplow/browser-plugin-snowplow-ecommerce';
import { large, product } from './story.js';

const { product_id: id, ...rest } = product;
const item = { id, ...rest };

newTracker('sp', `${window.location.protocol}//localhost:${window.location.port}`, {
    appId: 'browser-key', eventMethod: 'post', bufferSize: 1,
    plugins: [SnowplowEcommercePlugin()],
});

window.chapters = {
    1: () => {
        setUserId('user-snowplow');
        trackPageView({ title: 'Home' });
        trackProductView(item);
        trackAddToCart({ products: [{ ...item, quantity: 2 }],
            total_value: 19.8, currency: 'EUR' });
        trackStructEvent({ category: 'story', action: 'Large', label: large });
        for (let n = 0; n < 30; n += 1) {
            trackStructEvent({ category: 'story', action: 'Burst', value: n });
        }
        return 34;
    },
    2: () => {
        trackStructEvent({ category: 'story', action: 'While Away', value: 1 });
        return 0;
    },
    3: () => {
        trackTransaction({
            transaction_id: 'order-snowplow', revenue: 19.8, currency: 'EUR',
            products: [{ id: 'p1', name: 'Käse 🧀', category: 'cheese',
                price: 9.9, quantity: 2, currency: 'EUR' }],
        });
        return 2;
    },
};
