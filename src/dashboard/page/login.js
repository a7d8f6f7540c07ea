// The login: one field. Who is logged in already, and came by a link from elsewhere, goes on at once.

import { below } from "./base.js";

const form = document.getElementById("form");
const field = document.getElementById("password");
const enter = document.getElementById("enter");
const error = document.getElementById("error");
let counting = 0;

document.getElementById("where").textContent = location.host;
field.focus();

// A browser does not show this cookie when the link stood on another site; to the page itself it does.
const session = await fetch(below("session")).catch(() => undefined);
if (session?.status === 200) location.replace(location.href.split("#")[0]);

field.addEventListener("input", () => {
  if (!counting) complain("");
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (counting || enter.getAttribute("aria-busy") === "true") return;
  if (!field.value) return complain("Type the password.");
  enter.setAttribute("aria-busy", "true");
  enter.textContent = "Logging in…";
  try {
    const answer = await fetch(below("login"), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ password: field.value }),
    });
    if (answer.ok) return location.reload();
    if (answer.status === 429) return countDown(Number(answer.headers.get("Retry-After")) || 10);
    if (answer.status === 401) {
      field.select();
      return complain("This is not the password.");
    }
    complain("The server refused. Load the page again.");
  } catch {
    complain("The server can't be reached. Try again.");
  } finally {
    enter.setAttribute("aria-busy", "false");
    enter.textContent = "Log in";
  }
});

function countDown(seconds) {
  enter.disabled = true;
  counting = setInterval(tick, 1_000);
  const end = Date.now() + seconds * 1_000;
  tick();
  // It has been said once: whoever listens need not hear each second.
  error.setAttribute("aria-live", "off");
  function tick() {
    const left = Math.ceil((end - Date.now()) / 1_000);
    if (left > 0) return complain(`Too many tries from your address. Wait ${left}\u00a0s.`);
    clearInterval(counting);
    counting = 0;
    enter.disabled = false;
    error.removeAttribute("aria-live");
    complain("");
    field.focus();
  }
}

function complain(words) {
  error.textContent = words;
  error.hidden = !words;
  field.setAttribute("aria-invalid", String(Boolean(words)));
  if (words && !counting) field.focus();
}
