/*
 * fresh.cjs - makes fresh cases and answers them by the published SDK.
 *
 * usage: fresh.cjs PACKAGE SEED COUNT > FILE
 *
 * PACKAGE is the folder of @growthbook/growthbook; the file has the layout of
 * the published cases, COUNT cases in each section.  Cases are drawn to be
 * nasty: types that do not fit, falsy values, letters of the world, weights
 * that miss 1, empty ranges, circles of prerequisites.  What the SDK throws at
 * is drawn again.
 */

'use strict';

const path = require('path');

const [, , folder, seed, count] = process.argv;
const at = (name) => require(path.resolve(folder, 'dist/cjs', name));
const { GrowthBook, StickyBucketService } = at('index.js');
const { evalCondition } = at('mongrule.js');
const util = at('util.js');
const { createCipheriv } = require('crypto');

console.error = () => {};

let state = Number(seed) >>> 0;

/* mulberry32, so that a seed names a file */
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}

const below = (n) => Math.floor(random() * n);
const one = (list) => list[below(list.length)];
const chance = (p) => random() < p;
const some = (max, make) => Array.from({ length: below(max + 1) }, make);

const TEXTS = ['', 'a', 'b', 'A', 'US', 'us', 'de', '1', '10', '2', '1.0',
  '01', ' 5 ', '1e3', '0x1f', 'true', 'false', 'null', 'undefined', 'NaN',
  'Infinity', '-1', 'ü', 'Ünïcödé', 'ß', 'straße', '中文', '日本語', '😀', 'é',
  'Привет', 'ПРИВЕТ', 'ΑΒΓ', 'αβγ', 'Āž', 'ĀŽ', 'Ａ', 'ａ', 'ԱՒ', 'ǅ', 'Ⅷ',
  'ⅷ', 'Ꭰ', '𐐀', '𐐨', 'Ẁẞ', '\ue000', '𐀀', 'a b', 'a.b', 'a/b', '1,2', 'x@y.z',
  '[object Object]', 'v1.2.3', '1.2.3-rc.1', '2.0.0+build', 'a'.repeat(300)];
const NUMBERS = [0, 1, -1, 2, 3, 5, 10, 31, 0.1, 0.5, -0.5, 1e21, 1e-7, 1.5e300,
  123456789, 2147483648, 4294967296, 9007199254740991, 12345678901234567890,
  0.30000000000000004, 100, 1e15, 1e16, 123456.789];
const NAMES = ['id', 'a', 'b', 'c', 'country', 'n', 'list', 'deviceId',
  'company', 'user.name', 'user.tags', 'list.0', 'user', 'x.y.z', 'list.length',
  '', 'deep.list.1', 'ü'];
const VERSIONS = ['1.2.3', '1.2.10', 'v1.2.3', '1.2', '1', '1.2.3-rc.1',
  '1.2.3-rc.2', '1.2.3-beta', '1.2.3+b1', '2.0.0', '10.0.0', '1.2.3.4', '',
  '01.2.3', '123456.1.1', '1.2.3-alpha.beta', 'a.b.c', 'v', '1..2', 5, 1.2,
  null, true, [], '1.0.0-', '99999.0.0', '1.2.3-1', '1.2.3-10'];
const PATTERNS = ['a', '^a', 'b$', '^$', '[0-9]+', 'US|DE', '(a|b)+', '.', 'ü',
  '^\\d+$', '\\w', '[', '(', 'a{2}', '^.{1,3}$', 'a/b', '\\bUS\\b', '[^a]',
  '(?:x)', '\\.', '^(?!a)', 'object', '*', '中', 'É', 5, null];

function scalar() {
  const r = random();
  return r < 0.45 ? one(TEXTS) : r < 0.8 ? one(NUMBERS)
    : r < 0.9 ? chance(0.5) : null;
}

function value(depth = 0) {
  const r = random();
  if (depth > 2 || r < 0.7) return scalar();
  if (r < 0.9) return some(4, () => value(depth + 1));
  return Object.fromEntries(some(3, () => [one(['a', 'b', 'k', '$x', 'value']),
    value(depth + 1)]));
}

