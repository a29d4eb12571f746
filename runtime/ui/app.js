// The page: one conversation, kept in this tab. It speaks to Portal alone, and every bit of HTML
// that it inserts comes sanitised from /portal/render; all else is text.

const STORE = "portal.conversation";
const THEME = "portal.theme";
const RENDER_PAUSE = 120; // ms between two renderings of a growing answer, at least
const HEALTH_PAUSE = 10_000; // ms
const NEAR_BOTTOM = 48; // px

const byId = (id) => document.getElementById(id);
const page = Object.fromEntries(
  ["model", "health", "health-label", "theme", "new", "status", "status-title", "problems",
    "backends", "version", "scroller", "welcome", "welcome-text", "log", "latest", "banner",
    "composer", "prompt", "send", "stop", "spoken"].map((id) => [id, byId(id)]),
);

// Messages: {role, content} and, for answers, {status, reasoning, notes, workspace, backend,
// model, why, reason, usage, seconds, error}. status: streaming, done, stopped or failed.
const state = { messages: [], model: "auto", draft: "" };
const views = new WeakMap(); // message -> its elements and how far they are rendered
let running = null; // {message, controller} while an answer is on its way
let models = [];
let leaving = false; // the page is being left, which ends its requests as if the network failed
let sticking = true; // the reader is at the bottom, and stays there as the text grows

// ---- Keeping the conversation ------------------------------------------------------------------

function save() {
  try {
    sessionStorage.setItem(STORE, JSON.stringify({ ...state, draft: page.prompt.value }));
  } catch {
    // Over the browser's quota: the conversation still lives as long as the page is open.
  }
}

function restore() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(STORE) ?? "{}");
    if (Array.isArray(kept.messages)) state.messages = kept.messages;
    if (typeof kept.model === "string") state.model = kept.model;
    if (typeof kept.draft === "string") page.prompt.value = kept.draft;
  } catch {
    sessionStorage.removeItem(STORE);
  }
  for (const message of state.messages) {
    if (message.status === "streaming") message.status = "stopped";
  }
}

/** What the model is sent: every question, and every answer that has words. */
function history(before) {
  const sent = [];
  for (const { role, content } of state.messages.slice(0, state.messages.indexOf(before))) {
    if (!content) continue;
    // Many chat templates insist that the two sides alternate; a failed answer leaves a gap.
    if (sent.at(-1)?.role === role) sent.at(-1).content += `\n\n${content}`;
    else sent.push({ role, content });
  }
  return sent;
}

// ---- Asking ------------------------------------------------------------------------------------

function ask(question) {
  const content = question.trim();
  if (!content || running) return;
  add({ role: "user", content });
  answer();
}

/** Ask for an answer to the conversation as it stands. */
async function answer() {
  const message = { role: "assistant", content: "", status: "streaming", notes: [] };
  add(message);
  const controller = new AbortController();
  const own = (running = { message, controller });
  const started = performance.now();
  sticking = true;
  say("Answering");
  refresh();
  try {
    const reply = await fetch("/portal/turns", {
      method: "POST",
      headers: { "content-type": "application/json", accept: "text/event-stream" },
      body: JSON.stringify({ messages: history(message), workspace: state.model, channel: "web" }),
      signal: controller.signal,
    });
    if (!reply.ok) throw await refusal(reply);
    for await (const event of events(reply.body)) take(message, event);
    if (message.status === "streaming") {
      throw new Error("The connection to Portal ended before the answer did.");
    }
  } catch (error) {
    if (controller.signal.aborted || leaving) {
      message.status = "stopped";
    } else if (message.status !== "failed") {
      message.status = "failed";
      // fetch says TypeError when the network fails.
      const unreachable = "Portal cannot be reached. Is it still running?";
      message.error = error instanceof TypeError ? unreachable : error.message;
    }
  } finally {
    message.seconds = (performance.now() - started) / 1000;
    if (running === own) running = null;
    finish(message);
  }
}

function finish(message) {
  if (message.status === "failed") checkHealth();
  if (!state.messages.includes(message)) return;
  refresh();
  save();
  render(message).then(() => {
    const name = message.model || "Portal";
    const ending = message.status === "stopped" ? "Stopped" : `Answer from ${name}`;
    // The rendered text, since nobody wants to hear the marks; errors are alerts of their own.
    const text = views.get(message).prose.textContent;
    if (message.status !== "failed") say(`${ending}: ${text.slice(0, 2000)}`);
  });
}

