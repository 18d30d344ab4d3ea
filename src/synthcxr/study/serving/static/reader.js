// The reader's page. An answer is kept in this browser until the server says that it is on its disk.
import { Kept } from "./kept.js";
import { Viewer } from "./viewer.js";

const base = location.pathname.replace(/\/+$/, "");
const find = (id) => document.getElementById(id);
const sleep = (milliseconds) => new Promise((wake) => setTimeout(wake, milliseconds));
const STEPS = ["guess", "unsure", "fairly sure", "sure", "certain"];
const ASKED = {
  "real-or-synthetic": ["Is this image real or synthetic?", [["real", "Real", "A"], ["synthetic", "Synthetic", "S"]]],
  pairwise: ["Which of the two is synthetic?", [["left", "Left", "A"], ["right", "Right", "S"]]],
};
const KEYS = [
  ["A  /  S", "the first or the second answer"], ["1 … 5", "how sure you are; in a rating, the step of the marked item"],
  ["Backspace", "in a rating, back to the item before"], ["Enter", "store the answer and go on"],
  ["C, Esc", "to the comment, and out of it (Ctrl+Enter stores from within)"], ["+  −  wheel  pinch", "zoom"], ["T  /  0", "true pixels; whole image"],
  ["arrows  drag", "move the image"], ["W  Shift+W", "narrower or wider window"], ["L  Shift+L", "lower or higher level"],
  ["right drag", "window (sideways) and level (up and down)"], ["I  /  R", "invert; as at first"], ["P", "pause: the clock stops"],
];

let reading; // what the server said when this page was opened
let question = null;
let answer = {}; // what was chosen so far: answer, confidence, ratings
let current = 0; // quality: the item that a digit rates
let seconds = 0;
let shown = false; // the image is on the screen and waits for an answer
let sending = false;
let goOn = null; // after feedback: to the next question
let images = new Map();
let memory; // half an answer, for a reload
let kept; // a whole one, until the server has it

const viewer = new Viewer(find("panes"), (view) => {
  if (view.panes.length) find("zoom").textContent = `${Math.round(view.scale * 100)} %`;
  find("window").value = view.window;
  find("level").value = view.level;
  find("invert").setAttribute("aria-pressed", String(view.invert));
});

// --- what outlives a reload --------------------------------------------------------------------------------

function makeMemory(name) {
  const key = (part) => `synthcxr/${name}/${part}`;
  const spare = new Map(); // where the browser lets nothing be kept
  return {
    get(part) {
      try { return JSON.parse(localStorage.getItem(key(part))); } catch { return spare.get(part) ?? null; }
    },
    set(part, value) {
      try { localStorage.setItem(key(part), JSON.stringify(value)); } catch { spare.set(part, value); }
    },
    remove(part) {
      try { localStorage.removeItem(key(part)); } catch { spare.delete(part); }
    },
  };
}

function keepDraft() {
  if (shown) memory.set("draft", { position: question.position, answer, seconds, words: words() });
}

// --- the server --------------------------------------------------------------------------------------------

// Ask until the server answers; a lost connection or a server that is starting again only takes longer.
async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  for (let wait = 250; ; wait = Math.min(2 * wait, 4000)) {
    try {
      const response = await fetch(`${base}/${path}`, { ...options, signal: AbortSignal.timeout(15000) });
      if (response.status < 500) {
        const value = response.headers.get("content-type").startsWith("application/json") ? await response.json()
          : new Uint8Array(await response.arrayBuffer());
        connected(true);
        return [response.status, value];
      }
    } catch { /* no connection */ }
    connected(false);
    await Promise.race([sleep(wait), new Promise((wake) => addEventListener("online", wake, { once: true }))]);
  }
}

function connected(yes) {
  find("saved").textContent = yes ? (find("saved").dataset.stored ?? "")
    : kept?.value ? `No connection. Your answer to ${placeName(kept.value.position)} is kept in this browser and is sent as soon as the server can be reached.`
      : "No connection. This page goes on trying.";
}

