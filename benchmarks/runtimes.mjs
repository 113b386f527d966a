// One runtime for JavaScript on the graphs of a folder: node runtimes.mjs onnxruntime-node FOLDER
// Reads FOLDER/cases.json (name, inputs with type, shape and values), runs FOLDER/NAME.onnx, and prints a line of JSON a case.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [name, folder] = process.argv.slice(2);
const require = createRequire(join(process.cwd(), 'package.json')); // the packages of the folder it is started in
const loaded = await import(pathToFileURL(require.resolve(name)).href);
const { InferenceSession, Tensor, env } = loaded.default?.InferenceSession ? loaded.default : loaded;
if (name === 'onnxruntime-web') env.wasm.numThreads = 1;
const providers = name === 'onnxruntime-web' ? ['wasm'] : ['cpu'];
const arrays = { float32: Float32Array, int32: Int32Array };

for (const each of JSON.parse(readFileSync(join(folder, 'cases.json'), 'utf8'))) {
  let line;
  try {
    const content = new Uint8Array(readFileSync(join(folder, `${each.name}.onnx`)));
    const session = await InferenceSession.create(content, { executionProviders: providers, logSeverityLevel: 4 });
    const feed = {};
    for (const [key, value] of Object.entries(each.inputs))
      feed[key] = new Tensor(value.type, arrays[value.type].from(value.values), value.shape);
    const outputs = await session.run(feed);
    line = { name: each.name, outputs: {} };
    for (const [key, value] of Object.entries(outputs))
      line.outputs[key] = Array.from(value.data, (x) => (Number.isFinite(x) ? x : null));
  } catch (error) {
    line = { name: each.name, error: String(error.message ?? error) };
  }
  console.log(JSON.stringify(line));
}