function attributes() {
  const out = {};
  for (const name of ['id', 'a', 'b', 'c', 'country', 'n', 'deviceId',
    'company', 'ü']) {
    if (chance(0.6)) out[name] = scalar();
  }
  if (chance(0.7)) out.list = some(5, () => value(1));
  if (chance(0.2)) out.n = one(VERSIONS);
  if (chance(0.5)) {
    out.user = { name: scalar(), tags: some(4, scalar) };
    if (chance(0.3)) out.user.list = some(3, () => ({ a: scalar(), k: value(2) }));
  }
  if (chance(0.3)) out.list = some(4, () => ({ a: scalar(), b: scalar() }));
  if (chance(0.3)) out.deep = { list: some(3, () => value(1)) };
  if (chance(0.2)) out.x = { y: { z: value(1) } };
  if (chance(0.1)) out[''] = scalar();
  if (chance(0.1)) out.a = value();
  return out;
}

const GROUPS = ['g1', 'g2', 'list', 'cond', 'loop', 'loop2', 'bad', 'none'];

function groups() {
  return {
    g1: some(6, scalar),
    g2: some(3, () => one(TEXTS)),
    list: { type: 'list', attributeKey: one(NAMES.slice(0, 8)),
      values: some(6, scalar) },
    cond: { type: 'condition', condition: condition(2) },
    loop: { type: 'condition', condition: { $savedGroup: { id: 'loop2' } } },
    loop2: { type: 'condition', condition: { $or: [
      { $savedGroup: { id: 'loop' } }, condition(3)] } },
    bad: one([5, 'x', null, { type: 'later' }, { type: 'list' }, {}]),
  };
}

function operators(depth) {
  const out = {};
  const n = chance(0.8) ? 1 : 2;
  for (let i = 0; i < n; i++) {
    const op = one(['$eq', '$ne', '$lt', '$lte', '$gt', '$gte', '$in', '$nin',
      '$ini', '$nini', '$all', '$alli', '$size', '$elemMatch', '$exists',
      '$type', '$regex', '$regexi', '$not', '$inGroup', '$notInGroup', '$veq',
      '$vne', '$vgt', '$vgte', '$vlt', '$vlte', '$near']);
    out[op] = operand(op, depth);
  }
  return out;
}

function operand(op, depth) {
  if (chance(0.03)) return value();
  switch (op) {
    case '$in': case '$nin': case '$ini': case '$nini':
      return some(5, scalar);
    case '$all': case '$alli':
      return some(3, () => (chance(0.3) ? operators(depth + 1) : scalar()));
    case '$size':
      return chance(0.5) ? below(5) : { [one(['$gt', '$lt', '$gte', '$ne'])]:
        below(4) };
    case '$elemMatch':
      return chance(0.6) ? operators(depth + 1)
        : { [one(['a', 'b', 'k'])]: chance(0.5) ? scalar()
          : operators(depth + 1) };
    case '$exists': return one([true, false, 1, 0, null, '']);
    case '$type': return one(['string', 'number', 'boolean', 'array', 'object',
      'null', 'undefined', 'nonsense']);
    case '$regex': case '$regexi': return one(PATTERNS);
    case '$not': return depth > 3 || chance(0.3) ? scalar()
      : operators(depth + 1);
    case '$inGroup': case '$notInGroup': return one(GROUPS);
    default:
      return op[1] === 'v' ? one(VERSIONS) : scalar();
  }
}

function condition(depth = 0) {
  const out = {};
  const n = chance(0.05) ? 0 : 1 + below(2);
  for (let i = 0; i < n; i++) {
    const r = random();
    if (depth < 3 && r < 0.25) {
      const logic = one(['$and', '$or', '$nor', '$not', '$savedGroup']);
      out[logic] = logic === '$not' ? condition(depth + 1)
        : logic === '$savedGroup' ? one([{ id: one(GROUPS) },
          { id: one(GROUPS), attributeKey: one(NAMES) }, { id: 5 }])
          : some(3, () => condition(depth + 1));
    } else {
      out[one(NAMES)] = chance(0.4) ? value(1) : operators(depth);
    }
  }
  return out;
}

const UNITS = ['1', '2', '3', 'user-1', 'ü', '中文', '😀', 'é', 7, 42, 1.5, true];
const unit = () => (chance(0.7) ? String(below(100000)) : one(UNITS));
const weight = () => one([0, 0.1, 0.2, 0.25, 0.3, 0.33, 0.34, 0.5, 0.9, 1, 1.2]);

