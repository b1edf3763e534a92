// stream: a component guest in JavaScript, for QuickJS. Prints the text of a language model piece by piece.
//
//     stream GRAPH PROMPT [OPTIONS]
//
// OPTIONS is JSON, as the graph's runtime takes it.
import { loadByName } from 'wasi:nn/graph@0.2.0-rc-2024-10-28';
import { Tensor } from 'wasi:nn/tensor@0.2.0-rc-2024-10-28';
import { begin } from 'wasi-nn:ext/sequences@0.1.0';
import { getArguments } from 'wasi:cli/environment@0.2.0';
import { getStdout } from 'wasi:cli/stdout@0.2.0';
import { getStderr } from 'wasi:cli/stderr@0.2.0';

// There is no TextEncoder here.
const encoded = (text) => Uint8Array.from(unescape(encodeURIComponent(text)).split('').map((c) => c.charCodeAt(0)));

function stream([graph, ...texts]) {
  const names = ['prompt', 'options'];
  const inputs = texts.map((text, index) => {
    const content = encoded(text);
    return [names[index], new Tensor(Uint32Array.of(content.length), 'U8', content)];
  });
  const sequence = begin(loadByName(graph).initExecutionContext(), inputs);
  const output = getStdout();
  for (let outputs = sequence.next(); outputs; outputs = sequence.next()) {
    const text = outputs[0][1].data();
    if (text.length) output.blockingWriteAndFlush(text);
  }
  output.blockingWriteAndFlush(encoded('\n'));
}

export const run = {
  run() {
    try {
      stream(getArguments().slice(1));
    } catch (failure) {
      const error = failure.payload ?? failure;
      const text = error.code ? `stream: ${error.data()} [${error.code()}]\n` : `stream: ${error}\n`;
      getStderr().blockingWriteAndFlush(encoded(text));
      throw undefined;
    }
  },
};
