// Validate an AsyncAPI document with the official parser: `node validate.mjs FILE`. Exit code 1, and what is wrong, if it is.
import { readFileSync } from "node:fs";
import parser from "@asyncapi/parser";

const { document, diagnostics } = await new parser.Parser().parse(readFileSync(process.argv[2], "utf8"));
// Severities: 0 error, 1 warning, 2 information, 3 hint.
for (const each of diagnostics) {
  console.log(`${["error", "warning", "information", "hint"][each.severity]} ${each.path.join(".")}: ${each.message}`);
}
const broken = diagnostics.filter((each) => each.severity <= 1).length;
console.log(`${document ? document.channels().all().length : 0} channels, ${broken} failed`);
process.exit(document && broken === 0 ? 0 : 1);
