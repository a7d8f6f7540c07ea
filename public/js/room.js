// A room's page. Everything the server says comes in below, everything a person does goes out from there; the
// pieces (log, people, composer ...) know nothing of each other.

import { avatar } from "./avatar.js";
import { durationText } from "./clock.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { asSentence, showNode, showState } from "./connection-state.js";
import { copyLinkButton } from "./copy-link.js";
import { button, byId, create } from "./dom.js";
import { Earlier } from "./earlier.js";
import { ExportLine } from "./export-line.js";
import { MessageList } from "./message-list.js";
import { storedName, storeName } from "./name.js";
import { NameDialog } from "./name-dialog.js";
import { Notice } from "./notice.js";
import { Outbox } from "./outbox.js";
import { PeopleList } from "./people-list.js";
import { roomOfPath } from "./room-name.js";
import { Scroller } from "./scroller.js";
import { browserSecret } from "./secret.js";
import { TypingLine } from "./typing-line.js";
import { UnreadTitle } from "./unread-title.js";
import { followViewport } from "./viewport.js";

const room = roomOfPath(location.pathname);
const messages = new MessageList();
const people = new PeopleList();
const typing = new TypingLine(byId("typing"));
const notice = new Notice();
const title = new UnreadTitle(`${room ?? "No such room"} · Sluice chat`);
const scroller = new Scroller({
  box: byId("messages"),
  content: byId("log-column"),
  button: byId("new-messages"),
});

let name = storedName();
let me = { id: "", name: name ?? "" };
const isOwn = (message) => message.from.id === me.id;
let group = ""; // the room's in this connection, if it keeps history
let enteredAt = Infinity; // what was said before is nothing new

const connection = new Connection(`/chat/${encodeURIComponent(room)}`, {
  readyEvent: "welcome",
  auth() {
    name = storedName() ?? name; // another tab may have changed it
    return { name, secret: browserSecret() };
  },
  onState(change) {
    showState(byId("state"), change);
    composer.enable(change.state !== "refused");
    if (change.state !== "live") away();
    if (change.state === "refused") refused(change);
    else notice.clear("refused");
    if (change.state === "live") live(change.lostMs);
  },
});

const here = connection.presence(`chat.${room}`);

const earlier = new Earlier({
  recovery: connection.recovery,
  list: messages,
  box: byId("messages"),
  button: byId("earlier"),
  isOwn,
  isFollowing: () => scroller.isFollowing,
});

const outbox = new Outbox(connection, {
  change: (entry) => messages.showPending(entry, pendingActions(entry)),
  sent(entry, message) {
    messages.removePending(entry);
    show(message, { own: true });
  },
  takesNoneTwice: () => connection.recovery.positions.length > 0,
  failed(entry, words) {
    // While refused, the way back matters more; the message itself says that it was not sent.
    if (!connection.isRefused) notice.show(`Not sent. ${words}`, { subject: entry.code });
  },
});

const composer = new Composer({
  say(text) {
    notice.clearTrouble();
    outbox.say(text);
    scroller.toEnd();
  },
  typing: (isTyping) => connection.tell("typing", { typing: isTyping }),
});

const nameDialog = new NameDialog((chosen) => {
  name = chosen;
  storeName(chosen);
  if (connection.isLive && here.isCurrent) rename();
  else connection.open();
  composer.focus();
});

// Words of whoever runs the server, to everybody.
connection.on("sluice.notice", ({ text }) => notice.show(text, { subject: "operator", isNews: true }));
connection.on("node", (node) => showNode(byId("node"), node));

connection.recovery.on("joined", (joined) => {
  if (joined.group !== `chat.${room}`) return;
  group = joined.group;
  earlier.joined(group);
});

connection.recovery.on("gap", (gap) => {
  if (gap.group === `chat.${room}`) messages.addSystem("gap", "Some messages could not be recovered");
});

connection.on("you", iAm);

connection.on("welcome", ({ knowsPeople, canExport, at }) => {
  enteredAt = Math.min(enteredAt, at);
  byId("export-room").hidden = !canExport;
  if (!knowsPeople) people.hide();
});

const exportLine = new ExportLine({
  room,
  watch: (ticket) => connection.watch(ticket),
  retry: exportRoom,
  close: () => byId("export-room").focus(),
});

connection.on("export", (begun) => exportLine.show(begun));

here.on("list", () => {
  // Chosen while we were away, or in the lobby: so our other tabs go by another one.
  if (here.users.get(me.id)?.name !== name) rename();
});

here.on("change", () => people.show(here.users, { myId: me.id, isCurrent: here.isCurrent }));

