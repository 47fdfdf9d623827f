/** Write money, times, durations and ids for people. */

const moneyFormats = new Map();

function moneyFormat(currency) {
  if (!moneyFormats.has(currency)) {
    const format = new Intl.NumberFormat("en", { style: "currency", currency, currencyDisplay: "code" });
    moneyFormats.set(currency, { format, unit: 10 ** format.resolvedOptions().maximumFractionDigits });
  }
  return moneyFormats.get(currency);
}

/** An amount in minor units, as `9.99 USD`. */
export function money(amount, currency = "USD") {
  if (amount === null || amount === undefined) return "–";
  const { format, unit } = moneyFormat(currency || "USD");
  const parts = format.formatToParts(amount / unit).filter((part) => !["currency", "literal"].includes(part.type));
  return `${parts.map((part) => part.value).join("")} ${currency || "USD"}`;
}

/** Minor units of what a person has typed, such as `9.99`; null if it is no amount of this currency. */
export function minorUnits(text, currency = "USD") {
  const { unit } = moneyFormat(currency);
  if (!/^\d+(\.\d+)?$/.test(text.trim())) return null;
  const total = Number(text) * unit;
  const rounded = Math.round(total);
  return Math.abs(total - rounded) < 1e-6 && rounded >= 1 && rounded <= 1e12 ? rounded : null;
}

/** Milliseconds, in the unit that needs three figures. */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`;
  return `${Math.floor(ms / 3_600_000)} h ${Math.floor((ms % 3_600_000) / 60_000)} min`;
}

/** A moment after the saga's first event, as `+1.510`. */
export function elapsed(ms) {
  return ms === null || ms === undefined ? "" : `+${(ms / 1000).toFixed(3)}`;
}

/** How long ago a moment is, in words that are short. */
export function ago(iso, now = Date.now()) {
  if (!iso) return "–";
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1000);
  if (seconds < 2) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** The same as words that stand alone: `3 s ago`. */
export function since(iso) {
  const text = ago(iso);
  return text === "now" ? "just now" : `${text} ago`;
}

/** A moment in the reader's own time zone. */
export function moment(iso) {
  if (!iso) return "–";
  const date = new Date(iso);
  const pad = (number, width = 2) => String(number).padStart(width, "0");
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  return `${day} ${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

/** The part of an id that differs: its start says when, its end which. */
export function shortId(id) {
  return id ? `${id.slice(0, 8)}…${id.slice(-6)}` : "–";
}

/** A count, with thin spaces between thousands. */
export function count(number) {
  return number === null || number === undefined ? "–" : new Intl.NumberFormat("en").format(number).replaceAll(",", "\u202f");
}

/** A count and its noun. */
export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** A rate per second. */
export function rate(number) {
  return number >= 100 ? count(Math.round(number)) : number.toFixed(1);
}
