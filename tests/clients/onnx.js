// node onnx.js MODEL IMAGES BATCH HEIGHT WIDTH CHANNELS: prints what ONNX Runtime
// for Node answers. IMAGES holds raw float32 numbers.
const fs = require("fs");
const ort = require("onnxruntime-node");

async function main(model, file, ...shape) {
  const bytes = fs.readFileSync(file);
  const data = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const session = await ort.InferenceSession.create(model);
  const images = new ort.Tensor("float32", data, shape.map(Number));
  const results = await session.run({ images });
  const rows = {};
  for (const [name, value] of Object.entries(results)) {
    rows[name] = { data: Array.from(value.data), shape: value.dims };
  }
  console.log(JSON.stringify(rows));
}

main(...process.argv.slice(2));
