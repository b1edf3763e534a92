// What is in these pictures? The five best labels of each.
//
//     classify GRAPH INPUT LABELS PICTURE...
//
// A picture is a binary PPM of the size that the model takes. The model's only input has the name INPUT, and is f32
// [1, 3, height, width] of (byte - 127) / 128. The scores are taken for logits.

import { Context, Graph, NNError, Tensor } from "../assembly";
import { fail, readFile } from "./files";

if (process.argv.length < 5) fail("usage: classify GRAPH INPUT LABELS PICTURE...", 2);
const graph = Graph.loadByName(process.argv[1]);
stop(graph.error);
const context = graph.value.context();
stop(context.error);
const labels = readFile(process.argv[3]);
if (!labels) fail("the labels can't be read");
const names = String.UTF8.decode(labels!.buffer).trimEnd().split("\n");
for (let at = 4; at < process.argv.length; at++) classify(context.value, process.argv[at]);

function classify(context: Context, path: string): void {
  const picture = readFile(path);
  const tensor = picture ? imageOf(picture) : null;
  if (!tensor) {
    fail("the picture is no binary PPM of one byte a colour: " + path);
    return;
  }
  stop(context.setInputAt(0, process.argv[2], tensor));
  stop(context.compute());
  const scores = context.output<Float32Array>(0).value;
  let greatest = scores[0], sum: f32 = 0;
  for (let at = 1; at < scores.length; at++) greatest = max(greatest, scores[at]);
  for (let at = 0; at < scores.length; at++) {
    scores[at] = Mathf.exp(scores[at] - greatest);
    sum += scores[at];
  }
  console.log(path);
  for (let place = 0; place < min(5, scores.length); place++) {
    let best = 0;
    for (let at = 1; at < scores.length; at++) {
      if (scores[at] > scores[best]) best = at;
    }
    const percent = <u32>((<f32>100 * scores[best]) / sum + 0.5);
    console.log("  " + percent.toString().padStart(3) + " %  " + (best < names.length ? names[best] : "?"));
    scores[best] = -1;
  }
}

/** The numbers of a picture as a tensor; null for another file. */
function imageOf(ppm: Uint8Array): Tensor | null {
  let at = 2;
  const numbers: u32[] = [0, 0, 0];
  for (let number = 0; number < 3; number++) {
    while (at < ppm.length && isSpace(ppm[at])) at++;
    while (at < ppm.length && ppm[at] >= 0x30 && ppm[at] <= 0x39) {
      numbers[number] = numbers[number] * 10 + (ppm[at++] - 0x30);
    }
  }
  const width = numbers[0], height = numbers[1], size = <i64>width * height;
  if (ppm.length < 2 || ppm[0] != 0x50 || ppm[1] != 0x36 || numbers[2] != 255 || ppm.length - at - 1 < 3 * size) return null;
  const image = new Float32Array(3 * <i32>size);
  for (let colour = 0; colour < 3; colour++) {
    for (let pixel = 0; pixel < <i32>size; pixel++) {
      image[colour * <i32>size + pixel] = (<f32>ppm[at + 1 + 3 * pixel + colour] - <f32>127) / <f32>128;
    }
  }
  return Tensor.of<Float32Array>([1, 3, height, width], image).value;
}

function isSpace(byte: u8): bool {
  return byte == 0x20 || (byte >= 9 && byte <= 13);
}

function stop(error: NNError | null): void {
  if (error) fail(error.toString());
}