function weights(n) {
  const r = random();
  if (r < 0.2) return some(5, weight);
  if (r < 0.4) return Array.from({ length: n }, weight);
  const raw = Array.from({ length: n }, () => random() + 0.01);
  const sum = raw.reduce((a, b) => a + b, 0);
  const scale = r < 0.6 ? one([0.98, 0.991, 1.009, 1.02]) : 1;
  return raw.map((w) => (w / sum) * scale);
}

const range = () => {
  const a = Math.round(random() * 1e4) / 1e4;
  const b = Math.round(random() * 1e4) / 1e4;
  return chance(0.85) ? [Math.min(a, b), Math.max(a, b)] : [a, b];
};
const attribute = () => one(['id', 'deviceId', 'company', 'id', 'user', 'list',
  'missing', 'ü', '']);
const filter = () => ({ seed: one(['s', 'exp', 'ü', '']),
  ranges: some(3, range), ...(chance(0.4) && { attribute: attribute() }),
  ...(chance(0.4) && { hashVersion: one([0, 1, 2, 3]) }) });
const namespace = () => [one(['ns', 'ns2', '中']), ...range()];
const maybe = (p, name, make) => (chance(p) ? { [name]: make() } : {});

function context() {
  const attrs = attributes();
  if (chance(0.85)) attrs.id = unit();
  if (chance(0.7)) attrs.deviceId = unit();
  return {
    attributes: attrs,
    ...maybe(0.4, 'savedGroups', groups),
    ...maybe(0.15, 'url', url),
    ...maybe(0.15, 'forcedVariations', () => ({ [one(['exp', 'f1', 'k'])]:
      one([-1, 0, 1, 2, 7]) })),
    ...maybe(0.05, 'qaMode', () => chance(0.7)),
    ...maybe(0.05, 'enabled', () => chance(0.3)),
  };
}

function url() {
  return one(['http://a.b', 'https://shop.example/x', '', '/p', 'http://a.b/#x'])
    + one(['?', '?', '', '??']) + some(3, () => one(['exp', 'k', 'f1', 'my-exp',
      'a%20b', 'ü', '']) + one(['=', '=', '==', '']) + one(['0', '1', '2', '1.9',
      '-1', '-0', ' 1', 'x', '', '0x1', '+1', '1e3', '%31', '9', '1abc']))
      .join(one(['&', '&', '&&'])) + one(['', '', '#frag', '#?exp=1', '?exp=1']);
}

function meta(n) {
  return Array.from({ length: n }, (_, i) => ({
    ...maybe(0.8, 'key', () => one([String(i), 'v' + i, 'ü' + i])),
    ...maybe(0.4, 'name', () => 'Variation ' + i),
    ...maybe(0.15, 'passthrough', () => chance(0.8)),
  }));
}

function variations() {
  const n = chance(0.06) ? below(2) : 2 + below(4);
  return Array.from({ length: n }, () => value(1));
}

/* What rules and experiments share. */
function bucketing(n) {
  return {
    ...maybe(0.4, 'coverage', () => one([0, 0.1, 0.5, 0.9, 1, 1.5, -1])),
    ...maybe(0.5, 'weights', () => weights(n)),
    ...maybe(0.3, 'hashAttribute', attribute),
    ...maybe(0.3, 'fallbackAttribute', attribute),
    ...maybe(0.15, 'disableStickyBucketing', () => chance(0.7)),
    ...maybe(0.4, 'bucketVersion', () => below(4)),
    ...maybe(0.3, 'minBucketVersion', () => below(4)),
    ...maybe(0.15, 'namespace', namespace),
    ...maybe(0.5, 'meta', () => meta(n)),
    ...maybe(0.2, 'ranges', () => some(n, range)),
    ...maybe(0.2, 'name', () => 'Name'),
    ...maybe(0.2, 'phase', () => '1'),
    ...maybe(0.3, 'seed', () => one(['s', 'ü', '', 'f1'])),
    ...maybe(0.6, 'hashVersion', () => one([0, 1, 2, 2, 3])),
    ...maybe(0.15, 'filters', () => some(2, filter)),
    ...maybe(0.3, 'condition', () => (chance(0.5) ? {} : condition(2))),
  };
}