async function load(position, place) {
  const key = `${position}/${place}`;
  if (!images.has(key)) images.set(key, ask(`image/${key}`));
  const [status, levels] = await images.get(key);
  if (status !== 200) images.delete(key);
  return status === 200 ? levels : null;
}

async function open(note = "") {
  const [status, value] = await ask("open", {});
  if (status === 404) return card("This link opens nothing (any more)", "Ask whoever runs the study for yours.");
  reading = value;
  memory = makeMemory(reading.memory);
  document.title = reading.title;
  find("title").textContent = reading.title;
  kept ??= new Kept(reading.memory);
  await kept.load();
  if (kept.value) return deliver();
  const next = reading.question;
  if (!next) return show(null);
  if (next.position === 1) {
    return card(`Welcome, ${reading.reader}`, `${note && `${note}\n`}${introduction()}`, "Begin", () => show(next));
  }
  return card(`Welcome back, ${reading.reader}`, `${note && `${note}\n`}You go on with ${placeName(next.position)}. All answers before it are stored.`, "Go on", () => show(next));
}

function introduction() {
  const practice = !reading.training ? "" : reading.training === 1 ? "The first is practice. " : `The first ${reading.training} are practice. `;
  return `${reading.total} questions wait for you. ${practice}Judge by the picture alone. You cannot go back to an earlier one.
Each answer is stored as you give it: you may stop at any time and come back by the same link.
Everything can be done by keyboard; ? shows the keys.`;
}

function placeName(position) {
  const { training, total } = reading;
  return position <= training ? `practice ${position} of ${training}` : `question ${position - training} of ${total - training}`;
}

// --- a question --------------------------------------------------------------------------------------------

async function show(next) {
  question = next;
  shown = false;
  viewer.clear();
  find("feedback").hidden = true;
  find("message").textContent = "";
  find("progress").max = reading.total;
  find("progress").value = next ? next.position - 1 : reading.total;
  if (!next) return finish();
  const name = placeName(next.position);
  find("place").textContent = name[0].toUpperCase() + name.slice(1);
  find("training").hidden = !next.training;
  const draft = memory.get("draft");
  const known = draft?.position === next.position ? draft : { answer: {}, seconds: 0, words: [] };
  answer = known.answer;
  seconds = known.seconds;
  showTime();
  buildFields(known.words);
  allow();
  find("waiting").hidden = false;
  const levels = await Promise.all([...Array(next.images).keys()].map((place) => load(next.position, place)));
  if (question !== next) return;
  if (levels.includes(null)) return open(); // answered elsewhere meanwhile
  find("waiting").hidden = true;
  viewer.show(levels, reading.width, reading.height, next.images === 2 ? ["Left", "Right"] : ["X-ray"]);
  shown = true;
  allow();
  find("form").scrollTop = 0;
  if (document.activeElement?.closest("#form")) document.activeElement.blur();
  for (const key of images.keys()) if (Number(key.split("/")[0]) < next.position) images.delete(key);
  for (let place = 0; place < next.following; place++) load(next.position + 1, place);
}

function finish() {
  find("place").textContent = "All answered";
  find("waiting").hidden = true;
  find("fields").replaceChildren();
  allow();
  memory.remove("draft");
  card("All done, thank you", `Your ${reading.total} answers are stored on the server's disk. You may close this page.`);
}

function group(title, name, choices, large = false) {
  const field = document.createElement("fieldset");
  const legend = document.createElement("legend");
  legend.textContent = title;
  const row = document.createElement("div");
  row.className = large ? "choices large" : "choices";
  for (const [value, word, note, key] of choices) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name, value });
    const text = document.createElement("span");
    text.textContent = word;
    if (key) text.append(Object.assign(document.createElement("kbd"), { textContent: key }));
    label.append(input, text);
    if (note) label.append(Object.assign(document.createElement("small"), { textContent: note }));
    row.append(label);
  }
  field.append(legend, row);
  return field;
}