function stop() {
  if (!running) return;
  const { controller, message } = running;
  running = null;
  message.status = "stopped";
  controller.abort();
  refresh();
  page.prompt.focus();
}

/** Answer the question before this answer anew. */
function again(message) {
  stop();
  truncate(state.messages.indexOf(message));
  answer();
  page.prompt.focus();
}

function truncate(length) {
  for (const message of state.messages.splice(length)) views.get(message)?.root.remove();
}

/** Read server-sent events; each is a JSON object, and `[DONE]` ends them. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffer += value;
      const lines = buffer.split(/\r?\n/);
      buffer = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data:")) continue;
        const data = line.slice(5).trim();
        if (data === "[DONE]") return;
        yield JSON.parse(data);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function take(message, event) {
  if (message.status !== "streaming") return;
  switch (event.event) {
    case "text":
      message.content += event.text;
      grow(message);
      return;
    case "reasoning":
      message.reasoning = (message.reasoning ?? "") + event.text;
      break;
    case "notice":
      if (event.code === "route") {
        [message.workspace, message.backend, message.model] = event.text.split(";");
        message.why = event.text.split(";").slice(3).join(";");
      } else message.notes.push(event.text);
      break;
    case "usage":
      message.usage = { tokens: event.output_tokens, estimated: event.estimated };
      break;
    case "finish":
      message.status = "done";
      message.reason = event.reason;
      message.backend = event.backend || message.backend;
      message.model = event.model || message.model;
      break;
    case "error":
      message.status = "failed";
      message.error = event.message;
      break;
    default: // A newer Portal may say more than this page understands.
  }
  refreshMessage(message);
}

async function refusal(reply) {
  let said = "";
  try {
    said = (await reply.json()).error.message;
  } catch {
    // A proxy's own error page, say.
  }
  return new Error(said || `Portal answered with status ${reply.status}.`);
}

// ---- Showing messages --------------------------------------------------------------------------

function clone(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

/** Put a message at the end of the conversation and on the page. */
function add(message) {
  state.messages.push(message);
  show(message);
  save();
}

function show(message) {
  const root = clone(message.role === "user" ? "t-question" : "t-answer");
  const find = (selector) => root.querySelector(selector);
  const view = { root, rendered: 0, parts: [], tail: document.createElement("span") };
  view.tail.className = "tail";
  views.set(message, view);
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    const action = { copy: copyMessage, edit, again, retry: again }[button?.dataset.do];
    action?.(message, button);
  });
  if (message.role === "user") {
    find(".bubble").textContent = message.content;
  } else {
    Object.assign(view, {
      prose: find(".prose"), who: find(".who"), waiting: find(".waiting"), notes: find(".notes"),
      reasoning: find(".reasoning"), thought: find(".reasoning div"), failure: find(".failure"),
      small: find(".small-model"), actions: find(".actions"), facts: find(".actions .faint"),
    });
    refreshMessage(message);
  }
  page.log.append(root);
}

/** Bring everything about an answer but its text up to date. */
function refreshMessage(message) {
  const view = views.get(message);
  if (!view?.prose) return;
  const streaming = message.status === "streaming";
  showWho(view.who, message);
  view.root.setAttribute("aria-busy", String(streaming));
  view.waiting.hidden = !streaming || message.content !== "";
  view.reasoning.hidden = !message.reasoning;
  if (message.reasoning) view.thought.textContent = message.reasoning;
  view.failure.hidden = message.status !== "failed";
  view.failure.firstElementChild.textContent = message.error ?? "";
  view.failure.lastElementChild.hidden = message !== state.messages.at(-1);
  view.notes.replaceChildren(...remarks(message).map((text) => line("p", text)));
  view.actions.hidden = streaming || (message.status === "failed" && !message.content);
  view.actions.querySelector("[data-do=again]").hidden = message !== state.messages.at(-1);
  view.actions.querySelector("[data-do=copy]").hidden = !message.content;
  view.facts.textContent = facts(message);
  view.small.hidden = message !== firstFromEmbedded() || streaming;
}

function showWho(who, message) {
  const { model, backend, workspace } = message;
  if (!model) return;
  const where = isEmbedded(backend) ? "built into Portal" : `on ${backend}`;
  const chosen = workspace ? `, chosen by ${workspace}` : "";
  who.replaceChildren(line("b", model), ` ${where}${chosen}`);
  who.title = message.why ?? "";
}

function remarks(message) {
  const ending = {
    length: "The answer reached its length limit and is cut here.",
    content_filter: "The backend's content filter ended this answer.",
    stop: message.content ? "" : "The model gave no answer.",
  }[message.reason];
  return ending ? [...message.notes, ending] : message.notes;
}

