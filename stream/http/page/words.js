// Times, sizes and counts as people read them.

const two = (number) => String(number).padStart(2, "0");

/** Clock time of a Date or of an RFC 3339 string, in the reader's own zone; the day is named when it is not today. */
export function clock(moment, seconds = true) {
  const date = new Date(moment);
  if (Number.isNaN(date.getTime())) return "";
  const time = `${two(date.getHours())}:${two(date.getMinutes())}${seconds ? `:${two(date.getSeconds())}` : ""}`;
  return date.toDateString() === new Date().toDateString()
    ? time
    : `${date.toLocaleDateString(undefined, { day: "numeric", month: "short" })} ${time}`;
}

/** Two clock times, the second without what it shares with the first: 12:08:31–39, 12:08:58–09:06. */
export function stretch(from, to) {
  const [start, end] = [clock(from), clock(to)];
  if (start === end) return start;
  const [first, last] = [start.split(":"), end.split(" ").pop().split(":")];
  const same = start.slice(0, -8) !== end.slice(0, -8) ? 0 : first.findIndex((part, place) => !part.endsWith(last[place]));
  return `${start}\u2013${last.slice(Math.max(same, 0)).join(":")}`;
}

/** Seconds, in the largest two units that fit. */
export function duration(seconds) {
  const s = Math.max(0, seconds);
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min${s % 60 >= 1 && s < 600 ? ` ${Math.floor(s % 60)} s` : ""}`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** How long ago, in words. */
export function ago(moment) {
  const s = (Date.now() - new Date(moment).getTime()) / 1000;
  return s < 5 ? "just now" : `${duration(s)} ago`;
}

/** Bytes in binary units. */
export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** A count with thin separators, shortened from a million on. */
export function count(number) {
  if (number >= 1e9) return `${(number / 1e9).toFixed(1)} G`;
  if (number >= 1e6) return `${(number / 1e6).toFixed(1)} M`;
  return Math.round(number).toLocaleString("en").replaceAll(",", "\u202f");
}

export const percent = (fraction) => `${Math.round(fraction * 100)}\u202f%`;

export const STATES = {
  starting: "starting",
  online: "live",
  stalled: "stalled",
  offline: "offline",
  auth_failed: "password refused",
  ended: "ended",
  waiting: "waiting for its publisher",
};

export const TIERS = {
  instant: "in view",
  hot: "remembered",
  warm: "recalled, exact",
  cold: "recalled, summary",
};

/** What failed, as a sentence, from whatever was thrown. */
export function sentence(error) {
  const text = String(error?.message ?? error ?? "").trim();
  return text ? (/[.!?]$/.test(text) ? text : `${text}.`) : "Something went wrong.";
}