here.on("join", ({ user, info, isLate }) => {
  if (user !== me.id && !isLate) messages.addMove("joined", info.name);
});

here.on("leave", ({ user, info, isLate }) => {
  typing.forget(user);
  if (user !== me.id && !isLate) messages.addMove("left", info.name);
});

here.on("update", ({ user, info, before, isLate }) => {
  if (user === me.id) {
    name = info.name;
    iAm({ id: user, name });
  } else if (!isLate) {
    messages.addSystem("renamed", `${before.name} is now ${info.name}`);
  }
});

connection.on("message", (message) => {
  typing.forget(message.from.id);
  if (outbox.claim(message)) return;
  const own = isOwn(message);
  if (!show(message, { own }) || own || message.at < enteredAt) return;
  scroller.count();
  title.count();
});

/** False when it is already there. One without an author is mine, acknowledged but not heard. */
function show(message, { own }) {
  const position = message.from && connection.recovery.position(group);
  const isNew = messages.add({ from: me, ...message }, { own, position, atEnd: scroller.isFollowing });
  earlier.refresh();
  return isNew;
}

connection.on("typing", (typist) => {
  if (typist.id !== me.id) typing.set(typist);
});

connection.on("sluice.error", ({ event, message }) => {
  if (event !== "typing") notice.show(message); // nobody misses a lost "is typing"
});

function iAm(you) {
  if (me.id && me.name !== you.name) messages.addSystem("renamed", `You are now ${you.name}`);
  me = you;
  showMe(you);
}

/** As the one we go by now, for everybody and in all our tabs. */
async function rename() {
  const answer = await connection.ask("rename", { name }).catch(() => null);
  if (!answer?.error) return;
  name = me.name;
  storeName(name);
  notice.show(`Your name was not changed. ${asSentence(answer.error.message)}`);
}

/** Answered at once: with the event "export" the ticket comes to all our tabs. */
async function exportRoom() {
  byId("export-room").focus(); // "Try again" goes away
  const answer = connection.isLive && (await connection.ask("export", {}).catch(() => null));
  if (answer?.ticket) return notice.clear("export");
  const retry = button("Try again", exportRoom, { class: "quiet" });
  const dismiss = button("Dismiss", () => notice.clear("export"), { class: "quiet" });
  notice.show("Exports are not possible at the moment.", { actions: [retry, dismiss], subject: "export" });
}

function away() {
  typing.forgetAll();
  messages.endMoves();
  group = "";
}

function live(lostMs) {
  if (lostMs > 0 && !group) {
    messages.addSystem("gap", `The connection was lost for ${durationText(lostMs)}; messages may be missing`);
  }
  notice.clear("not_live");
  outbox.flush();
}

function refused({ reason }) {
  outbox.giveUp();
  people.show(new Map(), { myId: me.id, isCurrent: false });
  showMe({ id: me.id, name });
  const actions = [
    button("Change name", () => nameDialog.open(name), { class: "quiet" }),
    button("Try again", () => connection.open(), { class: "quiet" }),
    create("a", { class: "quiet", href: "/" }, "Back to the lobby"),
  ];
  notice.show(`You are not connected. ${asSentence(reason)}`, { actions, subject: "refused" });
}

/** On the button to change the name, which is there before anybody else has heard it. */
function showMe(person) {
  byId("me-avatar").replaceChildren(avatar(person));
  byId("me-name").textContent = person.name;
}

function pendingActions(entry) {
  const remove = () => {
    outbox.remove(entry);
    messages.removePending(entry);
    notice.clear(entry.code ?? "");
    composer.focus();
  };
  return {
    onRetry() {
      notice.clear(entry.code ?? "");
      outbox.retry(entry);
      composer.focus();
    },
    onEdit() {
      remove();
      composer.putBack(entry.text);
    },
    onDelete: remove,
  };
}

byId("room-name").textContent = room ?? "No such room";
byId("rename").addEventListener("click", () => nameDialog.open(name));
byId("export-room").addEventListener("click", exportRoom);
copyLinkButton(byId("copy-link"), byId("toast"));
followViewport();

if (!room) {
  showState(byId("state"), { state: "refused" });
  byId("rename").hidden = true;
  composer.enable(false);
  notice.show("This address is no room: its name is 1 to 60 letters, digits, hyphens, underscores or dots.", {
    actions: [create("a", { class: "quiet", href: "/" }, "Back to the lobby")],
  });
} else if (name) {
  connection.open();
  composer.focus();
} else {
  nameDialog.open(null);
}
