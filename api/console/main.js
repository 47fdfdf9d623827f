import { show } from "./dom.js";

const answer = await fetch("/api/console/session");
show(document.getElementById("main"), await answer.json());
