// The pages' script: forms become jobs, jobs show how far they are, files are sent, pictures are looked at.

const POLL_MS = 700;
const WORDS = { waiting: "waits", running: "runs", done: "done", failed: "failed", cancelled: "stopped" };

async function ask(address, body) {
  const answer = await fetch(address, body === undefined ? {} : { method: "POST", ...body });
  const content = (answer.headers.get("content-type") || "").includes("json") ? await answer.json() : { error: await answer.text() };
  if (!answer.ok) throw new Error(content.error || "The app did not answer. Is it still running?");
  return content;
}

const post = (address, content = {}) =>
  ask(address, { headers: { "content-type": "application/json" }, body: JSON.stringify(content) });

// --- forms ---

function values(form) {
  const found = {};
  for (const input of form.querySelectorAll("[name]")) {
    if (input.type === "checkbox") { if (input.checked !== input.defaultChecked) found[input.name] = input.checked; continue; }
    if (input.multiple) { const chosen = [...input.selectedOptions].map((one) => one.value); if (chosen.length) found[input.name] = chosen; continue; }
    if (input.value === "") continue;
    found[input.name] = "list" in input.dataset ? input.value.split(",").map((one) => one.trim()).filter(Boolean) : input.value;
  }
  return found;
}

for (const form of document.querySelectorAll("form[data-verb]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const [error, button] = [form.querySelector(".error"), form.querySelector("button.main")];
    error.textContent = "";
    button.disabled = true;
    try {
      await post("/jobs", { verb: form.dataset.verb, name: form.querySelector("[data-name]").value, values: values(form) });
      location.reload();
    } catch (problem) {
      error.textContent = problem.message;
      button.disabled = false;
    }
  });
}

// --- jobs ---

function clock(seconds) {
  const whole = Math.round(seconds);
  return whole < 90 ? `${whole} s` : whole < 5400 ? `${Math.round(whole / 60)} min` : `${(whole / 3600).toFixed(1)} h`;
}

function tell(job) {
  if (job.message) return job.message;
  if (job.state === "running") {
    const count = job.total ? `${job.done} of ${job.total}` : "";
    const left = job.seconds_left === null ? "" : `, about ${clock(job.seconds_left)} left`;
    return job.cancelling ? "It is being stopped …" : [job.doing, count].filter(Boolean).join(": ") + left;
  }
  return job.state === "done" ? `It took ${clock(job.seconds)}.` : "";
}

async function refresh() {
  // What a job has just made is listed without a reload, which would empty a form that somebody fills in.
  const here = document.querySelector("[data-here]");
  if (!here) return;
  const fresh = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
  here.replaceChildren(...fresh.querySelector("[data-here]").childNodes);
}

function show(card, job) {
  if (job.state === "done" && card.dataset.state === "running") refresh();
  card.className = `job ${job.state}`;
  card.dataset.state = job.state;
  card.querySelector("[data-shown-state]").textContent = WORDS[job.state];
  card.querySelector("[data-doing]").textContent = tell(job);
  const bar = card.querySelector("progress");
  bar.hidden = job.state !== "running";
  bar.max = job.total || 1;
  bar.value = job.done;
  const open = { cancel: ["waiting", "running"], retry: ["failed", "cancelled"], forget: ["done", "failed", "cancelled"] };
  for (const [act, states] of Object.entries(open)) card.querySelector(`[data-act=${act}]`).hidden = !states.includes(job.state);
  const [link, name] = [card.querySelector("[data-out]"), card.querySelector("[data-out-name]")];
  if (link) { link.hidden = job.state !== "done"; name.hidden = job.state === "done"; }
  const log = card.querySelector(".log");
  if (job.lines.length) card.querySelector("[data-said]").textContent = job.lines.at(-1).text;
  card.querySelector("[data-said]").hidden = job.state !== "running";
  for (const line of job.lines) { log.textContent += line.text + "\n"; card.lastLine = line.number; }
  if (job.lines.length) log.scrollTop = log.scrollHeight;
  const curve = card.querySelector(".curve");
  curve.hidden = !job.curve;
  curve.innerHTML = job.curve; // drawn by the server out of numbers alone
  const strip = card.querySelector(".strip");
  strip.hidden = !job.pictures.length;
  if (strip.dataset.of !== String(job.pictures)) {
    strip.dataset.of = String(job.pictures);
    strip.replaceChildren(...job.pictures.map((path) => Object.assign(new Image(), { src: `/picture/${path}?side=${job.verb === "train" ? 900 : 160}`, alt: "Synthetic image" })));
    strip.classList.toggle("synthetic", job.synthetic);
  }
  const forming = card.querySelector(".forming");
  if (job.state === "running" && ["generate", "edit"].includes(job.verb)) {
    const next = new Image();
    next.onload = () => { if (!next.width) return; forming.src = next.src; forming.hidden = false; };
    next.src = `/jobs/${job.id}.png?${Date.now()}`;
  } else forming.hidden = true;
}

