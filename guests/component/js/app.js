// infer: a component guest in JavaScript, for QuickJS. Feeds numbers to a graph's inputs and prints its outputs.
//
//     infer (--graph NAME | --model FILE) [INPUT=TYPE:DIMS:VALUES]...
//
// for example `x=FP32:1,4:0.5,1,-2,3`. DIMS and VALUES are separated by commas; one value alone fills the tensor.
import { load, loadByName } from 'wasi:nn/graph@0.2.0-rc-2024-10-28';
import { Tensor } from 'wasi:nn/tensor@0.2.0-rc-2024-10-28';
import { getArguments } from 'wasi:cli/environment@0.2.0';
import { getDirectories } from 'wasi:filesystem/preopens@0.2.0';
import { getStdout } from 'wasi:cli/stdout@0.2.0';
import { getStderr } from 'wasi:cli/stderr@0.2.0';

const ARRAYS = { FP32: Float32Array, FP64: Float64Array, U8: Uint8Array, I32: Int32Array };

function print(stream, text) {
  // There is no TextEncoder here.
  const bytes = unescape(encodeURIComponent(text + '\n')).split('').map((c) => c.charCodeAt(0));
  stream.blockingWriteAndFlush(Uint8Array.from(bytes));
}

function readFile(path) {
  const [directory, root] = getDirectories().find(([, root]) => path.startsWith(root.replace(/\/?$/, '/')));
  const file = directory.openAt({ symlinkFollow: true }, path.slice(root.replace(/\/?$/, '/').length), {}, { read: true });
  const content = new Uint8Array(Number(file.stat().size));
  for (let at = 0; at < content.length; ) {
    const [part, end] = file.read(content.length - at, at);
    content.set(part, at);
    at += part.length;
    if (end) break;
  }
  return content;
}

function tensorOf(text) {
  const [type, dims, values] = text.split(':');
  const shape = Uint32Array.from(dims.split(',').map(Number));
  const numbers = values.split(',').map(Number);
  const array = new ARRAYS[type](shape.reduce((product, dim) => product * dim, 1));
  numbers.length === 1 ? array.fill(numbers[0]) : array.set(numbers);
  return new Tensor(shape, type, new Uint8Array(array.buffer));
}

function infer([option, model, ...inputs]) {
  const graph = option === '--graph' ? loadByName(model) : load([readFile(model)], 'autodetect', 'cpu');
  const context = graph.initExecutionContext();
  const named = inputs.map((input) => {
    const equals = input.indexOf('=');
    return [input.slice(0, equals), tensorOf(input.slice(equals + 1))];
  });
  for (const [name, tensor] of context.compute(named)) {
    const data = tensor.data();
    const values = new ARRAYS[tensor.ty()](data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
    const shown = [...values.slice(0, 10)].map((value) => String(Number(value.toPrecision(6)))).join(', ');
    const more = values.length > 10 ? `, ... (${values.length} values)` : '';
    print(getStdout(), `${name}: ${tensor.ty()} [${[...tensor.dimensions()].join(', ')}]: ${shown}${more}`);
  }
}

export const run = {
  run() {
    try {
      infer(getArguments().slice(1));
    } catch (failure) {
      const error = failure.payload ?? failure;
      print(getStderr(), error.code ? `infer: ${error.data()} [${error.code()}]` : `infer: ${error}`);
      throw undefined;
    }
  },
};
