// Requests to the server: JSON, and maps of numbers as zlib data with their size in headers.

export class ApiError extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ApiError(0, "no answer: is promptseg app still running?");
  }
  if (response.ok) return response;
  const content = await response.json().catch(() => ({}));
  throw new ApiError(response.status, content.detail ?? response.statusText);
}

export const query = (path, values) => `${path}?${new URLSearchParams(values)}`;

const match = (version) => (version === undefined ? {} : { "If-Match": `"${version}"` });

export const getJson = async (path) => (await request(path)).json();

export async function send(method, path, body, version) {
  const headers = { "Content-Type": "application/json", ...match(version) };
  return (await request(path, { method, headers, body: JSON.stringify(body ?? {}) })).json();
}

async function piped(bytes, stream) {
  const through = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(through).arrayBuffer());
}

async function unpacked(response, Kind) {
  const bytes = await piped(await response.arrayBuffer(), new DecompressionStream("deflate"));
  return { values: new Kind(bytes.buffer), headers: response.headers };
}

// A map of the photo: {values, headers}.
export const getMap = async (path, Kind = Uint8Array) => unpacked(await request(path), Kind);

export async function postForMap(path, body) {
  const headers = { "Content-Type": "application/json" };
  return unpacked(await request(path, { method: "POST", headers, body: JSON.stringify(body) }), Uint8Array);
}

export async function putLabels(path, labels, version) {
  const body = await piped(labels, new CompressionStream("deflate"));
  return (await request(path, { method: "PUT", headers: match(version), body })).json();
}

export async function getPicture(path) {
  return createImageBitmap(await (await request(path)).blob());
}
