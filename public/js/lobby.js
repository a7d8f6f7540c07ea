// The lobby's page: which rooms are open, live, and a form to open one.

import { Connection } from "./connection.js";
import { showNode, showState } from "./connection-state.js";
import { byId } from "./dom.js";
import { cleanName, storedName, storeName } from "./name.js";
import { RoomList } from "./room-list.js";
import { pathOfRoom, toRoomName } from "./room-name.js";
import { showStatistics } from "./statistics.js";

const form = byId("open-form");
const nameField = byId("name");
const roomField = byId("room");
const hint = byId("room-hint");
const error = byId("room-error");
const usualHint = hint.textContent;

const rooms = new RoomList();
const connection = new Connection("/lobby", {
  readyEvent: "rooms",
  onState(change) {
    showState(byId("state"), change);
    byId("rooms").setAttribute("aria-busy", change.state !== "live");
    if (change.state === "refused") complain(`The list of rooms is not available: ${change.reason}`);
  },
});
connection.on("node", (node) => showNode(byId("node"), node));
connection.on("rooms", (list) => rooms.show(list.rooms));
connection.on("statistics", (counted) => showStatistics(byId("statistics"), counted));
connection.open();

nameField.value ||= storedName() ?? ""; // somebody may have been faster than this script
nameField.addEventListener("change", keepName);
nameField.addEventListener("input", () => complain(""));

roomField.addEventListener("input", () => {
  complain("");
  const room = toRoomName(roomField.value);
  hint.textContent = room ? `${location.host}${pathOfRoom(room)}` : usualHint;
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!keepName()) return;
  const room = toRoomName(roomField.value);
  if (room) location.assign(pathOfRoom(room));
  else refuseRoom();
});

// Sent off before this script was there: the browser did it by itself, as /?name=...&room=...
const early = new URLSearchParams(location.search);
if (early.has("room")) {
  history.replaceState(null, "", "/");
  nameField.value = early.get("name") || nameField.value;
  roomField.value = early.get("room");
  form.requestSubmit();
}

/** False when there is something in the field that can't be a name. Empty is fine: the room will ask. */
function keepName() {
  if (!nameField.value.trim()) return true;
  const name = cleanName(nameField.value);
  if (name) storeName(name);
  else complain("That name can't be read by others. Please use letters, digits or emoji.", nameField);
  return name !== null;
}

function refuseRoom() {
  const words = roomField.value.trim()
    ? "A room's name needs at least one letter or digit from A to Z and 0 to 9."
    : "Type a name for the room first, for example team-standup.";
  complain(words, roomField);
}

/** Says what is wrong, and with which field; "" takes it back. */
function complain(text, field) {
  error.textContent = text;
  error.hidden = !text;
  hint.hidden = Boolean(text);
  nameField.setAttribute("aria-invalid", field === nameField);
  roomField.setAttribute("aria-invalid", field === roomField);
  field?.focus();
}
