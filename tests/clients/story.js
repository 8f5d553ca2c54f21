/*
 * story.js - what is bought in every browser.
 */
export const product = {
    product_id: 'p1', name: 'Käse 🧀', category: 'cheese', price: 9.9,
    currency: 'EUR',
};
export const order = (library) => ({
    order_id: `order-${library}`, total: 19.8, currency: 'EUR',
    products: [{ product_id: 'p1', price: 9.9, quantity: 2 }],
});
export const large = 'ä'.repeat(15000);