async function follow(card) {
  const over = () => ["done", "failed", "cancelled"].includes(card.dataset.state);
  const logs = card.querySelector("details");
  do {
    try {
      show(card, await ask(`/jobs/${card.dataset.job}.json?after=${card.lastLine || 0}`));
    } catch { card.querySelector("[data-doing]").textContent = "The app does not answer; it is tried again."; }
    await new Promise((done) => setTimeout(done, document.hidden ? 4 * POLL_MS : POLL_MS));
  } while (card.isConnected && (!over() || logs.open));
  card.followed = false;
}

function keepFollowing(card) {
  if (card.followed) return;
  card.followed = true;
  follow(card);
}

for (const card of document.querySelectorAll("[data-job]")) {
  keepFollowing(card); // once, where it is over
  card.querySelector("details").addEventListener("toggle", () => keepFollowing(card));
  card.addEventListener("click", async (event) => {
    const { act, copy } = event.target.dataset;
    if (copy) {
      await navigator.clipboard.writeText(copy).then(() => { event.target.textContent = "Copied"; }, () => { prompt("The command:", copy); });
    } else if (act) {
      await post(`/jobs/${card.dataset.job}/${act}`).catch((problem) => { card.querySelector("[data-doing]").textContent = problem.message; });
      if (act === "forget") card.remove();
      else { card.dataset.state = "waiting"; keepFollowing(card); }
    }
  });
}

// --- uploads ---

for (const section of document.querySelectorAll("[data-upload]")) {
  const [drop, input, doing, error] = [".drop", "input", ".doing", ".error"].map((name) => section.querySelector(name));
  const send = async (files) => {
    const batch = `upload-${new Date().toISOString().slice(0, 19).replace(/[^0-9]/g, "")}`;
    error.textContent = "";
    let sent = 0;
    for (const file of files) {
      doing.textContent = `${sent} of ${files.length} files sent …`;
      try { await ask(`/uploads/${batch}/${encodeURIComponent(file.name)}`, { body: file }); sent += 1; } catch (problem) { error.textContent += `${problem.message}\n`; }
    }
    doing.textContent = `${sent} of ${files.length} files are here.`;
    if (sent && !error.textContent) location.search = `?source_path=uploads/${batch}&folder=uploads/${batch}`;
  };
  input.addEventListener("change", () => send([...input.files]));
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); send([...event.dataTransfer.files]); });
}

// --- pictures ---

const placed = (base, path) => `${base}/${path.split("/").map(encodeURIComponent).join("/")}`;

