// Files that a visitor chooses, drops or pastes; a dropped folder gives the files in it.

/** The files of a drop, those in folders included. Call it in the event's handler: browsers empty the list afterwards. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const files = [];
  for (const entry of entries) await walk(entry, files);
  return files;
}

async function walk(entry, files) {
  if (entry.isFile) {
    files.push(await new Promise((done, failed) => entry.file(done, failed)));
    return;
  }
  const reader = entry.createReader();
  for (;;) { // a reader gives at most 100 entries at a time
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return;
    for (const one of some) await walk(one, files);
  }
}

/** The files whose names end like a video's. */
export const videosAmong = (files, suffixes) => files.filter((file) => suffixes.some((suffix) => file.name.toLowerCase().endsWith(suffix)));
