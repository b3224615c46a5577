/** What is not well-formed in a text: tags close in order, attributes are quoted and unique, every `&` is a reference. */
export function xmlFault(text: string): string | undefined {
  const open: string[] = [];
  const roots: string[] = [];
  let at = 0;
  const fault = (what: string): string => `${what} at ${at}: ${text.slice(Math.max(0, at - 40), at + 60)}`;
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(text)) return "a character that XML can't carry";
  while (at < text.length) {
    const tag = text.indexOf("<", at);
    const content = text.slice(at, tag < 0 ? text.length : tag);
    if (/&(?!(#\d+|#x[\da-f]+|amp|lt|gt|quot|apos);)/i.test(content)) return fault("a bare &");
    if (open.length === 0 && content.trim() !== "") return fault("text outside the root");
    if (tag < 0) break;
    at = tag;
    const match = /^<(\/?)([A-Za-z][\w:.-]*)((?:\s+[A-Za-z_][\w:.-]*="[^"<]*")*)\s*(\/?)>/.exec(text.slice(at));
    if (match === null) return fault("a broken tag");
    const [whole, closing, name = "", attributes = "", empty] = match;
    const names = [...attributes.matchAll(/\s([\w:.-]+)="([^"]*)"/g)];
    if (new Set(names.map((it) => it[1])).size !== names.length) return fault("an attribute twice");
    if (names.some((it) => /&(?!(#\d+|#x[\da-f]+|amp|lt|gt|quot|apos);)/i.test(it[2] ?? ""))) return fault("a bare & in an attribute");
    if (closing === "/") {
      if (open.pop() !== name) return fault(`</${name}> closes nothing`);
    } else {
      if (open.length === 0) roots.push(name);
      if (empty !== "/") open.push(name);
    }
    at += whole.length;
  }
  if (open.length > 0) return `<${open.at(-1)}> is never closed`;
  return roots.length === 1 ? undefined : `${roots.length} roots`;
}

/** The texts that a reader sees in an SVG, in order, references resolved. Titles and descriptions are left out. */
export function visibleTexts(svg: string): string[] {
  return [...svg.replace(/<(title|desc|style)\b[^>]*>[\s\S]*?<\/\1>/g, "").matchAll(/<text\b[^>]*>([\s\S]*?)<\/text>/g)].map((match) =>
    (match[1] ?? "").replace(/<[^>]*>/g, "").replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code))),
  );
}
