// Shapes into label maps: pure functions on {labels, width, height}. Each gives the rectangle it touched.
// Places are in pixels of the photo; a pixel belongs to a shape when its middle does.

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

const framed = ({ width, height }, x0, y0, x1, y1) => ({
  x0: clamp(Math.floor(x0), 0, width),
  y0: clamp(Math.floor(y0), 0, height),
  x1: clamp(Math.ceil(x1), 0, width),
  y1: clamp(Math.ceil(y1), 0, height),
});

export const joined = (a, b) =>
  a === null ? b : { x0: Math.min(a.x0, b.x0), y0: Math.min(a.y0, b.y0), x1: Math.max(a.x1, b.x1), y1: Math.max(a.y1, b.y1) };

// A round brush of a diameter, moved from a to b.
export function stroke(map, a, b, diameter, id) {
  const radius = Math.max(diameter, 1) / 2;
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = dx * dx + dy * dy;
  const far = radius + 1;
  const rect = framed(map, Math.min(a.x, b.x) - far, Math.min(a.y, b.y) - far, Math.max(a.x, b.x) + far, Math.max(a.y, b.y) + far);
  for (let y = rect.y0; y < rect.y1; y++) {
    for (let x = rect.x0; x < rect.x1; x++) {
      const [px, py] = [x + 0.5 - a.x, y + 0.5 - a.y];
      const along = length ? clamp((px * dx + py * dy) / length, 0, 1) : 0;
      const [ox, oy] = [px - along * dx, py - along * dy];
      if (ox * ox + oy * oy <= radius * radius) map.labels[y * map.width + x] = id;
    }
  }
  // A brush thinner than a pixel may pass between the middles of all: the pixel under it counts.
  const [cx, cy] = [Math.floor(b.x), Math.floor(b.y)];
  if (cx >= 0 && cy >= 0 && cx < map.width && cy < map.height) map.labels[cy * map.width + cx] = id;
  return rect;
}

export function box(map, a, b, id) {
  const [left, right] = [Math.min(a.x, b.x), Math.max(a.x, b.x)].map(Math.round);
  const [top, bottom] = [Math.min(a.y, b.y), Math.max(a.y, b.y)].map(Math.round);
  const rect = framed(map, left, top, right, bottom);
  for (let y = rect.y0; y < rect.y1; y++) map.labels.fill(id, y * map.width + rect.x0, y * map.width + rect.x1);
  return rect;
}

// The inside of a closed polygon, by the even-odd rule.
export function polygon(map, corners, id) {
  const [xs, ys] = [corners.map((c) => c.x), corners.map((c) => c.y)];
  const rect = framed(map, Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys));
  for (let y = rect.y0; y < rect.y1; y++) {
    const middle = y + 0.5;
    const cuts = [];
    corners.forEach((a, i) => {
      const b = corners[(i + 1) % corners.length];
      if (a.y <= middle !== b.y <= middle) cuts.push(a.x + ((middle - a.y) / (b.y - a.y)) * (b.x - a.x));
    });
    cuts.sort((a, b) => a - b);
    for (let i = 0; i + 1 < cuts.length; i += 2) {
      const [from, to] = [cuts[i], cuts[i + 1]].map((cut) => clamp(Math.ceil(cut - 0.5), 0, map.width));
      map.labels.fill(id, y * map.width + from, y * map.width + to);
    }
  }
  return rect;
}

// All pixels joined to a place by pixels of the same label.
export function fill(map, place, id) {
  const { labels, width, height } = map;
  const start = Math.floor(place.y) * width + Math.floor(place.x);
  const old = labels[start];
  const rect = { x0: width, y0: height, x1: 0, y1: 0 };
  if (old === id) return { x0: 0, y0: 0, x1: 0, y1: 0 };
  const todo = [start];
  labels[start] = id;
  while (todo.length) {
    const at = todo.pop();
    const [x, y] = [at % width, Math.floor(at / width)];
    [rect.x0, rect.y0] = [Math.min(rect.x0, x), Math.min(rect.y0, y)];
    [rect.x1, rect.y1] = [Math.max(rect.x1, x + 1), Math.max(rect.y1, y + 1)];
    for (const [next, inside] of [[at - 1, x > 0], [at + 1, x < width - 1], [at - width, y > 0], [at + width, y < height - 1]]) {
      if (inside && labels[next] === old) {
        labels[next] = id;
        todo.push(next);
      }
    }
  }
  return rect;
}

// The rectangle around each region of a map of region numbers.
export function regionRects(regions, width) {
  const rects = [];
  regions.forEach((id, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    const rect = (rects[id] ??= { x0: x, y0: y, x1: x, y1: y });
    [rect.x0, rect.x1, rect.y1] = [Math.min(rect.x0, x), Math.max(rect.x1, x + 1), Math.max(rect.y1, y + 1)];
  });
  return rects;
}

export function region(map, regions, { id: number, rect }, id) {
  for (let y = rect.y0; y < rect.y1; y++) {
    for (let i = y * map.width + rect.x0; i < y * map.width + rect.x1; i++) {
      if (regions[i] === number) map.labels[i] = id;
    }
  }
  return rect;
}

// Where a mask is set.
export function masked(map, mask, id) {
  mask.forEach((on, i) => {
    if (on) map.labels[i] = id;
  });
  return framed(map, 0, 0, map.width, map.height);
}