function facts(message) {
  const found = [];
  if (message.status === "stopped") found.push("stopped");
  if (message.usage) {
    found.push(`${message.usage.estimated ? "about " : ""}${message.usage.tokens} tokens`);
  }
  if (message.seconds) found.push(`${message.seconds.toFixed(1)} s`);
  return found.join(" · ");
}

function line(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

/** Bring the whole page in line with the state. */
function refresh() {
  const empty = state.messages.length === 0;
  page.welcome.hidden = !empty;
  page.send.hidden = running !== null;
  page.stop.hidden = running === null;
  page.send.disabled = page.prompt.value.trim() === "";
  page.latest.hidden = sticking || empty;
  const first = state.messages[0]?.content.slice(0, 60);
  document.title = first ? `${first} – Portal` : "Portal";
  state.messages.forEach(refreshMessage);
}

function say(text) {
  page.spoken.textContent = text;
}

// ---- Rendering answers -------------------------------------------------------------------------

/** Show new text at once as it is, and have it rendered soon. */
function grow(message) {
  const view = views.get(message);
  view.waiting.hidden = true;
  view.tail.textContent = message.content.slice(view.rendered);
  if (!view.tail.isConnected) tailHome(view, message).append(view.tail);
  if (!view.timer) {
    view.timer = setTimeout(() => {
      view.timer = 0;
      render(message);
    }, Math.max(RENDER_PAUSE, 2 * (view.took ?? 0)));
  }
}

/** Where the text that follows belongs: inside the last block, unless a blank line ended it. */
function tailHome(view, message) {
  let home = view.prose;
  if (/\n\s*\n$/.test(message.content.slice(0, view.rendered))) {
    const block = home.lastElementChild?.querySelector("pre > code");
    return block && home.lastElementChild.matches(".block") ? block : home;
  }
  const inside = "p, ul, ol, li, blockquote, pre, pre > code, .block, h1, h2, h3, h4, h5, h6";
  while (home.lastElementChild?.matches(inside)) home = home.lastElementChild;
  return home;
}

/** Have an answer rendered by Portal; where that fails, its plain text stays. */
async function render(message) {
  const view = views.get(message);
  if (view.rendering) {
    view.again = true;
    return view.rendering;
  }
  view.rendering = renderOnce(message, view);
  await view.rendering;
  view.rendering = null;
  if (!view.again) return undefined;
  view.again = false;
  return render(message);
}

async function renderOnce(message, view) {
  const markdown = message.content;
  const started = performance.now();
  try {
    const reply = await fetch("/portal/render", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ markdown }),
    });
    if (!reply.ok) throw await refusal(reply);
    const { html } = await reply.json();
    view.rendered = markdown.length;
    replaceParts(view, html);
  } catch {
    // What could not be rendered is shown by the tail below.
  }
  view.took = performance.now() - started;
  view.tail.textContent = message.content.slice(view.rendered);
  if (view.tail.textContent) tailHome(view, message).append(view.tail);
}

/** Replace only the blocks that changed, so that a selection or a scrolled table stays put. */
function replaceParts(view, html) {
  view.tail.remove();
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  const blocks = [...fresh.content.children];
  const sources = blocks.map((block) => block.outerHTML);
  let same = 0;
  while (same < sources.length && view.parts[same]?.source === sources[same]) same += 1;
  for (const part of view.parts.splice(same)) part.element.remove();
  for (let index = same; index < blocks.length; index += 1) {
    const holder = document.createElement("div");
    holder.append(blocks[index]);
    decorate(holder);
    view.parts.push({ source: sources[index], element: holder.firstElementChild });
    view.prose.append(holder.firstElementChild);
  }
}

/** Give code blocks a header with their language and a copy button, and tables a scroll box. */
function decorate(holder) {
  for (const table of holder.querySelectorAll("table")) {
    const box = document.createElement("div");
    box.className = "table";
    box.tabIndex = 0;
    table.replaceWith(box);
    box.append(table);
  }
  for (const pre of holder.querySelectorAll("pre")) {
    const box = clone("t-block");
    const copy = box.querySelector("button");
    box.querySelector("span").textContent = pre.dataset.language ?? "text";
    copy.addEventListener("click", () => copyText(pre.textContent, copy));
    pre.replaceWith(box);
    box.append(pre);
  }
}

// ---- Copy and edit -----------------------------------------------------------------------------

function copyMessage(message, button) {
  return copyText(message.content, button);
}

