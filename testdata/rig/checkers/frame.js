#!/usr/bin/env node
// Reads one body of stored records, written from sync/wire/frame/README.md alone; shares nothing with the gateway's code.
// usage: node frame.js body.bin
// Prints the records as testdata/wire/README.md describes them. Node 20 has no zstd, so of columns it reads those whose zstd frame
// consists of uncompressed and run-length blocks.
'use strict';
const fs = require('fs');
const MASK = (1n << 64n) - 1n;
const signed = v => BigInt.asIntN(64, v);

class Reader {
  constructor(buf) { this.b = buf; this.at = 0; }
  get left() { return this.b.length - this.at; }
  take(n) {
    if (n > this.left) throw new Error(`byte ${this.at}: ${this.left} bytes left, ${n} wanted`);
    this.at += n;
    return this.b.subarray(this.at - n, this.at);
  }
  byte() { return this.take(1)[0]; }
  big() {
    let v = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const c = this.byte();
      v |= BigInt(c & 127) << shift;
      if (v > MASK) throw new Error(`byte ${this.at}: number exceeds 64 bits`);
      if (c < 128) return v;
    }
  }
  num() { return Number(this.big()); }
  sbig() { const u = this.big(); return signed((u >> 1n) ^ -(u & 1n)); }
  snum() { return Number(this.sbig()); }
  text() { return this.take(this.num()); }
}

const hex64 = v => (v & MASK).toString(16).padStart(16, '0');
const bitsOf = f => { const b = Buffer.alloc(8); b.writeDoubleBE(f); return b.readBigUInt64BE(); };
const floatOf = v => { const b = Buffer.alloc(8); b.writeBigUInt64BE(v & MASK); return b.readDoubleBE(); };
const singleOf = v => { const b = Buffer.alloc(4); b.writeUInt32BE(Number(v)); return b.readFloatBE(); };

// show gives a value as the vectors have it: v is a BigInt of bits for numbers and yes/no, else bytes.
function show(kind, v) {
  switch (kind) {
    case 0: return '';
    case 1: return hex64(v);
    case 2: return signed(v).toString();
    case 3: case 4: return (v & MASK).toString();
    default: return v.toString('hex');
  }
}
function made(device, channel, unit, kind, value, time, fault) {
  const o = { device, channel, unit, kind, value };
  if (time !== null) o.time_us = Number(time);
  if (fault) o.fault = fault;
  return o;
}

function rows(r) {
  const out = [];
  while (r.left) {
    const form = r.byte();
    if (form !== 1 && form !== 3) throw new Error('not a record in rows form');
    const s = new Reader(r.take(r.take(4).readUInt32LE()));
    const n = s.num(), quality = s.byte(), time = s.take(8).readBigInt64LE(), boot = s.sbig(), uplink = s.text().toString();
    const labels = form === 3 ? s.text().toString() : '';
    const readings = [];
    let device = '', unit = '';
    for (let i = 0; i < n; i++) {
      const f = s.byte(), kind = f & 7;
      if (f & 8) device = s.text().toString();
      const channel = s.text().toString();
      if (f & 16) unit = s.text().toString();
      const own = f & 32 ? time + s.sbig() : null;
      let v = null;
      if (kind === 1) v = f & 128 ? bitsOf(s.take(4).readFloatLE()) : s.take(8).readBigUInt64LE();
      else if (kind === 2) v = s.sbig();
      else if (kind === 3 || kind === 4) v = s.big();
      else if (kind > 4) v = s.text();
      readings.push(made(device, channel, unit, kind, show(kind, v), own, f & 64 ? s.text().toString() : ''));
    }
    if (s.left) throw new Error('bytes behind the readings');
    out.push({ time_us: Number(time), quality, boot_us: Number(boot), for: uplink, ...(labels && { labels }), readings });
  }
  return out;
}

function unzstd(b) {
  const r = new Reader(b);
  if (r.take(4).readUInt32LE() !== 0xfd2fb528) throw new Error('not zstd');
  const d = r.byte(), single = d & 32;
  if (!single) r.byte();
  r.take([0, 1, 2, 4][d & 3]);
  r.take([single ? 1 : 0, 2, 4, 8][d >> 6]);
  const parts = [];
  for (let last = 0; !last;) {
    const h = r.take(3).readUIntLE(0, 3), size = h >> 3, type = (h >> 1) & 3;
    last = h & 1;
    if (type === 0) parts.push(r.take(size));
    else if (type === 1) parts.push(Buffer.alloc(size, r.byte()));
    else throw new Error('this zstd block is compressed');
  }
  return Buffer.concat(parts);
}

function planes(r, n, width) {
  const col = Array(n).fill(0n);
  for (let k = 0; k < width; k++) r.take(n).forEach((c, i) => { col[i] |= BigInt(c) << BigInt(8 * k); });
  return col;
}