function textField(title, name, value, hint = "") {
  const holder = document.createElement("div");
  const label = Object.assign(document.createElement("label"), { className: "words", htmlFor: name, textContent: title });
  if (hint) label.append(Object.assign(document.createElement("kbd"), { textContent: hint }));
  const area = Object.assign(document.createElement("textarea"), { id: name, rows: 2, maxLength: 2000, value });
  area.dataset.name = title;
  holder.append(label, area);
  return holder;
}

function buildFields(known) {
  const parts = [];
  const free = reading.items.filter((item) => !item.steps.length);
  if (question.kind === "quality") {
    for (const item of reading.items.filter((one) => one.steps.length)) {
      const field = group(item.text || item.name, `item-${item.name}`, item.steps.map((step, index) => [index + 1, index + 1, step]));
      field.classList.add("rating");
      parts.push(field);
    }
  } else {
    const [title, choices] = ASKED[question.kind];
    parts.push(group(title, "answer", choices.map(([value, word, key]) => [value, word, "", key]), true));
    parts.push(group("How sure are you?", "confidence", STEPS.map((step, index) => [index + 1, index + 1, step])));
  }
  const asked = question.kind === "quality" && free.length ? free.map((item) => item.text || item.name) : ["Comment (if you like)"];
  asked.forEach((title, index) => parts.push(textField(title, `words-${index}`, known[index] ?? "", index ? "" : "C")));
  find("fields").replaceChildren(...parts);
  for (const input of find("fields").querySelectorAll("input")) {
    if (input.name === "answer") input.checked = input.value === answer.answer;
    else if (input.name === "confidence") input.checked = Number(input.value) === answer.confidence;
    else input.checked = Number(input.value) === answer.ratings?.[input.name.slice(5)];
  }
  mark(0);
}

function rated() { return question?.kind === "quality" ? reading.items.filter((item) => item.steps.length) : []; }
function words() { return [...find("fields").querySelectorAll("textarea")].map((area) => area.value); }

function mark(index) {
  current = Math.min(Math.max(index, 0), Math.max(0, rated().length - 1));
  find("fields").querySelectorAll("fieldset").forEach((field, place) => field.classList.toggle("current", question.kind === "quality" && place === current));
}

function choose(name, value) {
  const input = [...find("fields").querySelectorAll("input")].find((one) => one.name === name && one.value === String(value));
  if (!input || !shown || sending) return;
  input.checked = true;
  input.scrollIntoView({ block: "nearest" });
  take(input);
}

function take(input) {
  if (input.name === "answer") answer.answer = input.value;
  else if (input.name === "confidence") answer.confidence = Number(input.value);
  else {
    answer.ratings = { ...answer.ratings, [input.name.slice(5)]: Number(input.value) };
    mark(rated().findIndex((item) => `item-${item.name}` === input.name) + 1);
  }
  find("message").textContent = "";
  keepDraft();
}

function missing() {
  if (question.kind === "quality") {
    const open = rated().find((item) => !answer.ratings?.[item.name]);
    return open ? `Please rate: ${open.text || open.name}` : "";
  }
  if (!answer.answer) return question.kind === "pairwise" ? "Please say which one is synthetic." : "Please say whether it is real or synthetic.";
  return answer.confidence ? "" : "Please say how sure you are (1 to 5).";
}

function comment() {
  const areas = [...find("fields").querySelectorAll("textarea")].filter((area) => area.value.trim());
  const several = find("fields").querySelectorAll("textarea").length > 1;
  return areas.map((area) => (several ? `${area.dataset.name}: ${area.value.trim()}` : area.value.trim())).join("\n");
}