for (const gallery of document.querySelectorAll("[data-gallery]")) {
  const viewer = document.getElementById("viewer");
  const [shown, before, boxes, cut, caption, making, vary, found] =
    [".shown", ".before", ".boxes", ".cut", ".caption", ".log", "[data-vary]", "[data-found]"].map((name) => viewer.querySelector(name));
  const thumbs = [...gallery.querySelectorAll(".thumb")];
  const { base, shelf } = gallery.dataset;
  let at = 0;

  const offer = (place, made) => {
    const again = new URLSearchParams({ prompt: made.text ?? "", seed: made.seed ?? 0 });
    vary.hidden = false;
    vary.querySelector("[data-again]").href = `/generate?${again}`;
    vary.querySelector("[data-edit]").href = `/edit?${new URLSearchParams({ image: place, prompt: made.text ?? "" })}`;
    vary.querySelector("[data-save]").href = `/picture/${place}`;
    vary.querySelector("[data-vary-now]").onclick = async () => {
      const values = { image: place, prompt: made.text || "Chest X-ray.", strength: 0.5, count: 4, seed: Math.floor(Math.random() * 2 ** 31) };
      try { await post("/jobs", { verb: "edit", name: `vary-${Date.now().toString(36)}`, values }); location.href = "/edit"; } catch (problem) { making.textContent = problem.message; }
    };
  };

  const compare = async (path) => {
    const proof = await ask(`/proof/${placed(base.split("/")[1], path)}`).catch(() => null);
    before.hidden = cut.hidden = found.hidden = !(proof && proof.before);
    boxes.replaceChildren();
    if (!proof) return;
    making.textContent = JSON.stringify(proof, null, 2);
    if (proof.before) before.src = `/picture/${placed("", proof.before).slice(1)}`;
    const size = await new Promise((done) => { const seen = () => done([shown.naturalWidth, shown.naturalHeight]); shown.complete ? seen() : (shown.onload = seen); });
    const centres = proof.boxes.map((box) => box.polygon.reduce(([x, y], [u, v]) => [x + u / 4, y + v / 4], [0, 0]));
    found.replaceChildren(Object.assign(document.createElement("p"), { textContent: proof.boxes.length ? "Text that was found; untick what is to stay, and clean again." : "No text was found." }));
    proof.boxes.forEach((box, index) => {
      const xs = box.polygon.map(([x]) => x), ys = box.polygon.map(([, y]) => y);
      const mark = document.createElement("span");
      mark.style.left = `${(100 * Math.min(...xs)) / size[0]}%`;
      mark.style.top = `${(100 * Math.min(...ys)) / size[1]}%`;
      mark.style.width = `${(100 * (Math.max(...xs) - Math.min(...xs))) / size[0]}%`;
      mark.style.height = `${(100 * (Math.max(...ys) - Math.min(...ys))) / size[1]}%`;
      boxes.append(mark);
      const label = document.createElement("label"), tick = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
      tick.dataset.point = centres[index].map((value) => value.toFixed(1)).join(",");
      label.append(tick, ` ${box.text || "?"}`);
      found.append(label);
    });
    if (proof.boxes.length) {
      const button = Object.assign(document.createElement("button"), { type: "submit", textContent: "Clean again without these" });
      found.append(button);
      found.onsubmit = async (event) => {
        event.preventDefault();
        const leave = [...found.querySelectorAll("input:not(:checked)")].map((tick) => `${proof.file_name}=${tick.dataset.point}`);
        const again = await post("/jobs", { verb: "clean", name: `cleaned-${Date.now().toString(36)}`, values: { folder: proof.before.split("/").slice(0, 2).join("/"), leave } }).catch((problem) => { making.textContent = problem.message; });
        if (again) location.href = "/clean";
      };
    }
  };

  const look = async (index) => {
    at = (index + thumbs.length) % thumbs.length;
    const { path } = thumbs[at].dataset;
    const place = placed(base, path);
    shown.src = `/picture/${place}`;
    shown.alt = caption.textContent = thumbs[at].querySelector("img").alt;
    making.textContent = "";
    if (!viewer.open) viewer.showModal();
    if (shelf === "cleaned") await compare(path);
    if (gallery.classList.contains("synthetic")) {
      const made = await ask(`/provenance/${place}`).catch(() => ({ text: caption.textContent }));
      if (!making.textContent) making.textContent = JSON.stringify(made, null, 2);
      offer(`${base}/${path}`, made);
    } else if (shelf === "uploads" || shelf === "datasets") offer(`${base}/${path}`, { text: shelf === "datasets" ? caption.textContent : "" });
  };
  thumbs.forEach((thumb, index) => thumb.addEventListener("click", () => look(index)));
  viewer.addEventListener("keydown", (event) => {
    const step = event.target.type === "range" ? 0 : { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) look(at + step);
  });
  cut.querySelector("input").addEventListener("input", (event) => { before.style.clipPath = `inset(0 ${100 - event.target.value}% 0 0)`; });
}

