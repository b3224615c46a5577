/**
 * A function's own text (`Function.prototype.toString`) as a syntax tree. The text of a method, getter or setter is not an
 * expression by itself, so it is read inside an object literal; everything else inside parentheses.
 */
import { parseExpressionAt } from "acorn";
import type { AnyNode, Expression, Property } from "acorn";

/** How the text has to be wrapped to become a value. */
export type FunctionForm = "expression" | "method" | "get" | "set";

export interface FunctionText {
  readonly form: FunctionForm;
  /** A function, arrow function or class; of a method its property. */
  readonly node: Expression | Property;
  /** The text in its wrapping: offsets of nodes count from its start. */
  readonly source: string;
  readonly isClass: boolean;
  readonly isArrow: boolean;
  /** True when it parses in sloppy mode only. */
  readonly sloppy: boolean;
}

/** What a syntax tree of acorn looks like to code that walks all of it. */
export type SyntaxNode = AnyNode;

/**
 * Reads the text of a function or class.
 * @throws SyntaxError when it is neither; so for native functions and for private methods.
 */
export function parseFunctionText(text: string): FunctionText {
  let failure: unknown;
  for (const sourceType of ["module", "script"] as const) {
    // `checkPrivateFields: false`: a method taken out of its class may name #fields; the walk reports that in its own words.
    const options = {
      ecmaVersion: "latest",
      sourceType,
      allowAwaitOutsideFunction: true,
      allowSuperOutsideMethod: true,
      checkPrivateFields: false,
    } as const;
    const sloppy = sourceType === "script";
    try {
      const source = `(${text})`;
      const node = parseExpressionAt(source, 0, options);
      if (/^(?:Function|Class|ArrowFunction)Expression$/.test(node.type) && /^\s*\)?\s*$/.test(source.slice(node.end))) {
        return {
          form: "expression",
          node,
          source,
          isClass: node.type === "ClassExpression",
          isArrow: node.type === "ArrowFunctionExpression",
          sloppy,
        };
      }
    } catch (cause) {
      failure = cause;
    }
    try {
      const source = `({${text}})`;
      const object = parseExpressionAt(source, 0, options);
      const property = object.type === "ObjectExpression" && object.properties.length === 1 ? object.properties[0] : undefined;
      if (property?.type === "Property" && property.value.type === "FunctionExpression") {
        return {
          form: property.kind === "init" ? "method" : property.kind,
          node: property,
          source,
          isClass: false,
          isArrow: false,
          sloppy,
        };
      }
    } catch (cause) {
      failure = cause;
    }
  }
  throw failure ?? new SyntaxError("its text is not a function");
}

/** The direct children of a node. */
export function childrenOf(node: SyntaxNode): SyntaxNode[] {
  const children: SyntaxNode[] = [];
  for (const value of Object.values(node) as unknown[]) {
    for (const item of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (typeof item === "object" && item !== null && typeof (item as { type?: unknown }).type === "string")
        children.push(item as SyntaxNode);
    }
  }
  return children;
}
