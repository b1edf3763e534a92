// Requests to the server. The token is in the memory of this page only.

let token = "";

export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export function useToken(text) {
  token = text;
}

// The path of a model. Its name may have slashes and anything else.
export function modelPath(name) {
  return `v2/models/${encodeURIComponent(name)}`;
}

export async function ask(path, settings = {}) {
  const headers = new Headers(settings.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  let response;
  try {
    response = await fetch(path, { ...settings, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server can't be reached.", 0);
  }
  if (response.ok) return response;
  throw new ServerError(await reason(response), response.status);
}

async function reason(response) {
  const text = (await response.text()).slice(0, 4000);
  try {
    const { error } = JSON.parse(text);
    return String(typeof error === "object" ? error.message : error);
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}

export async function askJson(path, settings) {
  return (await ask(path, settings)).json();
}

export function post(content) {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) };
}

// The data of each event of a stream, as objects.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      yield JSON.parse(line.slice(6));
    }
  }
}
