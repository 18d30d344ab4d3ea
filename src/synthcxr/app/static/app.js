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

function show(card, job) {
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
  for (const line of job.lines) { log.textContent += line.text + "\n"; card.lastLine = line.number; }
  if (job.lines.length) log.scrollTop = log.scrollHeight;
  const forming = card.querySelector(".forming");
  if (job.state === "running" && ["generate", "edit"].includes(job.verb)) {
    const next = new Image();
    next.onload = () => { forming.src = next.src; forming.hidden = false; };
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
  if (["waiting", "running"].includes(card.dataset.state)) keepFollowing(card);
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
    if (sent && !error.textContent) location.search = `?source_path=uploads/${batch}`;
  };
  input.addEventListener("change", () => send([...input.files]));
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); send([...event.dataTransfer.files]); });
}

// --- pictures ---

for (const gallery of document.querySelectorAll("[data-gallery]")) {
  const viewer = document.getElementById("viewer");
  const [picture, caption, making] = ["img", ".caption", ".log"].map((name) => viewer.querySelector(name));
  const thumbs = [...gallery.querySelectorAll(".thumb")];
  let at = 0;
  const look = async (index) => {
    at = (index + thumbs.length) % thumbs.length;
    const { path } = thumbs[at].dataset;
    const place = `${gallery.dataset.base}/${path.split("/").map(encodeURIComponent).join("/")}`;
    picture.src = `/picture/${place}`;
    picture.alt = caption.textContent = thumbs[at].querySelector("img").alt;
    making.textContent = "";
    if (!viewer.open) viewer.showModal();
    if (gallery.classList.contains("synthetic")) making.textContent = await ask(`/provenance/${place}`).then((made) => JSON.stringify(made, null, 2), (problem) => problem.message);
  };
  thumbs.forEach((thumb, index) => thumb.addEventListener("click", () => look(index)));
  viewer.addEventListener("keydown", (event) => { const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]; if (step) look(at + step); });
}

for (const button of document.querySelectorAll("[data-remove]")) {
  button.addEventListener("click", async () => {
    if (!confirm(button.dataset.words)) return;
    await post(button.dataset.remove).then(() => { location.href = "/"; }, (problem) => alert(problem.message));
  });
}
