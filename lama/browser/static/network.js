// The network, computed by onnxruntime-web: on the graphics card where the browser offers it, else by WebAssembly.

const MOST_THREADS = 4;
const AGREE = 3 / 255; // a backend that differs more from the result stored at the export is not used

// {run, backend}: run(rgb, hole, width, height), planes of values from 0 to 1 -> planes of the completed image.
export async function load(page, tell) {
  const model = await download("../network.onnx", page.bytes, tell);
  const problems = [];
  for (const backend of globalThis.navigator?.gpu && page.webgpu ? ["webgpu", "wasm"] : ["wasm"]) {
    try {
      tell({ what: `starting the network (${backend})`, done: 0, of: 1 });
      const run = await start(backend, model);
      const difference = await check(run, page.check);
      if (difference <= AGREE) return { run, backend };
      problems.push(`${backend}: differs from the exported network by ${difference.toPrecision(2)}`);
    } catch (error) {
      problems.push(`${backend}: ${error.message}`);
    }
  }
  throw new Error(problems.join("; "));
}

async function start(backend, model) {
  const ort = await import(backend === "webgpu" ? "./ort.webgpu.min.mjs" : "./ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, MOST_THREADS) : 1;
  const session = await ort.InferenceSession.create(model, { executionProviders: [backend] });
  return async (rgb, hole, width, height) => {
    const image = new ort.Tensor("float32", rgb, [1, 3, height, width]);
    const mask = new ort.Tensor("float32", hole, [1, 1, height, width]);
    const { completed } = await session.run({ image, mask });
    return completed.getData();
  };
}

// The largest difference from the result that the export stored for waves with a hole in the middle.
async function check(run, { size, expected }) {
  const [rgb, hole] = [new Float32Array(3 * size * size), new Float32Array(size * size)];
  for (let c = 0, i = 0; c < 3; c++) {
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++, i++) {
        rgb[i] = ((7 * x + 13 * y + 29 * c) % 64) / 63;
        if (c === 0) hole[i] = Math.min(x, y) >= size / 4 && Math.max(x, y) < (3 * size) / 4 ? 1 : 0;
      }
    }
  }
  const got = await run(rgb, hole, size, size);
  const bytes = Uint8Array.from(atob(expected), (letter) => letter.charCodeAt(0));
  return bytes.reduce((most, byte, i) => {
    const difference = Math.abs(got[i] - byte / 255);
    return difference <= most ? most : difference; // also where it is not a number
  }, 0);
}

async function download(url, total, tell) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: the server answered ${response.status}`);
  const parts = [];
  let size = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    tell({ what: "loading the network, MB", done: Math.round(size / 1e6), of: Math.round(total / 1e6) });
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
