// A talk with a language model, whose answers are printed as they are written, by sequences (an extension).
//
//     chat GRAPH OPTIONS [MESSAGE]...
//
// OPTIONS are the runtime's, in JSON. The messages are said one after the other; without any, each line of the standard
// input is one. The model must be one that understands ChatML, as many small ones do. Contexts remember nothing: the
// whole talk is the prompt each time.

import { Context, Graph, NNError, Tensor } from "../assembly";
import { fail, readLine } from "./files";

if (process.argv.length < 3) fail("usage: chat GRAPH OPTIONS [MESSAGE]...", 2);
const graph = Graph.loadByName(process.argv[1]);
stop(graph.error);
const context = graph.value.context();
stop(context.error);
setText(context.value, 1, "options", String.UTF8.encode(process.argv[2]));
let talk = "";
for (let at = 3; at < process.argv.length; at++) {
  console.log("> " + process.argv[at]);
  say(context.value, process.argv[at]);
}
while (process.argv.length == 3) {
  process.stdout.write("> ");
  const line = readLine();
  if (line === null) break;
  say(context.value, line);
}

/** Say a message, and print the model's answer. */
function say(context: Context, message: string): void {
  talk += "<|im_start|>user\n" + message + "<|im_end|>\n<|im_start|>assistant\n";
  setText(context, 0, "prompt", String.UTF8.encode(talk));
  stop(context.beginSequence());
  while (true) {
    const piece = context.nextOfSequence();
    stop(piece.error);
    if (!piece.value.given) break;
    const text = String.UTF8.decode(context.output<Uint8Array>(0).value.buffer); // pieces are whole characters
    process.stdout.write(text);
    talk += text;
  }
  console.log("");
  talk += "<|im_end|>\n";
}

function setText(context: Context, index: u32, name: string, text: ArrayBuffer): void {
  stop(context.setInputAt(index, name, Tensor.of<Uint8Array>([text.byteLength], Uint8Array.wrap(text)).value));
}

function stop(error: NNError | null): void {
  if (error) fail(error.toString());
}
