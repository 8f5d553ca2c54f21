/*
 * collector.js - the peer of bench/collect.py in Node: PORT REDIS-PORT.
 *
 * Fastify takes Segment batches, checks each event, stamps it and writes it to
 * a Redis stream through ioredis, which pipelines by itself.
 */
'use strict';

const { randomUUID } = require('node:crypto');
const fastify = require('fastify')({ bodyLimit: 4 << 20 });
const Redis = require('ioredis');

const redis = new Redis({ port: Number(process.argv[3]),
    enableAutoPipelining: true });
const types = new Set(['track', 'page', 'identify', 'screen', 'group', 'alias']);

fastify.post('/v1/batch', async (request, reply) => {
    const [key] = Buffer.from(request.headers.authorization.slice(6), 'base64')
        .toString().split(':');
    if (key !== 'bench') {
        return reply.code(401).send({ success: false });
    }
    const rts = Date.now() * 1000;
    await Promise.all(request.body.batch
        .filter((e) => types.has(e.type) && (e.type !== 'track' || e.event))
        .map((e) => redis.xadd('ev', '*', 'e', JSON.stringify({
            id: randomUUID(), mid: e.messageId, site: 'shop', type: e.type,
            name: e.event, ts: Date.parse(e.timestamp) * 1000, rts,
            uid: e.userId, src: 'client',
            ctx: { ip: request.ip, ua: e.context.userAgent,
                anon: e.anonymousId, lib: e.context.library },
            props: e.properties,
        }))));
    return { success: true };
});

fastify.listen({ port: Number(process.argv[2]), host: '127.0.0.1' });