for (const canvas of document.querySelectorAll("[data-box-on]")) {
  const [image, box, field] = [canvas.querySelector("img"), canvas.querySelector(".box"), document.getElementById(canvas.dataset.boxOn)];
  const point = (event) => {
    const edge = image.getBoundingClientRect();
    return [(event.clientX - edge.left) / edge.width, (event.clientY - edge.top) / edge.height].map((part) => Math.min(1, Math.max(0, part)));
  };
  let start = null;
  canvas.addEventListener("pointerdown", (event) => { start = point(event); canvas.setPointerCapture(event.pointerId); event.preventDefault(); });
  canvas.addEventListener("pointermove", (event) => {
    if (!start) return;
    const end = point(event), [left, top] = [0, 1].map((axis) => Math.min(start[axis], end[axis]));
    const [width, height] = [0, 1].map((axis) => Math.abs(start[axis] - end[axis]));
    Object.assign(box.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * width}%`, height: `${100 * height}%` });
    box.hidden = false;
    const [w, h] = [image.naturalWidth, image.naturalHeight];
    field.value = width * w >= 1 && height * h >= 1 ? [left * w, top * h, width * w, height * h].map(Math.floor).join(",") : "";
  });
  canvas.addEventListener("pointerup", () => { start = null; });
}

// --- prompts from parts ---

for (const builder of document.querySelectorAll("[data-builder]")) {
  let asked = 0;
  builder.addEventListener("change", async () => {
    const mine = (asked += 1);
    const parts = new URLSearchParams();
    for (const part of builder.querySelectorAll("[data-part]")) {
      if (part.type === "checkbox" ? part.checked : part.value !== "") parts.append(part.dataset.part, part.value);
    }
    const { prompt } = await ask(`/prompt?${parts}`);
    if (mine === asked) document.getElementById("f-prompt").value = prompt; // answers may overtake each other
  });
}

// --- studies ---

for (const section of document.querySelectorAll("[data-study]")) {
  const { study } = section.dataset;
  const [progress, links, error] = [".progress", ".links", ".error"].map((name) => section.querySelector(name));
  const fail = (problem) => { error.textContent = problem.message; };
  const lines = (rows) => { const list = document.createElement("ul"); list.append(...rows.map((text) => Object.assign(document.createElement("li"), { textContent: text }))); return list; };
  const look = async () => {
    try {
      const state = await ask(`/study/${study}/progress.json`);
      progress.replaceChildren(state.readers.length ? lines(state.readers.map((one) => `${one.reader}: ${one.answered} of ${one.total}${one.right === undefined ? "" : `, ${one.right} of ${one.asked} right`}`)) : "This study names no readers.");
    } catch (problem) { fail(problem); return; }
    setTimeout(look, 4000);
  };
  look();
  section.querySelector("[data-links]").addEventListener("click", async () => {
    if (!confirm("Links that were given out before will open nothing any more. Make new ones?")) return;
    try {
      const made = await post(`/study/${study}/links`);
      const rows = [...Object.entries(made.readers), ["(owner)", made.owner]].map(([who, path]) => {
        const item = document.createElement("li"), link = document.createElement("a");
        link.href = path;
        link.textContent = new URL(path, location.href).href;
        item.append(`${who}: `, link);
        return item;
      });
      const list = document.createElement("ul");
      list.append(...rows);
      links.replaceChildren("They are secrets, and are shown this once. Give each reader theirs alone.", list);
    } catch (problem) { fail(problem); }
  });
  section.querySelector("[data-analyze]").addEventListener("click", async () => {
    await post("/jobs", { verb: "study analyze", name: `${study}-${Date.now().toString(36)}`.slice(0, 64), values: { study: `studies/${study}` } }).then(() => { location.href = "/jobs"; }, fail);
  });
}

for (const button of document.querySelectorAll("[data-remove]")) {
  button.addEventListener("click", async () => {
    if (!confirm(button.dataset.words)) return;
    await post(button.dataset.remove).then(() => { location.href = "/"; }, (problem) => alert(problem.message));
  });
}
