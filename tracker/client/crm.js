/*
 * crm.js - tells what nginx cannot see: how long a page holds its reader.
 *
 *     <script src="/crm.js" data-crm="/crm/v1/b?writeKey=KEY" async></script>
 *
 * Sends "Page Left" (time open, visible and engaged, deepest scroll), "Slot
 * Clicked", "Element Clicked", and the pages that a script makes; see
 * docs/capture.md.  A page is engaged while it is visible and focused and its
 * reader did something within 30 s; then it reports every 15 s, and the greatest
 * report of a page_id counts.  No cookie is touched, nothing is kept.
 */
(function (w, d) {
    'use strict';

    var to = d.currentScript.dataset.crm, history = w.history, loc = w.location,
        id, sent, count, last, start, until, visible, engaged, deepest, url,
        referrer, seen, focused;

    function now() {
        return w.performance.now();
    }

    /* Where we are; a fragment is a page only if it looks like a path. */
    function place() {
        var hash = /^#[!/]/.test(loc.hash) ? loc.hash : '';
        return loc.origin + loc.pathname + loc.search + hash;
    }

    function send(type, event, properties) {
        var body;

        if (++count > 500) {
            return;
        }
        properties.page_id = id;
        body = JSON.stringify({ batch: [{
            type: type, event: event, messageId: id + '-' + count,
            properties: properties,
            context: { page: { url: url, referrer: referrer } }
        }] });
        if (!navigator.sendBeacon || !navigator.sendBeacon(to, body)) {
            w.fetch(to, { method: 'POST', body: body, keepalive: true })
                .catch(function () {});
        }
    }

    /* Adds up the time since the last call, then looks how things are now. */
    function look() {
        var t = now(), root = d.documentElement,
            step = Math.min(t - last, 30000);   /* more: the machine slept */

        if (seen) {
            visible += step;
            if (focused && until > last) {
                engaged += Math.min(step, until - last);
            }
            deepest = Math.max(deepest, Math.min(100, Math.round(100 *
                (w.scrollY + w.innerHeight) / (root.scrollHeight || 1))));
        }
        last = t;
        seen = d.visibilityState === 'visible';
        focused = d.hasFocus();
    }

    function active() {
        look();
        until = last + 30000;
    }

    function report() {
        var state;

        look();
        state = Math.round(visible / 100) + '.' + deepest;
        if (sent !== state) {               /* pagehide, then hidden: one */
            sent = state;
            send('track', 'Page Left', {
                open_ms: Math.round(last - start),
                visible_ms: Math.round(visible),
                engaged_ms: Math.round(engaged), scroll: deepest
            });
        }
    }

    function begin(at) {
        id = Date.now().toString(36) + Math.random().toString(36).slice(2);
        count = visible = engaged = deepest = 0;
        start = last = at;
        until = at + 30000;
        sent = '';
        referrer = url || d.referrer;
        url = place();
        seen = d.visibilityState === 'visible';
        focused = d.hasFocus();
    }

    /* A page that no server made. */
    function turn() {
        var mine;

        report();
        begin(now());
        mine = id;
        w.setTimeout(function () {          /* the title follows the address */
            if (mine === id) {
                send('page', undefined, { name: d.title });
            }
        });
    }

    function moved() {
        if (place() !== url) {
            turn();
        }
    }

    if (!to || !d.hasFocus) {
        return;
    }

    begin(0);

    ['pushState', 'replaceState'].forEach(function (name) {
        var real = history[name];

        history[name] = function () {
            var result = real.apply(history, arguments);
            moved();
            return result;
        };
    });

    w.addEventListener('popstate', moved);
    w.addEventListener('pageshow', function (e) {
        if (e.persisted) {
            turn();
        }
    });
    w.addEventListener('pagehide', report);
    w.addEventListener('focus', active);
    w.addEventListener('blur', look);
    d.addEventListener('visibilitychange', function () {
        report();
        until = last + 30000;
    });
    ['pointerdown', 'pointermove', 'keydown', 'wheel', 'scroll'].forEach(
        function (name) {
            w.addEventListener(name, active, { passive: true, capture: true });
        });
    w.setInterval(function () {
        look();
        if (seen && focused && until > last - 15000) {
            report();
        }
    }, 15000);

    d.addEventListener('click', function (e) {
        var at = e.target, data;

        if (at.closest && (data = at.closest('[data-crm-slot]'))) {
            data = data.dataset;
            send('track', 'Slot Clicked', { slot: data.crmSlot,
                campaign: data.crmCampaign, variant: data.crmVariant });
        }
        if (at.closest && (data = at.closest('[data-crm]'))) {
            send('track', 'Element Clicked', { name: data.dataset.crm });
        }
    }, true);
}(window, document));
