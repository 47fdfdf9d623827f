/** Know whether anybody has looked at this tab lately, so that a forgotten one neither asks nor holds a connection. */

const PATIENCE = 60_000; // milliseconds for which a hidden tab goes on

let away = false;
let timer = null;
const waiting = new EventTarget(); // "away", "back"

/** Whether the tab has been hidden for a while. */
export function isAway() {
  return away;
}

/** Call `leave` when the tab has been hidden for a while, and `back` when it is seen again. Returns what ends that. */
export function attend({ leave = () => {}, back = () => {} }) {
  const ended = new AbortController();
  waiting.addEventListener("away", leave, ended);
  waiting.addEventListener("back", back, ended);
  return () => ended.abort();
}

/** Call `act` every so many milliseconds while the tab is looked at, and when it is seen again. Returns what ends that. */
export function poll(act, milliseconds) {
  const clock = setInterval(() => away || act(), milliseconds);
  const end = attend({ back: act });
  return () => {
    clearInterval(clock);
    end();
  };
}

function look() {
  clearTimeout(timer);
  if (document.hidden) timer = setTimeout(() => tell(true), PATIENCE);
  else if (away) tell(false);
}

function tell(now) {
  away = now;
  waiting.dispatchEvent(new Event(now ? "away" : "back"));
}

document.addEventListener("visibilitychange", look);
look();