const parent = () => ({ id: one(['f1', 'f2', 'f3', 'f4', 'nope']),
  condition: one([{}, { value: true }, { value: { $exists: true } },
    { value: { $exists: false } }, { value: scalar() }, { value: operators(2) },
    { 'value.a': scalar() }, { $not: { value: scalar() } }]),
  ...maybe(0.5, 'gate', () => chance(0.7)) });

function rule() {
  const shared = { ...maybe(0.3, 'id', () => 'r' + below(9)),
    ...maybe(0.25, 'parentConditions', () => some(2, parent)) };
  if (chance(0.45)) {
    return { ...shared, force: value(1),
      ...maybe(0.5, 'condition', () => condition(2)),
      ...maybe(0.4, 'coverage', () => one([0, 0.3, 0.7, 1, random()])),
      ...maybe(0.2, 'range', range),
      ...maybe(0.3, 'seed', () => one(['s', '', 'ü'])),
      ...maybe(0.3, 'hashVersion', () => one([0, 1, 2, 3])),
      ...maybe(0.3, 'hashAttribute', attribute),
      ...maybe(0.2, 'fallbackAttribute', attribute),
      ...maybe(0.1, 'filters', () => some(2, filter)) };
  }
  if (chance(0.05)) return { ...shared, condition: {} };
  const list = variations();
  const bandit = chance(0.1);
  return { ...shared, [bandit ? 'contextualVariations' : 'variations']: list,
    ...(bandit && { contextualBanditRef: one(['cb', 'cb2', 'no']) }),
    ...maybe(0.6, 'key', () => one(['exp', 'k', 'ü', ''])),
    ...bucketing(list.length) };
}

const feature = () => ({ ...maybe(0.85, 'defaultValue', () => value(1)),
  ...maybe(0.9, 'rules', () => some(4, rule)) });

function features() {
  const out = {};
  for (const key of ['f1', 'f2', 'f3', 'f4']) if (chance(0.85)) out[key] = feature();
  return out;
}

const bandits = () => ({ cb: { banditVersion: 3, contexts: some(3, () => ({
  leafId: below(9), condition: condition(2), weights: weights(2 + below(2)) })) },
cb2: {} });

function featureCase(name) {
  const ctx = { ...context(), features: features(),
    ...maybe(0.5, 'contextualBandits', bandits) };
  const key = one(['f1', 'f1', 'f2', 'f3', 'nope']);
  return [name, ctx, key, new GrowthBook(copy(ctx)).evalFeature(key)];
}

function experiment() {
  const list = variations();
  return { key: one(['exp', 'k', 'ü', 'my-exp']), variations: list,
    ...bucketing(list.length),
    ...maybe(0.1, 'active', () => chance(0.5)),
    ...maybe(0.1, 'status', () => one(['draft', 'running', 'stopped'])),
    ...maybe(0.1, 'force', () => below(4)),
    ...maybe(0.2, 'parentConditions', () => some(2, parent)) };
}

function runCase(name) {
  const ctx = { ...context(), ...maybe(0.4, 'features', features) };
  const exp = experiment();
  const r = new GrowthBook(copy(ctx)).run(copy(exp));
  return [name, ctx, exp, r.value, r.inExperiment, r.hashUsed];
}

class Memory extends StickyBucketService {
  constructor(documents) {
    super();
    this.documents = new Map(documents.map((d) => [this.name(d), d]));
  }
  name(d) { return d.attributeName + '||' + d.attributeValue; }
  async getAssignments(attributeName, attributeValue) {
    return this.documents.get(this.name({ attributeName, attributeValue }))
      || null;
  }
  async saveAssignments(d) { this.documents.set(this.name(d), d); }
}

