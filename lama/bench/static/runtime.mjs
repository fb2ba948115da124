// A network in an ONNX runtime of npm, on one thread: runs it once for each line on the input, and prints
// {"seconds": of the processor} or {"error": why} as a line. Arguments: the runtime's module, the file, the folder of
// image.bin, mask.bin and output.bin (float32), height and width.
import {createInterface} from 'node:readline';
import {readFileSync, writeFileSync} from 'node:fs';
import {pathToFileURL} from 'node:url';

const [module, file, folder, height, width] = process.argv.slice(2);
const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');
const floats = (name) => {
  const bytes = readFileSync(`${folder}/${name}.bin`);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
};

try {
  const loaded = await import(pathToFileURL(module));
  const ort = loaded.default?.InferenceSession ? loaded.default : loaded;  // of a CommonJS module, else its names
  if (ort.env.wasm) ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(readFileSync(file), {
    intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 4,
  });
  const image = new ort.Tensor('float32', floats('image'), [1, 3, +height, +width]);
  const mask = new ort.Tensor('float32', floats('mask'), [1, 1, +height, +width]);
  say({seconds: 0});
  for await (const _ of createInterface({input: process.stdin})) {
    const before = process.cpuUsage();
    const {completed} = await session.run({image, mask});
    const spent = process.cpuUsage(before);
    writeFileSync(`${folder}/output.bin`, completed.data);
    say({seconds: (spent.user + spent.system) / 1e6});
  }
} catch (error) {
  say({error: String(error.message ?? error)});
}
