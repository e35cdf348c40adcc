// Puts files into one zip archive without packing them, which pictures are already. The layout is that of PKWARE's
// APPNOTE.TXT, sections 4.3.7 (a file), 4.3.12 (the directory) and 4.3.16 (its end).
"use strict";

const CRC_TABLE = Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest >>> 0;
});

function computeChecksum(bytes) {
  let rest = 0xffffffff;
  for (const byte of bytes) rest = CRC_TABLE[(rest ^ byte) & 0xff] ^ (rest >>> 8);
  return (rest ^ 0xffffffff) >>> 0;
}

// Numbers of two and four bytes, least byte first: [value, size] each.
function writeNumbers(numbers) {
  const bytes = [];
  for (const [value, size] of numbers) {
    for (let place = 0; place < size; place++) bytes.push(Math.floor(value / 256 ** place) % 256);
  }
  return Uint8Array.from(bytes);
}

// files: [{ name, bytes }] -> a Blob. Names are UTF-8; the moment is the local time, which zip keeps in steps of 2 s.
function buildZip(files, moment = new Date()) {
  const time = (moment.getHours() << 11) | (moment.getMinutes() << 5) | (moment.getSeconds() >> 1);
  const date = ((moment.getFullYear() - 1980) << 9) | ((moment.getMonth() + 1) << 5) | moment.getDate();
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, bytes } of files) {
    const encoded = new TextEncoder().encode(name);
    // Version 2.0, names in UTF-8, stored as they are; then the moment, the checksum and both sizes.
    const shared = [
      [20, 2], [0x0800, 2], [0, 2], [time, 2], [date, 2],
      [computeChecksum(bytes), 4], [bytes.length, 4], [bytes.length, 4], [encoded.length, 2], [0, 2],
    ];
    const head = writeNumbers([[0x04034b50, 4], ...shared]);
    parts.push(head, encoded, bytes);
    directory.push(
      writeNumbers([[0x02014b50, 4], [20, 2], ...shared, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]]),
      encoded,
    );
    offset += head.length + encoded.length + bytes.length;
  }
  const size = directory.reduce((sum, piece) => sum + piece.length, 0);
  const end = [
    [0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [size, 4], [offset, 4], [0, 2],
  ];
  return new Blob([...parts, ...directory, writeNumbers(end)], { type: "application/zip" });
}