async function copyText(text, button) {
  let copied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without HTTPS browsers offer the clipboard on this machine only; the old way works elsewhere.
    const field = document.createElement("textarea");
    field.className = "unseen";
    field.value = text;
    document.body.append(field);
    field.select();
    copied = document.execCommand("copy");
    field.remove();
    button.focus();
  }
  say(copied ? "Copied" : "The browser did not allow copying");
  if (!copied) return;
  const use = button.querySelector("use");
  use.setAttribute("href", "#i-done");
  setTimeout(() => use.setAttribute("href", "#i-copy"), 1500);
}

function edit(message) {
  const { root } = views.get(message);
  const form = clone("t-edit");
  const field = form.querySelector("textarea");
  const parts = [...root.children];
  const close = () => {
    form.remove();
    for (const part of parts) part.hidden = false;
    root.querySelector("[data-do=edit]").focus();
  };
  for (const part of parts) part.hidden = true;
  root.append(form);
  field.value = message.content;
  fit(field);
  field.focus();
  field.addEventListener("input", () => fit(field));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (isSend(event)) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  form.querySelector("[data-do=cancel]").addEventListener("click", close);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const question = field.value.trim();
    if (!question) return;
    stop();
    truncate(state.messages.indexOf(message));
    ask(question);
    page.prompt.focus();
  });
}

function startNew() {
  stop();
  truncate(0);
  save();
  refresh();
  say("New chat");
  page.prompt.focus();
}

// ---- Models and health -------------------------------------------------------------------------

function isEmbedded(backend) {
  return models.some(({ portal }) => portal?.backend === backend && portal.embedded);
}

function firstFromEmbedded() {
  return state.messages.find(({ model, backend }) => model && isEmbedded(backend));
}

async function loadModels() {
  try {
    const reply = await fetch("/v1/models");
    if (!reply.ok) throw await refusal(reply);
    models = (await reply.json()).data;
  } catch {
    return; // The health check tells what is wrong.
  }
  showModels();
  const live = models.filter(({ portal }) => portal?.kind === "model" && portal.live !== false);
  const small = live.length > 0 && live.every(({ portal }) => portal.embedded);
  page["welcome-text"].textContent = small
    ? "For now the small model that comes with Portal answers. It is quick and often wrong: with " +
      "Ollama (ollama pull qwen3:8b) or LM Studio beside it, Portal uses the better one by itself."
    : "Answers come from models on your own machines. Nothing leaves them.";
  refresh();
}

function showModels() {
  const groups = new Map();
  for (const { id, owned_by: owner, portal = {} } of models) {
    // Those that only embed, or are gone, answer nobody; one that is chosen already stays.
    const mute = portal.gone || portal.capabilities?.includes("general") === false;
    if (mute && id !== state.model) continue;
    const asleep = portal.live === false ? " (not running)" : "";
    const virtual = { workspace: "Portal chooses", persona: "Personas" }[portal.kind];
    const label = virtual ?? `${portal.backend ?? owner}${asleep}`;
    if (!groups.has(label)) groups.set(label, line("optgroup", ""));
    const prefix = portal.kind === "persona" ? "persona/" : `${portal.backend}/`;
    const option = new Option(id.startsWith(prefix) ? id.slice(prefix.length) : id, id);
    option.title = portal.description ?? "";
    groups.get(label).label = label;
    groups.get(label).append(option);
  }
  page.model.replaceChildren(...groups.values());
  if (!models.some(({ id }) => id === state.model)) {
    page.model.append(new Option(`${state.model} (not found)`, state.model));
  }
  page.model.value = state.model;
}

let seen = ""; // the backends at the last look, to notice that the models may have changed

async function checkHealth() {
  let found = { state: "offline", title: "Portal cannot be reached" };
  try {
    const reply = await fetch("/health", { cache: "no-store" });
    if (reply.ok) found = await reply.json();
    else found = { state: "offline", title: (await refusal(reply)).message };
  } catch {
    found.problems = ["Start it with `portal up`; this page connects again by itself."];
  }
  showHealth(found);
  const look = found.backends?.map((each) => [each.name, each.state, each.models].join()).join();
  if (look !== undefined && (look !== seen || models.length === 0)) {
    seen = look;
    await loadModels();
  }
}

