// The owner's page: who is how far. Results come from the server only when they may be seen.
const base = location.pathname.replace(/\/+$/, "");
const find = (id) => document.getElementById(id);

function cell(row, text, kind = "td") {
  const made = document.createElement(kind);
  made.textContent = text;
  if (kind === "th") made.scope = "row";
  row.append(made);
}

function show(progress) {
  find("title").textContent = progress.title;
  const ready = progress.readers.filter((reader) => reader.answered === reader.total).length;
  let state = `${ready} of ${progress.readers.length} readers are done.`;
  if (progress.unblinded) state += ` Unblinded ${progress.unblinded.at.slice(0, 16).replace("T", " ")} UTC: ${progress.unblinded.why}`;
  if (find("state").textContent !== state) find("state").textContent = state;
  const open = progress.readers.some((reader) => "right" in reader);
  document.querySelectorAll(".result").forEach((part) => (part.hidden = !open));
  find("unblind").hidden = open;
  find("readers").replaceChildren(...progress.readers.map((reader) => {
    const row = document.createElement("tr");
    cell(row, reader.reader, "th");
    cell(row, `${reader.answered} of ${reader.total}`);
    cell(row, reader.last ? `${reader.last.slice(0, 16).replace("T", " ")} UTC` : "–");
    if (open) cell(row, reader.asked ? `${reader.right} of ${reader.asked}` : "–");
    return row;
  }));
}

async function ask(path, options) {
  const response = await fetch(`${base}/${path}`, options);
  const value = await response.json();
  if (!response.ok) throw new Error(value.sentence);
  return value;
}

async function refresh() {
  try {
    show(await ask("progress"));
  } catch {
    find("state").textContent = "The server cannot be reached just now; this page goes on trying.";
  }
  setTimeout(refresh, 5000);
}

find("unblind").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const headers = { "content-type": "application/json" };
    show(await ask("unblind", { method: "POST", headers, body: JSON.stringify({ why: find("why").value }) }));
  } catch (error) {
    find("message").textContent = error.message;
  }
});

refresh();