async function stickyCase(name) {
  const ctx = { ...context(), features: features() };
  delete ctx.attributes.list; /* buckets are kept for scalars */
  delete ctx.attributes.user;
  const text = (v) => (typeof v === 'string' ? v : JSON.stringify(v));
  const documents = new Map();
  for (const attributeName of ['id', 'deviceId', 'company', 'ü']) {
    const v = ctx.attributes[attributeName];
    if (!chance(0.6)) continue;
    const attributeValue = v && chance(0.8) ? text(v) : 'other';
    documents.set(attributeName, { attributeName, attributeValue,
      assignments: Object.fromEntries(some(4, () => [one(['exp', 'k', 'f1', 'ü',
        'f2']) + '__' + below(4), one(['0', '1', '2', 'v0', 'v1', 'v2', 'ü1',
        'gone'])])) });
  }
  const list = [...documents.values()];
  const key = one(['f1', 'f1', 'f2', 'f3']);
  const book = new GrowthBook({ ...copy(ctx),
    stickyBucketService: new Memory(copy(list)) });
  await book.refreshStickyBuckets();
  const result = book.evalFeature(key).experimentResult ?? null;
  return [name, ctx, list, key, result,
    book.getStickyBucketAssignmentDocs() || {}];
}

async function decryptCase(name) {
  const key = Buffer.from(Array.from({ length: chance(0.9) ? 16 : one([15, 24, 32]) },
    () => below(256)));
  const iv = Buffer.from(Array.from({ length: 16 }, () => below(256)));
  let text;
  try {
    const cipher = createCipheriv(`aes-${key.length * 8}-cbc`, key, iv);
    text = iv.toString('base64') + '.' + cipher.update(JSON.stringify(value()),
      'utf8', 'base64') + cipher.final('base64');
  } catch (e) { text = iv.toString('base64') + '.' + 'AAAA'; }
  if (chance(0.3)) {
    const i = below(text.length);
    text = one([text.slice(0, i), text.slice(0, i) + '!' + text.slice(i),
      text.replace(/=/g, ''), text + '.x', ' ' + text, text.slice(0, i) + ' '
      + text.slice(i)]);
  }
  const secret = key.toString('base64');
  let plain = null;
  try { plain = await util.decrypt(text, secret); } catch (e) { /* null */ }
  if (plain !== null && plain.includes('\ufffd')) throw new Error('again');
  return [name, text, secret, plain];
}

const copy = (json) => JSON.parse(JSON.stringify(json));

const SECTIONS = {
  evalCondition(name) {
    const [c, a, g] = [condition(), attributes(), groups()];
    return [name, c, a, evalCondition(a, c, g), g];
  },
  hash() {
    const [s, v, n] = [one(TEXTS.concat('exp')), chance(0.5) ? unit()
      : one(TEXTS.concat(NUMBERS)), one([1, 2, 2, 3, 0])];
    return [s, v, n, util.hash(s, v, n)];
  },
  getBucketRange(name) {
    const n = 1 + below(6);
    const args = [n, one([0, 0.1, 0.5, 1, 1.5, -0.5, random()]),
      chance(0.3) ? null : weights(n)];
    return [name, args, util.getBucketRanges(args[0], args[1],
      args[2] ?? undefined)];
  },
  feature: featureCase,
  run: runCase,
  chooseVariation(name) {
    const [n, list] = [Math.round(random() * 1e4) / 1e4, some(5, range)];
    return [name, n, list, util.chooseVariation(n, list)];
  },
  getQueryStringOverride(name) {
    const [key, u, n] = [one(['exp', 'k', 'my-exp', 'ü', 'a%20b', '']), url(),
      one([1, 2, 3, 5])];
    const r = util.getQueryStringOverride(key, u, n);
    return [name, key, u, n, r === null ? null : r + 0];
  },
  inNamespace(name) {
    const [id, ns] = [unit(), namespace()];
    return [name, id, ns, util.inNamespace(id, ns)];
  },
  getEqualWeights() {
    const n = below(12) - 2;
    return [n, util.getEqualWeights(n)];
  },
  decrypt: decryptCase,
  stickyBucket: stickyCase,
};

async function main() {
  const out = { specVersion: 'fresh' };
  for (const [section, make] of Object.entries(SECTIONS)) {
    out[section] = [];
    const max = /Weights|Namespace|decrypt/.test(section) ? count / 10 : count;
    while (out[section].length < max) {
      try {
        out[section].push(copy(await make('fresh ' + out[section].length)));
      } catch (e) {
        /* drawn again */
      }
    }
  }
  process.stdout.write(JSON.stringify(out) + '\n');
}

main();
