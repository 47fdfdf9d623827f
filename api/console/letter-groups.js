/** What can be done with all dead letters of one cause. */

import { ask } from "./dialogs.js";
import { counted } from "./format.js";
import { History } from "./redriven.js";

const MOST = 1000; // letters at once

/** The letters of a group: those of its queue, its cause, and its type, also if the type is unknown. */
export async function lettersOf(api, group, limit = MOST) {
  const { queue, eventType, cause } = group;
  const query = new URLSearchParams({ queue, reason: cause, limit: MOST, ...(eventType && { eventType }) });
  const { data } = await api.get(`/api/operator/dead-letters?${query}`);
  return data.filter((letter) => letter.eventType === eventType).slice(0, limit);
}

export async function redriveGroup({ api, notices }, group) {
  const text = ["They go back to the queue in which they failed, with a fresh count of attempts.", "What already happened does not happen twice."];
  if (!(await ask({ title: `Redrive ${counted(group.count, "message")}?`, text, action: "Redrive" }))) return;
  await each(api, notices, group, "went back. Below you see what becomes of them", async (path, letter) => {
    await api.post(`${path}/redrive`);
    History.add([letter]);
  });
}

export async function discardGroup({ api, notices }, group) {
  const text = `${counted(group.count, "message")} of ${group.eventType ?? "an unknown type"} would be gone for good.`;
  if (!(await ask({ title: "Discard them for good?", text, action: "Discard for good", dangerous: true }))) return;
  await each(api, notices, group, "discarded", (path) => api.delete(path));
}

/** One after the other, by their ids, so that no letter is touched that was not in the group. */
async function each(api, notices, group, done, act) {
  let count = 0;
  try {
    for (const letter of await lettersOf(api, group)) {
      const path = `/api/operator/dead-letters/${encodeURIComponent(letter.id)}`;
      if (await act(path, letter).then(() => true, unlessGone)) count += 1;
    }
    notices.tell(`${counted(count, "message")} ${done}.`);
  } catch (error) {
    notices.complain(error);
  }
}

/** Somebody else may have dealt with a letter meanwhile. It does not count, and shows again if it is still there. */
function unlessGone(error) {
  if (error.status !== 404) throw error;
  return false;
}
