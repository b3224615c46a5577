/**
 * Which fields of a record a function reads, as far as its text tells. What the text does not prove counts as "all", so that whoever
 * leaves the other fields out changes nothing the function can see.
 */
import type { Pattern } from "acorn";
import { fieldsOf } from "../../core/types/selector-fields.ts";
import { type SyntaxNode, childrenOf, parseFunctionText } from "./function-text.ts";

/** Names of fields, or everything: the record itself gets away (it is returned, stored, passed on) or is read by computed names. */
export type FieldUse = ReadonlySet<string> | "all";

const NONE: FieldUse = new Set();

/**
 * The fields of its argument number `parameter` that a function reads. A function without such a parameter reads none.
 */
export function fieldsRead(value: unknown, parameter: number): FieldUse {
  if (typeof value !== "function") return "all";
  const named = parameter === 0 ? fieldsOf(value) : undefined;
  if (named !== undefined) return named.some((field) => field in Object.prototype) ? "all" : new Set(named);
  let node: SyntaxNode;
  try {
    const text = parseFunctionText(Function.prototype.toString.call(value));
    if (text.isClass || text.form === "get" || text.form === "set") return "all";
    node = (text.form === "method" ? (text.node as { readonly value: SyntaxNode }).value : text.node) as SyntaxNode;
  } catch {
    return "all";
  }
  const { params, body, async, generator } = node as unknown as { params: Pattern[]; body: SyntaxNode; async: boolean; generator: boolean };
  // Names that reach arguments without a parameter's name.
  if (async || generator || mentions(node, "arguments") || mentions(node, "eval")) return "all";
  if (params.slice(0, parameter + 1).some((it) => it.type === "RestElement")) return "all";
  const pattern = params[parameter];
  if (pattern === undefined) return NONE;
  const fields = new Set<string>();
  const all = collect(pattern, [...params.filter((it) => it !== pattern), body], fields);
  // Names that every object has mean more than a field.
  return all || [...fields].some((field) => field in Object.prototype) ? "all" : fields;
}

/** Adds the fields that are read of a parameter. @returns true when they are not all there is. */
function collect(pattern: Pattern, parts: readonly SyntaxNode[], fields: Set<string>): boolean {
  switch (pattern.type) {
    case "Identifier":
      return !parts.every((part) => onlyReads(part, pattern.name, fields));
    case "ObjectPattern":
      for (const property of pattern.properties) {
        if (property.type === "RestElement" || property.computed) return true;
        fields.add(property.key.type === "Identifier" ? property.key.name : String((property.key as { readonly value?: unknown }).value));
      }
      return false;
    default:
      return true;
  }
}

/** Whether `name` occurs below a node as the object of a field that is read, and in no other way; the fields are added. */
function onlyReads(node: SyntaxNode, name: string, fields: Set<string>): boolean {
  switch (node.type) {
    case "Identifier":
      return node.name !== name;
    case "MemberExpression":
      if (node.object.type === "Identifier" && node.object.name === name) {
        if (!node.computed && node.property.type === "Identifier") fields.add(node.property.name);
        else if (node.computed && node.property.type === "Literal" && typeof node.property.value === "string")
          fields.add(node.property.value);
        else return false;
        return true;
      }
      return onlyReads(node.object as SyntaxNode, name, fields) && (!node.computed || onlyReads(node.property as SyntaxNode, name, fields));
    // `record.method()` hands the record over as `this`.
    case "CallExpression":
    case "NewExpression":
      return !isFieldOf(node.callee as SyntaxNode, name) && everyChild(node, name, fields);
    case "TaggedTemplateExpression":
      return !isFieldOf(node.tag as SyntaxNode, name) && everyChild(node, name, fields);
    case "AssignmentExpression":
      return !mentions(node.left as SyntaxNode, name) && onlyReads(node.right as SyntaxNode, name, fields);
    case "UpdateExpression":
      return !mentions(node.argument as SyntaxNode, name);
    case "UnaryExpression":
      return (node.operator !== "delete" || !mentions(node.argument as SyntaxNode, name)) && everyChild(node, name, fields);
    case "ForInStatement":
    case "ForOfStatement":
      return (
        !mentions(node.left as SyntaxNode, name) &&
        onlyReads(node.right as SyntaxNode, name, fields) &&
        onlyReads(node.body as SyntaxNode, name, fields)
      );
    case "Property":
      return (!node.computed || onlyReads(node.key as SyntaxNode, name, fields)) && onlyReads(node.value as SyntaxNode, name, fields);
    case "MethodDefinition":
    case "PropertyDefinition":
      return (
        (!node.computed || onlyReads(node.key as SyntaxNode, name, fields)) &&
        (node.value === null || node.value === undefined || onlyReads(node.value as SyntaxNode, name, fields))
      );
    default:
      return everyChild(node, name, fields);
  }
}

function everyChild(node: SyntaxNode, name: string, fields: Set<string>): boolean {
  return childrenOf(node).every((child) => onlyReads(child, name, fields));
}

/** `name.x`, `name?.x`, `(name.x)`. */
function isFieldOf(node: SyntaxNode, name: string): boolean {
  if (node.type === "ChainExpression" || node.type === "ParenthesizedExpression") return isFieldOf(node.expression as SyntaxNode, name);
  return node.type === "MemberExpression" && node.object.type === "Identifier" && node.object.name === name;
}

function mentions(node: SyntaxNode, name: string): boolean {
  if (node.type === "Identifier" && node.name === name) return true;
  return childrenOf(node).some((child) => mentions(child, name));
}
