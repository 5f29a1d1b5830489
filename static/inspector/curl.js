/* The same request for a terminal. The token is named, never written: $AIGW_TOKEN. */

import { CAPABILITIES, headersOf } from "./wire.js";

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/* In JSON only: what a terminal would obey, or what would turn a line around before somebody's eyes. */
const visible = (json) => json.replace(/[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);

export function curlOf(address, message, repeated, bringsToken) {
  const { progressToken, ...meta } = message.params._meta;
  meta[CAPABILITIES] = {}; // a terminal opens no links: it is told the link to connect in words
  const body = visible(JSON.stringify({ ...message, id: 1, params: { ...message.params, _meta: meta } }));
  const fields = Object.entries(headersOf(message, repeated)).map(([name, value]) => `  -H ${quoted(`${name}: ${value}`)} \\`);
  return [
    `curl -sS ${quoted(address)} \\`,
    '  -H "Authorization: Bearer $AIGW_TOKEN" \\',
    ...(bringsToken ? ['  -H "X-Upstream-Authorization: $UPSTREAM_AUTHORIZATION" \\'] : []),
    ...fields,
    `  --data-binary ${quoted(body)}`,
  ].join("\n");
}
