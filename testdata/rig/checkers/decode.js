#!/usr/bin/env node
// Turns payloads of the generic profile into readings, written from sync/README.md and RFC 8428; shares nothing with the gateway's code.
//
//   node decode.js --pack payload.json           one payload, all that is in it, as testdata/wire/README.md describes it
//   node decode.js published.ndjson              lines {"topic","payload" (base64)}; prints one reading a line:
//                                                {"gw","ep","seq","series","t_us","kind","v","tq","lane"}
//   node decode.js published.ndjson --check truth.ndjson
//       compares with lines {"series","t_us","v"} by series, time and value (t_us may be left out of all lines: then by series and
//       value) and prints {truth,seen,missing,extra,duplicates,doubled,gaps,skipped,refused}
//
// Records are dropped as duplicates by (gateway, ep, seq), as a receiver does; parts are put together first. `doubled` are readings
// that come again under another seq. Exit status 1 unless missing, extra, doubled and refused are all 0. gzip is recognised.
'use strict';
const fs = require('fs'), zlib = require('zlib');

const LIMIT = 16 << 20;
const plain = b => (b[0] === 0x1f && b[1] === 0x8b ? zlib.gunzipSync(b, { maxOutputLength: LIMIT }) : b);

// JSON.parse rounds whole numbers beyond 2^53, so record numbers are made text before: every bare number behind seq and within skip.
function parse(text) {
  let out = '', i = 0, label = '', depth = 0, skipDepth = -1;
  while (i < text.length) {
    const c = text[i];
    if (c === '"') {
      let k = i + 1;
      while (text[k] !== '"') { if (k >= text.length) throw new Error('text is cut off'); k += text[k] === '\\' ? 2 : 1; }
      const s = text.slice(i, k + 1);
      i = k + 1;
      out += s;
      if (/^\s*:/.test(text.slice(i, i + 20))) label = JSON.parse(s);
      continue;
    }
    const number = /[-0-9]/.test(c) && /^-?[0-9][0-9.eE+-]*/.exec(text.slice(i, i + 400));
    if (number) {
      out += label === 'seq' || skipDepth >= 0 ? `"${number[0]}"` : number[0];
      i += number[0].length;
      continue;
    }
    if (c === '[' || c === '{') { depth++; if (c === '[' && label === 'skip' && skipDepth < 0) skipDepth = depth; }
    if (c === ']' || c === '}') { if (depth === skipDepth) { skipDepth = -1; label = ''; } depth--; }
    out += c;
    i++;
  }
  return JSON.parse(out);
}

const need = (ok, why) => { if (!ok) throw new Error(why); };
const number = s => { need(/^[1-9][0-9]{0,19}$/.test(s) && BigInt(s) < 1n << 64n, `${s} is no record number`); return s; };
const micros = s => Math.round(s * 1e6);

// unpack resolves a pack (RFC 8428 section 4.6) and takes it apart into records.
function unpack(elements) {
  need(Array.isArray(elements) && elements.length > 0, 'not a pack');
  const pack = { gateway: null, ep: elements[0].ep, skip: (elements[0].skip || []).map(r => r.map(number)), part: elements[0].part || '', records: [] };
  let bn = '', bt = null, bu = '', bv = 0, rec = null;
  elements.forEach((e, i) => {
    for (const l of Object.keys(e)) need(!l.endsWith('_'), `label ${l} must be understood`);
    need(i === 0 || !('ep' in e || 'skip' in e || 'part' in e), 'ep, skip or part behind the first element');
    if ('bn' in e) bn = e.bn;
    if ('bt' in e) bt = micros(e.bt);
    if ('bu' in e) bu = e.bu;
    if ('bv' in e) bv = e.bv;
    const m = /^urn:tidegate:([A-Za-z0-9.-][A-Za-z0-9._-]*):([A-Za-z0-9._-]+)\/([A-Za-z0-9._-]+)(\/fault)?$/.exec(bn + (e.n || ''));
    need(m, `name ${bn}${e.n}`);
    need(pack.gateway === null || pack.gateway === m[1], 'two gateways');
    pack.gateway = m[1];
    if ('seq' in e) {
      need(bt !== null, 'no time');
      need(!rec || BigInt(e.seq) > BigInt(rec.seq), 'seq does not rise');
      rec = { seq: number(e.seq), time_us: bt, tq: e.tq || '', ...(e.lb && { lb: JSON.stringify(e.lb) }), readings: [] };
      pack.records.push(rec);
    }
    if (!rec) { need(i === 0 && pack.skip.length && m[2] === '_gateway' && m[3] === 'skip', 'no seq'); return; }
    const kinds = ['v', 'vs', 'vb', 'vd'].filter(k => k in e);
    need(kinds.length === 1, 'not exactly one value');
    const r = { device: m[2], channel: m[3], unit: 'u' in e ? e.u : bu, time_us: bt + micros(e.t || 0) };
    if (m[4]) { need(kinds[0] === 'vs', 'fault without text'); r.kind = 'fault'; r.value = e.vs; }
    else if ('v' in e) { r.kind = 'number'; r.v = bv === 0 ? e.v : e.v + bv; r.value = digits(r.v); }
    else if ('vs' in e) { r.kind = 'text'; r.value = e.vs; }
    else if ('vb' in e) { r.kind = 'bool'; r.value = String(e.vb); }
    else { r.kind = 'bytes'; r.value = Buffer.from(e.vd, 'base64url').toString('hex'); }
    rec.readings.push(r);
  });
  return pack;
}
const digits = f => (Object.is(f, -0) ? '-0' : String(f));

