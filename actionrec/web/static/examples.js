// Short programs that predict clip.mp4, in several languages; docs/web.md has longer ones.

/** Titles and texts of the programs, for the server whose `POST /predict` has this address. */
export const examples = (address) => [
  ["curl", `curl -F video=@clip.mp4 -F top=3 ${address}`],
  ["Python", `
import requests

with open("clip.mp4", "rb") as video:
    files, fields = {"video": video}, {"top": 3}
    answer = requests.post("${address}", files=files, data=fields).json()
print(answer.get("headline") or answer["error"])`.trim()],
  ["JavaScript", `
// Node 18 or later; on a page of this server, the video can be the file of an <input>.
import { readFile } from "node:fs/promises";

const form = new FormData();
form.append("video", new Blob([await readFile("clip.mp4")]), "clip.mp4");
form.append("top", 3);
const response = await fetch("${address}", { method: "POST", body: form });
const answer = await response.json();
console.log(answer.headline ?? answer.error);`.trim()],
];
