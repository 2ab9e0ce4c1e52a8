// Strokes, canvases, glimpses and probabilities on the screen.

/** The visitor's strokes: lists of [x, y] in a unit square. */
export function drawStrokes(canvas, strokes) {
  const context = canvas.getContext("2d");
  const side = canvas.width;
  context.clearRect(0, 0, side, side);
  context.strokeStyle = "white";
  context.lineWidth = side / 14;
  context.lineCap = context.lineJoin = "round";
  for (const [[x, y], ...rest] of strokes) {
    context.beginPath();
    context.moveTo(x * side, y * side);
    context.lineTo(x * side + 0.1, y * side);
    for (const [x, y] of rest) context.lineTo(x * side, y * side);
    context.stroke();
  }
}

/** An image, the path of some glimpses, and the boxes that they saw. */
export function drawScene(canvas, { image, size }, steps, { patch_size, scales }) {
  const context = canvas.getContext("2d");
  const side = canvas.width;
  const dot = side / (canvas.clientWidth || side); // of the screen
  context.imageSmoothingEnabled = false;
  context.drawImage(grey(image, size, size), 0, 0, side, side);
  const places = steps.map(({ location }) => location.map((l) => ((l + 1) / 2) * side));
  context.lineWidth = 1.5 * dot;
  context.strokeStyle = "#fffc";
  context.beginPath();
  for (const place of places) context.lineTo(...place);
  context.stroke();
  places.forEach((place, step) => {
    const now = step === places.length - 1;
    context.strokeStyle = colour(step, places.length);
    context.lineWidth = (now ? 3 : 1.5) * dot;
    // All that the retina sees now; of earlier glimpses, the finest patch.
    for (const scale of now ? scales : [Math.min(...scales)]) {
      const width = (scale * patch_size * side) / size;
      context.strokeRect(place[0] - width / 2, place[1] - width / 2, width, width);
    }
    context.font = `bold ${13 * dot}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 3 * dot;
    context.strokeStyle = "#000a";
    context.strokeText(step + 1, ...place);
    context.fillStyle = colour(step, places.length);
    context.fillText(step + 1, ...place);
  });
}

/** From red, the first, to yellow, as `keras_ram.plot_glimpses` draws them. */
function colour(step, steps) {
  return `hsl(${steps > 1 ? (60 * step) / (steps - 1) : 0} 100% 55%)`;
}

/** What the retina saw in a glimpse, one patch for each scale, side by side. */
export function drawPatches(canvas, patches, patchSize) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  patches.forEach((patch, at) => {
    context.drawImage(grey(patch, patchSize, patchSize), at * (patchSize + 1), 0);
  });
}

/** A bar for each class. */
export function showClasses(list, probabilities) {
  const best = probabilities?.indexOf(Math.max(...probabilities));
  [...list.children].forEach((item, at) => {
    item.style.setProperty("--share", probabilities?.[at] ?? 0);
    item.classList.toggle("best", at === best);
  });
}

function grey(values, width, height) {
  const picture = new ImageData(width, height);
  picture.data.fill(255);
  values.forEach((value, at) => picture.data.fill(value, 4 * at, 4 * at + 3));
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}
