// POST /predict with progress both ways: XMLHttpRequest, since fetch does not report upload progress.

const BUSY = 503;
const MOST_TRIES = 60; // of a request that a full server refuses

/**
 * Send a form; the answer comes as lines of JSON, one a step. A full server is asked again after the time that it names.
 * Returns an object with `abort()`, after which nothing is called.
 */
export function send(fields, address, { sending, working, waiting, succeeded, failed, ended }) {
  let tries = 0;
  let request = null;
  let timer = null;
  let done = false;

  const finish = (tell, ...values) => {
    if (done) return;
    done = true;
    ended();
    tell(...values);
  };
  const attempt = () => {
    tries += 1;
    request = once(fields, address, {
      sending: (share) => !done && sending(share),
      take: (step) => {
        if (step.error) finish(failed, step.error);
        else if (step.result) finish(succeeded, step.result);
        else if (!done) working(step);
      },
      refused: (status, message, after) => {
        if (done) return;
        if (status !== BUSY || tries >= MOST_TRIES) finish(failed, message);
        else count(after);
      },
    });
  };
  const count = (seconds) => {
    if (seconds <= 0) {
      attempt();
      return;
    }
    waiting(seconds);
    timer = setTimeout(() => count(seconds - 1), 1000);
  };

  attempt();
  return { abort: () => { if (!done) { done = true; clearTimeout(timer); request.abort(); ended(); } } };
}

function once(fields, address, { sending, take, refused }) {
  const request = new XMLHttpRequest();
  let read = 0;
  const takeLines = () => {
    if (request.status !== 200) return;
    const end = request.responseText.lastIndexOf("\n") + 1;
    const lines = request.responseText.slice(read, end).split("\n");
    read = end;
    lines.filter((line) => line.trim()).forEach((line) => take(JSON.parse(line)));
  };
  request.open("POST", address);
  request.setRequestHeader("Accept", "application/x-ndjson");
  request.upload.addEventListener("progress", (event) => event.lengthComputable && sending(event.loaded / event.total));
  request.addEventListener("progress", takeLines);
  request.addEventListener("load", () => {
    takeLines();
    refused(request.status, messageOf(request), Number(request.getResponseHeader("Retry-After")) || 5);
  });
  request.addEventListener("error", () => refused(0, "The connection to the server was lost. Your video is still here: try again."));
  request.send(fields);
  return request;
}

function messageOf(request) {
  try {
    return JSON.parse(request.responseText).error;
  } catch {
    return "The server ended the connection without an answer. Your video is still here: try again.";
  }
}
