// POST /predict with progress both ways: XMLHttpRequest, since fetch does not report upload progress.

/** Send a form; the answer comes as lines of JSON, one a step. Returns the request, which can be aborted. */
export function send(fields, address, { sending, working, told, failed, ended }) {
  const request = new XMLHttpRequest();
  let read = 0;
  let done = false;

  const finish = (tell, value) => {
    if (done) return;
    done = true;
    ended();
    tell(value);
  };
  const take = (line) => {
    if (!line.trim()) return;
    const step = JSON.parse(line);
    if (step.error) finish(failed, step.error);
    else if (step.result) finish(told, step.result);
    else if (!done) working(step);
  };
  const takeLines = () => {
    if (request.status !== 200) return;
    const end = request.responseText.lastIndexOf("\n") + 1;
    const lines = request.responseText.slice(read, end).split("\n");
    read = end;
    lines.forEach(take);
  };

  request.open("POST", address);
  request.setRequestHeader("Accept", "application/x-ndjson");
  request.upload.addEventListener("progress", (event) => !done && event.lengthComputable && sending(event.loaded / event.total));
  request.addEventListener("progress", takeLines);
  request.addEventListener("load", () => {
    takeLines();
    finish(failed, messageOf(request));
  });
  request.addEventListener("error", () => finish(failed, "The server does not answer or closed the connection. Is it still running?"));
  request.addEventListener("abort", () => { done = true; ended(); });
  request.send(fields);
  return request;
}

function messageOf(request) {
  try {
    return JSON.parse(request.responseText).error;
  } catch {
    return `The server answered ${request.status} without a result.`;
  }
}
