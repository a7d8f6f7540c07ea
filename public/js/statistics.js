const DAY_MS = 24 * 60 * 60 * 1000;
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", timeZone: "UTC" });
const number = new Intl.NumberFormat();

/** What the night's count has found of a day in UTC: "Yesterday: 340 messages from 25 people in 12 rooms". */
export function showStatistics(element, { day, rooms, messages, people }) {
  const yesterday = new Date(Date.now() - DAY_MS).toISOString().slice(0, 10);
  const when = day === yesterday ? "Yesterday" : `On ${date.format(new Date(day))}`;
  const words = [
    counted(messages, "message", "messages"),
    `from ${counted(people, "person", "people")}`,
    `in ${counted(rooms, "room", "rooms")}`,
  ];
  element.textContent = `${when}: ${messages === 0 ? "nothing was said" : words.join(" ")}`;
  element.hidden = false;
}

function counted(n, one, many) {
  return `${number.format(n)} ${n === 1 ? one : many}`;
}