async function submit() {
  if (goOn) return goOn();
  if (!shown || sending) return;
  const lacking = missing();
  if (lacking) { find("message").textContent = lacking; return; }
  countTime();
  sending = true;
  allow();
  await kept.put({
    nonce: [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    position: question.position, answer: question.kind === "quality" ? "rated" : answer.answer, confidence: answer.confidence ?? null,
    ratings: answer.ratings ?? {}, comment: comment(), seconds: Math.round(seconds * 100) / 100,
  });
  await deliver();
}

// Send the answer that waits in this browser until the server has it, or says why it will not.
async function deliver() {
  sending = true;
  allow();
  const pending = kept.value;
  const [status, value] = await ask("answer", { session: reading.session, ...pending });
  sending = false;
  if (status === 409 && value.error === "elsewhere") return elsewhere();
  if (status === 404) return card("This link opens nothing any more", "Newer links were made. Open yours in this browser: your last answer is kept here and is sent then.");
  await kept.remove(pending.nonce);
  if (status !== 200) return open(value.sentence ?? "The server refused the answer.");
  memory.remove("draft");
  find("saved").dataset.stored = `Stored: ${placeName(value.stored)}.`;
  connected(true);
  const next = value.question;
  if (value.feedback && question) return feedback(value.feedback, next);
  if (question || !next) return show(next);
  card(`Welcome back, ${reading.reader}`, `Your answer to ${placeName(value.stored)} is stored now. You go on with ${placeName(next.position)}.`, "Go on", () => show(next));
}

function feedback({ right, truth }, next) {
  const told = question.kind === "pairwise" ? `the ${truth} image is synthetic` : `this image is ${truth}`;
  find("feedback").textContent = `${right ? "Right" : "Wrong"}: ${told}.`;
  find("feedback").hidden = false;
  shown = false;
  goOn = () => { goOn = null; show(next); };
  allow();
}

function allow() {
  for (const input of find("fields").querySelectorAll("input, textarea")) input.disabled = !shown || sending;
  find("submit").disabled = !goOn && (!shown || sending);
  find("submit").firstChild.textContent = sending ? "Storing … " : goOn ? "Go on " : "Store and go on ";
}

// --- cards that cover the image ----------------------------------------------------------------------------

function card(title, text, button = "", action = null) {
  document.body.classList.add("covered");
  find("card-title").textContent = title;
  find("card-text").textContent = text;
  find("card-button").hidden = !button;
  find("card-button").textContent = button;
  find("card-button").onclick = () => {
    find("card").close();
    document.body.classList.remove("covered");
    action?.();
  };
  if (!find("card").open) find("card").showModal();
  find("card-button").focus();
}

function pause() {
  if (shown && !find("card").open) card("Paused", "The clock stands still, and the image is hidden.", "Go on");
}

function elsewhere() {
  shown = false;
  goOn = null;
  allow();
  const unsent = kept.value ? " Your last answer here is not stored yet; it is kept, and is sent if you go on here." : "";
  question = null;
  card("Opened elsewhere", `Your link was opened in another window or on another device, and only the newest one can answer.${unsent}`, "Go on here", () => open());
}

async function checkPen() {
  if (!shown || sending) return;
  const [status, value] = await ask(`pen/${reading.session}`);
  if (status === 200 && !value.pen && shown && !sending) elsewhere();
}

// --- the clock ---------------------------------------------------------------------------------------------

let before = performance.now();
function countTime() {
  const instant = performance.now();
  const running = shown && !sending && !document.hidden && !find("card").open && !find("keys").open;
  if (running) seconds += Math.min(2, (instant - before) / 1000); // a sleeping computer does not count
  before = instant;
  return running;
}
function showTime() {
  const whole = Math.floor(seconds);
  find("timer").textContent = `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
setInterval(() => { if (countTime()) { showTime(); keepDraft(); } }, 500);
setInterval(checkPen, 15000);
document.addEventListener("visibilitychange", () => { countTime(); if (!document.hidden) checkPen(); });
addEventListener("pagehide", () => { countTime(); keepDraft(); });

// --- keys and buttons --------------------------------------------------------------------------------------

const ACTIONS = {
  "+": () => viewer.zoom(1.25), "=": () => viewer.zoom(1.25), "-": () => viewer.zoom(0.8), 0: () => viewer.fit(), t: () => viewer.trueSize(),
  i: () => viewer.set({ invert: !viewer.invert }), r: () => viewer.reset(), p: pause, "?": showKeys,
  w: () => viewer.set({ window: viewer.window - 8 }), W: () => viewer.set({ window: viewer.window + 8 }),
  l: () => viewer.set({ level: viewer.level - 4 }), L: () => viewer.set({ level: viewer.level + 4 }),
  c: () => find("fields").querySelector("textarea")?.focus(), Backspace: () => mark(current - 1),
  a: () => pick(0), s: () => pick(1),
  ArrowLeft: () => viewer.pan(40, 0), ArrowRight: () => viewer.pan(-40, 0), ArrowUp: () => viewer.pan(0, 40), ArrowDown: () => viewer.pan(0, -40),
};

function pick(index) {
  if (question && question.kind !== "quality") choose("answer", ASKED[question.kind][1][index][0]);
}

function digit(step) {
  if (question?.kind !== "quality") choose("confidence", step);
  else if (rated()[current]) choose(`item-${rated()[current].name}`, step);
}

function onKey(event) {
  if (find("card").open || find("keys").open || event.altKey || event.metaKey) return;
  const target = event.target;
  const typing = target.tagName === "TEXTAREA";
  if (event.key === "Enter") {
    const natural = (typing && !event.ctrlKey) || (target.tagName === "BUTTON" && target.id !== "submit") || target.tagName === "SUMMARY";
    if (!natural) { event.preventDefault(); if (!event.repeat) submit(); }
    return;
  }
  if (typing) { if (event.key === "Escape") target.blur(); return; }
  if (event.ctrlKey || (!find("letters").checked && event.key.length === 1)) return;
  if (event.key.startsWith("Arrow") && target.tagName === "INPUT") return; // radios and sliders have their own
  const action = /^[1-9]$/.test(event.key) ? () => digit(Number(event.key)) : ACTIONS[event.key] ?? ACTIONS[event.key.toLowerCase()];
  if (!action || !reading || (event.repeat && "asp".includes(event.key))) return;
  event.preventDefault();
  action();
}

function showKeys() {
  if (!find("card").open) find("keys").showModal();
}

find("key-list").replaceChildren(...KEYS.flatMap(([key, what]) => [
  Object.assign(document.createElement("dt"), { textContent: key }), Object.assign(document.createElement("dd"), { textContent: what }),
]));
document.addEventListener("keydown", onKey);
find("form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
find("fields").addEventListener("change", (event) => { if (event.target.type === "radio") take(event.target); });
find("fields").addEventListener("input", (event) => { if (event.target.tagName === "TEXTAREA") keepDraft(); });
find("card").addEventListener("cancel", (event) => event.preventDefault());
find("keys-close").addEventListener("click", () => find("keys").close());
for (const [id, action] of Object.entries({
  "zoom-in": ACTIONS["+"], "zoom-out": ACTIONS["-"], "true-size": ACTIONS.t, fit: ACTIONS[0], invert: ACTIONS.i, reset: ACTIONS.r, pause, help: showKeys,
})) find(id).addEventListener("click", action);
find("window").addEventListener("input", (event) => viewer.set({ window: Number(event.target.value) }));
find("level").addEventListener("input", (event) => viewer.set({ level: Number(event.target.value) }));
const settings = makeMemory("settings");
find("letters").checked = settings.get("letters") ?? true;
find("letters").addEventListener("change", (event) => settings.set("letters", event.target.checked));

open();
