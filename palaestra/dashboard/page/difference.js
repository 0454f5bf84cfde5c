// What differs between two texts, by words: the shortest edit script (Myers 1986, "An O(ND) Difference Algorithm"),
// bounded in length and in edits; beyond the bounds by lines, and beyond those as a whole.

const MAX_UNITS = 6000, MAX_EDITS = 700;

/** {pieces: [["=" | "-" | "+", text], …], coarse}: "-" only in `a`, "+" only in `b`. */
export function differences(a, b) {
  const words = script(split(a, /\s+|[\p{L}\p{N}_]+|./gsu), split(b, /\s+|[\p{L}\p{N}_]+|./gsu));
  if (words) return { pieces: words, coarse: false };
  const lines = script(split(a, /[^\n]*\n|[^\n]+$/gu), split(b, /[^\n]*\n|[^\n]+$/gu));
  return { pieces: lines || [["-", a], ["+", b]], coarse: true };
}

const split = (text, pattern) => text.match(pattern) || [];

function script(a, b) {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const middle = edits(a.slice(start, a.length - end), b.slice(start, b.length - end));
  if (!middle) return null;
  return joined([...a.slice(0, start).map((unit) => ["=", unit]), ...middle, ...a.slice(a.length - end).map((unit) => ["=", unit])]);
}

/** The furthest place reached on each diagonal after d edits, kept for every d, then walked back. */
function edits(a, b) {
  if (a.length + b.length > MAX_UNITS) return null;
  const furthest = new Map([[1, 0]]);
  const trail = [];
  const bound = Math.min(a.length + b.length, MAX_EDITS);
  for (let d = 0; d <= bound; d += 1) {
    trail.push(new Map(furthest));
    for (let k = -d; k <= d; k += 2) {
      let x = k === -d || (k !== d && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1)) ? furthest.get(k + 1) : furthest.get(k - 1) + 1;
      let y = x - k;
      while (x < a.length && y < b.length && a[x] === b[y]) { x += 1; y += 1; }
      furthest.set(k, x);
      if (x >= a.length && y >= b.length) return walked(a, b, trail, d);
    }
  }
  return null;
}

function walked(a, b, trail, last) {
  const found = [];
  let x = a.length, y = b.length;
  for (let d = last; d >= 0; d -= 1) {
    const furthest = trail[d];
    const k = x - y;
    const down = k === -d || (k !== d && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));
    const fromK = down ? k + 1 : k - 1;
    const fromX = d === 0 ? 0 : furthest.get(fromK), fromY = d === 0 ? 0 : fromX - fromK;
    while (x > fromX && y > fromY && x > 0 && y > 0 && a[x - 1] === b[y - 1]) { found.push(["=", a[x - 1]]); x -= 1; y -= 1; }
    if (d > 0) {
      if (down) found.push(["+", b[y - 1]]);
      else found.push(["-", a[x - 1]]);
      x = fromX;
      y = fromY;
    }
  }
  return found.reverse();
}

/** Neighbours of one kind as one piece. */
function joined(found) {
  const pieces = [];
  for (const [kind, unit] of found) {
    if (pieces.at(-1)?.[0] === kind) pieces.at(-1)[1] += unit;
    else pieces.push([kind, unit]);
  }
  return pieces;
}
