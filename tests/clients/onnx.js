// node onnx.js MODEL IMAGES.json: prints what ONNX Runtime for Node answers.
const fs = require("fs");
const ort = require("onnxruntime-node");

async function main(model, file) {
  const { data, shape } = JSON.parse(fs.readFileSync(file));
  const session = await ort.InferenceSession.create(model);
  const images = new ort.Tensor("float32", Float32Array.from(data), shape);
  const results = await session.run({ images });
  const rows = {};
  for (const [name, value] of Object.entries(results)) {
    rows[name] = { data: Array.from(value.data), shape: value.dims };
  }
  console.log(JSON.stringify(rows));
}

main(...process.argv.slice(2));
