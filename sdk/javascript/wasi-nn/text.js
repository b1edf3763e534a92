// Texts as UTF-8, also where there is no TextEncoder.

/** The bytes of a text. */
export function encode(text) {
  if (typeof TextEncoder === 'function') return new TextEncoder().encode(text);
  return Uint8Array.from(unescape(encodeURIComponent(wellFormed(text))), (byte) => byte.charCodeAt(0));
}

/** The text of bytes. What isn't UTF-8 becomes U+FFFD. */
export function decode(bytes) {
  if (typeof TextDecoder === 'function') return new TextDecoder().decode(bytes);
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const length = lengthAt(bytes, at);
    text += length ? one(bytes.subarray(at, at + length)) : '\ufffd';
    at += length || 1;
  }
  return text;
}

function wellFormed(text) {
  return String(text).replace(/[\ud800-\udfff]/gu, '\ufffd');
}

function one(bytes) {
  if (bytes.length === 1) return String.fromCharCode(bytes[0]);
  let point = bytes[0] & (0x7f >> bytes.length);
  for (const byte of bytes.subarray(1)) point = (point << 6) | (byte & 0x3f);
  return String.fromCodePoint(point);
}

/** The number of bytes of the character at a place; 0 if it is none. */
function lengthAt(bytes, at) {
  const first = bytes[at];
  if (first < 0x80) return 1;
  const length = first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
  if (at + length > bytes.length) return 0;
  for (let next = 1; next < length; next++) if ((bytes[at + next] & 0xc0) !== 0x80) return 0;
  const second = bytes[at + 1];
  const tooLong = (first === 0xe0 && second < 0xa0) || (first === 0xf0 && second < 0x90);
  const tooGreat = (first === 0xed && second > 0x9f) || (first === 0xf4 && second > 0x8f);
  return tooLong || tooGreat ? 0 : length;
}
