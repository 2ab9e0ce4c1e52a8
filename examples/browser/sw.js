// Keeps the whole page, so that it works without a network once it was loaded.
// `build.py` puts two lines on top: VERSION, a new one for each build, and FILES.
const NAME = "keras_ram look "; // other pages of this host have caches as well

self.addEventListener("install", (event) => event.waitUntil(keep()));

async function keep() {
  const cache = await caches.open(NAME + VERSION);
  await cache.addAll(FILES.map((file) => new Request(file, { cache: "no-cache" })));
  await self.skipWaiting();
}

self.addEventListener("activate", (event) => event.waitUntil(replaceOlder()));

async function replaceOlder() {
  for (const name of await caches.keys())
    if (name.startsWith(NAME) && name !== NAME + VERSION) await caches.delete(name);
  await self.clients.claim();
}

self.addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const cache = await caches.open(NAME + VERSION);
  return (await cache.match(request, { ignoreSearch: true })) ?? fetch(request);
}
