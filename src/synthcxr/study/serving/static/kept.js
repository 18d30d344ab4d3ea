// The answer that waits to be sent. It lies on this machine's disk before the page goes on: what localStorage takes
// reaches the disk only seconds later, and a browser that is killed before has lost it.

const TABLE = "answers";

function openDatabase() {
  return new Promise((done, failed) => {
    const request = indexedDB.open("synthcxr", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE);
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
}

export class Kept {
  // `name` tells readings and readers apart. All windows of a browser share what is kept.
  constructor(name) {
    this.name = name;
    this.value = null;
    this.database = openDatabase().catch(() => null); // where the browser lets nothing be kept, this page holds it
  }

  // What is kept, also by another window or before a crash.
  async load() {
    const found = await this.run("readonly", (table) => table.get(this.name));
    if (found !== undefined) this.value = found.result ?? null;
  }

  // On the disk when this is done.
  async put(value) {
    this.value = value;
    await this.run("readwrite", (table) => table.put(value, this.name));
  }

  // Forget an answer, unless another one was put in its place.
  async remove(nonce) {
    if (this.value?.nonce === nonce) this.value = null;
    await this.run("readwrite", (table) => {
      const request = table.get(this.name);
      request.onsuccess = () => { if (request.result?.nonce === nonce) table.delete(this.name); };
      return request;
    });
  }

  // One transaction, forced to the disk; undefined where nothing can be kept.
  async run(mode, action) {
    const database = await this.database;
    if (!database) return undefined;
    return new Promise((done) => {
      try {
        const transaction = database.transaction(TABLE, mode, { durability: "strict" });
        const request = action(transaction.objectStore(TABLE));
        transaction.oncomplete = () => done(request);
        transaction.onabort = () => done(undefined);
      } catch { done(undefined); }
    });
  }
}