function numbers(r, series, lengths) {
  const cols = series.map(() => null), codes = series.map(s => (s.kind >= 1 && s.kind <= 3 ? r.byte() : null));
  let first = 0n;
  const stepped = i => codes[i] !== null && ((codes[i] & 3) === 1 || (codes[i] & 3) === 2);
  series.forEach((s, i) => { if (stepped(i)) { first = (first + r.sbig()) & MASK; cols[i] = [first]; } });
  series.forEach((s, i) => {
    if (!stepped(i)) return;
    let step = 0n;
    for (let k = 1; k < lengths[i]; k++) {
      step = (codes[i] & 3) === 2 ? step + r.sbig() : r.sbig();
      cols[i].push((cols[i][k - 1] + step) & MASK);
    }
  });
  series.forEach((s, i) => {
    if (codes[i] === null) return;
    const order = codes[i] & 3;
    if (order === 0) {
      cols[i] = planes(r, lengths[i], r.byte());
      if (s.kind !== 3) cols[i] = cols[i].map(u => ((u >> 1n) ^ -(u & 1n)) & MASK);
    } else if (order === 3) {
      cols[i] = planes(r, lengths[i], codes[i] & 64 ? 4 : 8);
      for (let k = 1; k < cols[i].length; k++) cols[i][k] ^= cols[i][k - 1];
    }
  });
  series.forEach((s, i) => {
    if (s.kind !== 1) return;
    const order = codes[i] & 3, exp = (codes[i] >> 2) & 15, single = codes[i] & 64;
    if (order === 3) { if (single) cols[i] = cols[i].map(v => bitsOf(singleOf(v))); return; }
    cols[i] = cols[i].map(m => { const f = Number(signed(m)) / Number('1e' + exp); return bitsOf(single ? Math.fround(f) : f); });
  });
  return cols;
}

function columns(r, labelled) {
  const counts = [], total = r.num();
  while (counts.length < total) {
    const v = r.num();
    for (let n = 1 + (v & 1 ? r.num() : 0); n > 0; n--) counts.push(v >> 1);
  }
  r = new Reader(unzstd(r.take(r.left)));
  const texts = Array.from({ length: r.num() }, () => r.text()), name = i => texts[i].toString();
  let d = 0, c = 0, u = 0;
  const series = Array.from({ length: r.num() }, () => {
    d += r.snum(); c += r.snum(); u += r.snum();
    return { device: name(d), channel: name(c), unit: name(u), kind: r.byte() };
  });
  let follow = 0;
  const shapes = Array.from({ length: r.num() }, () => Array.from({ length: r.num() }, () => {
    const s = follow + r.snum();
    follow = s + 1;
    return s;
  }));
  const shapeOf = counts.map(() => shapes[r.num()]);
  let last = 0n, step = 0n;
  const times = counts.map((_, i) => {
    const at = signed(last + step + r.sbig());
    if (i > 0) step = at - last;
    last = at;
    return at;
  });
  let start = 0n;
  const boots = times.map(t => { start = signed(start + r.sbig()); return signed(t - start); });
  const runs = () => { const out = []; while (out.length < total) { const v = r.num(); for (let n = r.num(); n >= 0; n--) out.push(v); } return out; };
  const qualities = runs(), uplinks = runs().map(name), labels = labelled ? runs().map(name) : [];
  const lengths = series.map(() => 0);
  shapeOf.forEach(s => s.forEach(i => lengths[i]++));
  const cols = numbers(r, series, lengths);
  series.forEach((s, i) => {
    if (s.kind === 4) {
      const bits = r.take(Math.ceil(lengths[i] / 8));
      cols[i] = Array.from({ length: lengths[i] }, (_, k) => BigInt((bits[k >> 3] >> (k & 7)) & 1));
    } else if (s.kind > 4) cols[i] = Array.from({ length: lengths[i] }, () => texts[r.num()]);
  });
  const sparse = f => { const out = new Map(); let at = 0; for (let n = r.num(); n > 0; n--) { at += r.num(); out.set(at, f()); at++; } return out; };
  const own = sparse(() => r.sbig()), faults = sparse(() => name(r.num()));
  if (r.left) throw new Error('bytes behind the columns');
  const next = series.map(() => 0);
  let at = 0;
  return shapeOf.map((shape, i) => {
    const readings = shape.map(s => {
      const x = series[s], v = x.kind ? cols[s][next[s]++] : null;
      const o = made(x.device, x.channel, x.unit, x.kind, show(x.kind, v), own.has(at) ? times[i] + own.get(at) : null, faults.get(at));
      at++;
      return o;
    });
    return { time_us: Number(times[i]), quality: qualities[i], boot_us: Number(boots[i]), for: uplinks[i], ...(labels[i] && { labels: labels[i] }), readings };
  });
}

const body = fs.readFileSync(process.argv[2]), r = new Reader(body);
console.log(JSON.stringify(body[0] === 2 || body[0] === 4 ? columns(r, r.byte() === 4) : rows(r)));
