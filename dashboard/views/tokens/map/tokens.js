// What the server sends, read into arrays. The buffer holds every token of the pair; which of them are drawn and lit
// comes apart from it, in a few bytes, so that a change of alpha or of the filter does not send the tokens again.

const ARRAY_TYPES = { i4: Int32Array, f4: Float32Array };

function readHeader(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return { ...header, end: 4 + length };
}

function unpackTokens(bytes) {
  const header = readHeader(bytes);
  // The message's own buffer starts anywhere; typed arrays need a multiple of four.
  const buffer = bytes.slice(header.end).buffer;
  const tokens = { rows: header.rows, width: header.width, signature: header.signature, values: {}, labels: [] };
  for (const [name, place] of Object.entries(header.arrays)) {
    if (place.type === "text") {
      tokens.labels = new TextDecoder().decode(new Uint8Array(buffer, place.start, place.bytes)).split("\n");
    } else {
      const Kind = ARRAY_TYPES[place.type];
      tokens.values[name] = new Kind(buffer, place.start, place.bytes / Kind.BYTES_PER_ELEMENT);
    }
  }
  const ids = tokens.values.token_id;
  tokens.rowOfId = new Int32Array(ids.reduce((largest, id) => Math.max(largest, id), -1) + 1).fill(-1);
  ids.forEach((id, row) => { tokens.rowOfId[id] = row; });
  return tokens;
}

// One bit a row, the first row in the highest bit of the first byte, as numpy.packbits writes it.
function unpackMask(text, rows) {
  const packed = atob(text);
  const mask = new Uint8Array(rows);
  for (let row = 0; row < rows; row += 1) mask[row] = (packed.charCodeAt(row >> 3) >> (7 - (row & 7))) & 1;
  return mask;
}

function readValue(tokens, name, row) {
  if (name === "statistic") return tokens.values.count[row] / tokens.width;
  if (name === "rank") return row + 1;
  return tokens.values[name][row];
}

// Rows are sorted by count, largest first: how many have at least this count.
function countRowsFrom(tokens, leastCount) {
  const counts = tokens.values.count;
  let low = 0;
  let high = tokens.rows;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (counts[middle] >= leastCount) low = middle + 1;
    else high = middle;
  }
  return low;
}
