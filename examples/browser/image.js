// What the model is shown, and what its retina sees of it. Pixels are bytes.

export const SIDE = 28; // of a digit, as MNIST holds them:
const CONTENT = 20; // of which the strokes fill so much,
const PEN = 2.5; // so thick
const FINE = 8; // dots along a pixel, while strokes are drawn
const PIECE = 8;

/** Strokes, lists of [x, y] in a unit square, as a digit of MNIST. */
export function digitOf(strokes) {
  const [xs, ys] = [0, 1].map((axis) => strokes.flat().map((point) => point[axis]));
  const bounds = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const [left, right, top, bottom] = bounds;
  // A dot stays small.
  const scale = (CONTENT - PEN) / Math.max(right - left, bottom - top, 0.2);
  const boxed = [(left + right) / 2, (top + bottom) / 2];
  const mass = centreOfMass(rasterize(strokes, scale, boxed));
  const centre = boxed.map((place, axis) => {
    const shift = Math.round(mass[axis] - SIDE / 2);
    const margin = (SIDE - CONTENT) / 2;
    return place + Math.max(-margin, Math.min(margin, shift)) / scale;
  });
  return rasterize(strokes, scale, centre);
}

function rasterize(strokes, scale, [x, y]) {
  const side = SIDE * FINE;
  const context = new OffscreenCanvas(side, side).getContext("2d", {
    willReadFrequently: true,
  });
  context.setTransform(FINE * scale, 0, 0, FINE * scale, side / 2, side / 2);
  context.translate(-x, -y);
  context.lineWidth = PEN / scale;
  context.lineCap = context.lineJoin = "round";
  for (const [start, ...rest] of strokes) {
    context.beginPath();
    context.moveTo(...start);
    context.lineTo(start[0] + 1e-3, start[1]);
    for (const point of rest) context.lineTo(...point);
    context.stroke();
  }
  const { data } = context.getImageData(0, 0, side, side);
  const sums = new Float64Array(SIDE * SIDE);
  for (let dot = 0; dot < side * side; dot++) {
    const [row, column] = [Math.floor(dot / side), dot % side];
    sums[Math.floor(row / FINE) * SIDE + Math.floor(column / FINE)] += data[4 * dot + 3];
  }
  return Uint8ClampedArray.from(sums, (sum) => sum / FINE ** 2);
}

function centreOfMass(digit) {
  let [x, y, mass] = [0, 0, 0];
  digit.forEach((value, place) => {
    x += value * ((place % SIDE) + 0.5);
    y += value * (Math.floor(place / SIDE) + 0.5);
    mass += value;
  });
  return [x / mass, y / mass];
}

/** Pieces cut at random places from random digits, for random places of a canvas. */
export function cutPieces(count, size, digits) {
  const random = (end) => Math.floor(Math.random() * end);
  return Array.from({ length: count }, () => {
    const digit = digits[random(digits.length)];
    const [top, left] = [random(SIDE - PIECE + 1), random(SIDE - PIECE + 1)];
    const pixels = Array.from({ length: PIECE ** 2 }, (_, place) => {
      const [row, column] = [Math.floor(place / PIECE), place % PIECE];
      return digit[(top + row) * SIDE + left + column];
    });
    const place = [random(size - PIECE + 1), random(size - PIECE + 1)];
    return { pixels, side: PIECE, place };
  });
}

/** A square canvas of bytes. What lies on it adds up, to white at most. */
export function canvasOf(size, things) {
  const canvas = new Uint8ClampedArray(size * size);
  for (const { pixels, side, place } of things) {
    pixels.forEach((value, at) => {
      const [x, y] = [place[0] + (at % side), place[1] + Math.floor(at / side)];
      canvas[y * size + x] += value;
    });
  }
  return canvas;
}

/** The grey bytes of a picture, whole, in the middle of a square. Ink is white. */
export function canvasOfPicture(picture, size) {
  const context = new OffscreenCanvas(size, size).getContext("2d");
  const scale = size / Math.max(picture.width, picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  const place = [(size - width) / 2, (size - height) / 2, width, height];
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, ...place);
  const { data } = context.getImageData(0, 0, size, size);
  const grey = (at) => 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
  const inside = [];
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 127) inside.push(at);
  const bright = inside.reduce((sum, at) => sum + grey(at), 0) > 127 * inside.length;
  const canvas = new Uint8ClampedArray(size * size);
  for (const at of inside) canvas[at / 4] = bright ? 255 - grey(at) : grey(at);
  return canvas;
}

/**
 * What `keras_ram.GlimpseSensor` sees: the exact mean over each cell of an image
 * that is constant on each pixel and zero outside.
 */
export function retina(image, size, [x, y], patchSize, scale) {
  const start = (centre) => ((centre + 1) / 2) * size - (scale * patchSize) / 2;
  const [columns, rows] = [cells(start(x)), cells(start(y))];
  function cells(first) {
    return Array.from({ length: patchSize }, (_, cell) => {
      const [low, high] = [first + cell * scale, first + (cell + 1) * scale];
      const pixels = [];
      const end = Math.min(size, high);
      for (let pixel = Math.max(0, Math.floor(low)); pixel < end; pixel++) {
        const share = Math.min(high, pixel + 1) - Math.max(low, pixel);
        pixels.push([pixel, share / scale]);
      }
      return pixels;
    });
  }
  const patch = new Float32Array(patchSize ** 2);
  rows.forEach((row, i) =>
    columns.forEach((column, j) => {
      for (const [py, wy] of row)
        for (const [px, wx] of column)
          patch[i * patchSize + j] += wy * wx * image[py * size + px];
    }),
  );
  return patch;
}
