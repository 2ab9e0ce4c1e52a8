// The model, in ONNX Runtime.

import { retina } from "./image.js";
import * as ort from "./ort.js";

let preset, session;

/** A file of the page; what build.py packed with gzip is unpacked. */
export async function load(file) {
  const response = await fetch(file).catch(() => null);
  if (!response?.ok)
    throw new Error(
      `${file} could not be loaded. Check the connection and reload; if that does not ` +
        "help, the folder is not complete: build it again.",
    );
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes; // a server may have done it
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

export async function startRuntime() {
  ort.env.wasm.numThreads = 1; // more need headers that static hosts do not send
  ort.env.wasm.wasmBinary = await load("ort.wasm.gz");
}

/** Loads a preset, as site.json describes it. */
export async function choose(description) {
  const { file, size } = description;
  session = await ort.InferenceSession.create(await load(file));
  preset = description;
  await run(new Uint8Array(size ** 2), size); // the first run is slow
}

/** What the model says of square grey images of one size, bytes one after another. */
export async function run(images, size) {
  const shape = [images.length / size ** 2, size, size, 1];
  const input = new ort.Tensor("uint8", Uint8Array.from(images), shape);
  const outputs = Object.entries(await session.run({ images: input }));
  return Object.fromEntries(outputs.map(([name, { data }]) => [name, Array.from(data)]));
}

/** The glimpses that the model takes of an image: where, what it saw, its guess. */
export async function glimpses(image, size) {
  const { num_glimpses, patch_size, scales } = preset;
  const outputs = await run(image, size);
  // A model that stops when it is sure tells how many it took.
  const taken = outputs.num_glimpses?.[0] ?? num_glimpses;
  return Array.from({ length: taken }, (_, step) => {
    const location = outputs.locations.slice(2 * step, 2 * step + 2);
    const patches = scales.map((scale) => retina(image, size, location, patch_size, scale));
    const classes = outputs.probabilities.length;
    const [start, end] = [step * classes, (step + 1) * classes];
    const probabilities = outputs.step_probabilities.slice(start, end);
    return { location, patches, probabilities };
  });
}
