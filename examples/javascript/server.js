// An http server in the terms of the web: a `fetch` event brings a Request and wants a Response.
//
// Not a framework, and no Node.js: what is here is what browsers have, Request, Response, URL, fetch.

// Counts within an instance; each request has one of its own unless the pod says otherwise.
let visitors = 0;

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const url = new URL(request.url);
  visitors += 1;
  console.log(`${request.method} ${url.pathname}`);
  const text = url.searchParams.get("text") ?? "";
  switch (url.pathname) {
    case "/slug":
      return json({ text, slug: slug(text), visitors });
    case "/twice":
      return twice(url.host, text);
    case "/count":
      return count(request);
    default:
      return json({ error: `there is no ${url.pathname}` }, 404);
  }
}

// What stands for a text in an address.
function slug(text) {
  return text.toLowerCase().split(/[^a-z0-9]+/).filter(Boolean).join("-");
}

// Asks this server over localhost, by wasi:http as well, and gives back what it says.
async function twice(host, text) {
  const address = `http://localhost:${host.split(":")[1]}/slug?text=`;
  const first = await (await fetch(address + encodeURIComponent(text))).json();
  const second = await (await fetch(address + encodeURIComponent(first.slug))).json();
  return json({ first: first.slug, second: second.slug, same: first.slug === second.slug });
}

// Counts what is sent while it arrives, so that no body is too large.
async function count(request) {
  let bytes = 0;
  let lines = 0;
  if (request.body) {
    const reader = request.body.getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      bytes += read.value.length;
      lines += read.value.reduce((lines, byte) => lines + (byte === 10), 0);
    }
  }
  return json({ bytes, lines });
}

function json(value, status = 200) {
  const headers = { "content-type": "application/json" };
  return new Response(`${JSON.stringify(value)}\n`, { status, headers });
}