function showHealth({ state: own, title, status, ready, backends = [], problems = [], version }) {
  const known = own ?? (ready ? status : "waiting");
  const heading = title ?? {
    ok: "All is well",
    degraded: "Something needs attention",
    waiting: "Portal is starting or stopping",
  }[known];
  page.health.dataset.state = known;
  page.health.title = heading;
  page["health-label"].textContent = `State of Portal: ${heading}`;
  page["status-title"].textContent = heading;
  page.problems.replaceChildren(...problems.map((text) => line("li", text)));
  const looked = backends.filter((each) => each.state !== "absent");
  page.backends.replaceChildren(...looked.map(showBackend));
  page.version.textContent = version ? `Portal ${version}` : "";
  const blocked = known === "offline" || known === "waiting";
  page.banner.hidden = !blocked;
  page.banner.textContent = blocked ? [heading, ...problems].join(". ").replaceAll("..", ".") : "";
}

function showBackend({ name, state: own, models: count, error }) {
  const item = document.createElement("li");
  const dot = line("span", "");
  dot.className = "dot";
  dot.ariaHidden = "true";
  const fine = own === "live" || own === "standby";
  item.dataset.state = fine ? "ok" : own === "dead" ? "offline" : "waiting";
  const counted = count === 1 ? "1 model" : `${count ?? 0} models`;
  item.append(dot, line("span", name), line("span", fine ? counted : own));
  if (error) item.append(line("small", error));
  return item;
}

// ---- The page itself ---------------------------------------------------------------------------

function fit(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

/** Enter sends, with or without Ctrl or Cmd; not with Shift, nor while an input method composes. */
function isSend(event) {
  return event.key === "Enter" && !event.shiftKey && !event.altKey && !event.isComposing;
}

function showTheme(theme) {
  const name = { auto: "as the system", light: "light", dark: "dark" }[theme];
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  page.theme.querySelector("use").setAttribute("href", `#i-${theme}`);
  page.theme.ariaLabel = page.theme.title = `Colours: ${name}`;
}

function currentTheme() {
  const kept = localStorage.getItem(THEME);
  return kept === "light" || kept === "dark" ? kept : "auto";
}

function listenToComposer() {
  page.composer.addEventListener("submit", (event) => {
    event.preventDefault();
    if (running || page.prompt.value.trim() === "") return;
    const question = page.prompt.value;
    page.prompt.value = "";
    fit(page.prompt);
    ask(question);
  });
  page.prompt.addEventListener("keydown", (event) => {
    if (!isSend(event)) return;
    event.preventDefault();
    page.composer.requestSubmit();
  });
  page.prompt.addEventListener("input", () => {
    fit(page.prompt);
    page.send.disabled = page.prompt.value.trim() === "";
  });
  page.stop.addEventListener("click", stop);
  page.welcome.addEventListener("click", (event) => {
    const example = event.target.closest(".examples button");
    if (!example) return;
    ask(example.textContent);
    page.prompt.focus();
  });
}

function listenToPage() {
  page.new.addEventListener("click", startNew);
  page.model.addEventListener("change", () => {
    state.model = page.model.value;
    save();
  });
  page.theme.addEventListener("click", () => {
    const next = { auto: "light", light: "dark", dark: "auto" }[currentTheme()];
    localStorage.setItem(THEME, next);
    showTheme(next);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !page.status.matches(":popover-open")) stop();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) checkHealth();
  });
  window.addEventListener("beforeunload", () => {
    leaving = true;
  });
  window.addEventListener("pageshow", () => {
    leaving = false;
  });
  window.addEventListener("pagehide", save);
}

/** Follow the growing text only while the reader is at its end. */
function listenToScrolling() {
  const toBottom = () => {
    page.scroller.scrollTop = page.scroller.scrollHeight;
  };
  let top = 0;
  page.scroller.addEventListener("scroll", () => {
    const { scrollTop, scrollHeight, clientHeight } = page.scroller;
    const near = scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM;
    // Only the reader scrolls up; going down may be the page itself, behind text still growing.
    sticking = near || (sticking && scrollTop >= top);
    top = scrollTop;
    page.latest.hidden = sticking || state.messages.length === 0;
  });
  const observer = new ResizeObserver(() => sticking && toBottom());
  observer.observe(page.log);
  observer.observe(page.scroller);
  page.latest.addEventListener("click", () => {
    sticking = true;
    toBottom();
    page.latest.hidden = true;
    page.prompt.focus();
  });
}

function start() {
  showTheme(currentTheme());
  restore();
  showModels();
  for (const message of state.messages) {
    show(message);
    if (message.role === "assistant") render(message);
  }
  refresh();
  fit(page.prompt);
  listenToComposer();
  listenToPage();
  listenToScrolling();
  checkHealth();
  setInterval(() => document.hidden || checkHealth(), HEALTH_PAUSE);
}

start();