const gapsOf = pack => pack.records.flatMap(rec => rec.readings).filter(r => r.device === '_gateway' && r.channel === 'gap').map(r => JSON.parse(r.value));

function show(pack) {
  const v = { expect: 'pack', gateway: pack.gateway, ep: pack.ep };
  if (pack.skip.length) v.skip = pack.skip;
  if (pack.part) v.part = pack.part;
  if (pack.records.length) {
    v.records = pack.records.map(rec => ({ ...rec, readings: rec.readings.map(({ device, channel, unit, kind, value, time_us }) => ({ device, channel, unit, kind, value, time_us })) }));
  }
  const gaps = gapsOf(pack);
  if (gaps.length) v.gaps = gaps;
  console.log(JSON.stringify(v));
}

const argv = process.argv.slice(2), option = k => { const i = argv.indexOf(k); return i < 0 ? null : argv[i + 1]; };
const lines = name => fs.readFileSync(name, 'utf8').split('\n').filter(Boolean).map(l => JSON.parse(l));

// receive takes all payloads of a file and returns the readings of every record once.
function receive(name, count) {
  const had = new Set(), parts = new Map(), out = [];
  for (const { topic, payload } of lines(name)) {
    const m = /^tg\/v1\/([^/]+)\/up\/(data|backfill|alarm|audit)$/.exec(topic);
    if (!m) continue;
    try {
      const pack = unpack(parse(plain(Buffer.from(payload, 'base64')).toString('utf8')));
      need(pack.gateway === m[1], 'gateway of another topic');
      count.skipped += pack.skip.reduce((n, [a, b]) => n + Number(BigInt(b) - BigInt(a) + 1n), 0);
      for (let rec of pack.records) {
        const key = `${pack.gateway} ${pack.ep} ${rec.seq}`;
        if (had.has(key)) { count.duplicates += rec.readings.length; continue; }
        if (pack.part) {
          const [i, n] = pack.part.split('/').map(Number);
          let held = parts.get(key);
          if (!held || held.length !== n) parts.set(key, held = Array(n).fill(null));
          held[i - 1] = rec.readings;
          if (held.includes(null)) continue;
          rec = { ...rec, readings: held.flat() };
          parts.delete(key);
        }
        had.add(key);
        for (const r of rec.readings) {
          if (r.device === '_gateway') { if (r.channel === 'gap') count.gaps++; continue; }
          out.push({ gw: pack.gateway, ep: pack.ep, seq: rec.seq, series: `${r.device}/${r.channel}${r.kind === 'fault' ? '/fault' : ''}`,
            t_us: r.time_us, kind: r.kind, v: r.kind === 'number' ? r.v : r.kind === 'bool' ? r.value === 'true' : r.value, tq: rec.tq, lane: m[2] });
        }
      }
    } catch (e) {
      count.refused++;
      console.error(`refused: ${topic}: ${e.message}`);
    }
  }
  return out;
}

function check(readings, truth, count) {
  const timed = truth.some(r => r.t_us !== undefined), key = r => JSON.stringify(timed ? [r.series, r.t_us, r.v] : [r.series, r.v]);
  const want = new Set(truth.map(key)), seen = new Set();
  for (const r of readings) {
    const k = key(r);
    if (seen.has(k)) count.doubled++;
    else if (!want.has(k)) count.extra++;
    seen.add(k);
  }
  count.truth = want.size;
  count.seen = readings.length;
  for (const k of want) if (!seen.has(k)) count.missing++;
}

if (option('--pack')) show(unpack(parse(plain(fs.readFileSync(option('--pack'))).toString('utf8'))));
else {
  const count = { truth: 0, seen: 0, missing: 0, extra: 0, duplicates: 0, doubled: 0, gaps: 0, skipped: 0, refused: 0 };
  const readings = receive(argv[0], count);
  if (option('--check')) {
    check(readings, lines(option('--check')), count);
    console.log(JSON.stringify(count));
  } else for (const r of readings) console.log(JSON.stringify(r));
  if (count.missing || count.extra || count.doubled || count.refused) process.exitCode = 1;
}
