/**
 * Which names a function uses without declaring them. Lexical scope is static in JavaScript, so the text alone tells; the only
 * exceptions are `eval` and `with`, and `eval` is reported.
 */
import type { Class, Expression, Function as FunctionNode, Identifier, Pattern } from "acorn";
import { childrenOf } from "./function-text.ts";
import type { FunctionText, SyntaxNode } from "./function-text.ts";

/** One use of a free name. */
export interface Reference {
  readonly start: number;
  readonly end: number;
  /** Written as `{ name }`: a renaming must keep the property's name. */
  readonly shorthand: boolean;
  readonly write: boolean;
  /** For `name.member` and `name["member"]`. */
  readonly member: string | undefined;
  readonly memberWrite: boolean;
  /** For `typeof name`, which is no error when nothing has that name. */
  readonly typeofOnly: boolean;
}

export interface FreeVariables {
  readonly references: Map<string, Reference[]>;
  /** Every name declared anywhere inside. */
  readonly locals: Set<string>;
  /** `this` of the surroundings (arrow functions only). */
  readonly outerThis: boolean;
  /** `super` that belongs to a class or object around the text. */
  readonly outerSuper: boolean;
  /** `#names` used and not declared by a class inside the text. */
  readonly outerPrivates: Set<string>;
  readonly usesEval: boolean;
  readonly usesImportMeta: boolean;
  /** Every `import(…)`. */
  readonly dynamicImports: DynamicImport[];
}

/** An `import(…)`, or what Vite makes of one: where the word stands, and its literal if the specifier is one. */
export interface DynamicImport {
  readonly start: number;
  readonly end: number;
  readonly literal: { readonly start: number; readonly end: number; readonly specifier: string } | undefined;
}

class Scope {
  readonly names: Set<string> = new Set();
  readonly parent: Scope | undefined;
  constructor(parent?: Scope) {
    this.parent = parent;
  }
  has(name: string): boolean {
    for (let scope: Scope | undefined = this; scope !== undefined; scope = scope.parent) if (scope.names.has(name)) return true;
    return false;
  }
}

/** What `this`, `super`, `arguments` and `#names` mean at a place. */
interface Place {
  readonly ownThis: boolean;
  readonly ownSuper: boolean;
  readonly ownArguments: boolean;
  readonly privates: ReadonlySet<string>;
}

const OUTSIDE: Place = { ownThis: false, ownSuper: false, ownArguments: false, privates: new Set() };

/** Analyses the text of one function or class. Offsets are those of `text.source`. */
export function freeVariables(text: FunctionText): FreeVariables {
  const analysis = new Analysis();
  const { node } = text;
  if (node.type !== "Property") analysis.visit(node, new Scope(), OUTSIDE);
  // A method's key is written by the emitter; its `this` comes with the call.
  else analysis.functionNode(node.value as FunctionNode, new Scope(), OUTSIDE);
  return analysis;
}

/** Names that a pattern declares. */
export function patternNames(pattern: Pattern | null | undefined, into: Set<string>): void {
  switch (pattern?.type) {
    case "Identifier":
      into.add(pattern.name);
      break;
    case "ObjectPattern":
      for (const property of pattern.properties) patternNames(property.type === "RestElement" ? property.argument : property.value, into);
      break;
    case "ArrayPattern":
      for (const element of pattern.elements) patternNames(element, into);
      break;
    case "AssignmentPattern":
      patternNames(pattern.left, into);
      break;
    case "RestElement":
      patternNames(pattern.argument, into);
      break;
    default:
      break;
  }
}

/** Names that `let`, `const`, `class` and `function` declare directly in a list of statements. */
export function lexicalNames(statements: readonly SyntaxNode[], into: Set<string>): void {
  for (const statement of statements) {
    if (statement.type === "VariableDeclaration" && statement.kind !== "var")
      for (const declarator of statement.declarations) patternNames(declarator.id, into);
    else if ((statement.type === "FunctionDeclaration" || statement.type === "ClassDeclaration") && statement.id)
      into.add(statement.id.name);
  }
}

/** Names that `var` declares anywhere below a node, up to the next function. */
export function hoistedNames(node: SyntaxNode, into: Set<string>): void {
  if (node.type === "VariableDeclaration" && node.kind === "var")
    for (const declarator of node.declarations) patternNames(declarator.id, into);
  if (isFunction(node) || node.type === "ClassExpression" || node.type === "ClassDeclaration") return;
  for (const child of childrenOf(node)) hoistedNames(child, into);
}

const isFunction = (node: SyntaxNode): boolean =>
  node.type === "FunctionExpression" || node.type === "FunctionDeclaration" || node.type === "ArrowFunctionExpression";

class Analysis implements FreeVariables {
  readonly references: Map<string, Reference[]> = new Map();
  readonly locals: Set<string> = new Set();
  readonly outerPrivates: Set<string> = new Set();
  readonly dynamicImports: DynamicImport[] = [];
  outerThis = false;
  outerSuper = false;
  usesEval = false;
  usesImportMeta = false;

  visit(node: SyntaxNode | null | undefined, scope: Scope, place: Place): void {
    if (!node) return;
    switch (node.type) {
      case "Identifier":
        return this.#use(node, scope, place);
      case "FunctionDeclaration":
      case "FunctionExpression":
      case "ArrowFunctionExpression":
        return this.functionNode(node, scope, place);
      case "ClassDeclaration":
      case "ClassExpression":
        return this.#classNode(node, scope, place);
      case "ThisExpression":
        if (!place.ownThis) this.outerThis = true;
        return;
      case "Super":
        if (!place.ownSuper) this.outerSuper = true;
        return;
      case "PrivateIdentifier":
        if (!place.privates.has(node.name)) this.outerPrivates.add(node.name);
        return;
      case "MetaProperty":
        if (node.meta.name === "import") this.usesImportMeta = true;
        return;
      case "ImportExpression":
        this.#import(node.start, node.start + "import".length, node.source);
        this.visit(node.source, scope, place);
        return this.visit(node.options, scope, place);
      case "CallExpression": {
        const isImport = node.callee.type === "Identifier" && node.callee.name === "__vite_ssr_dynamic_import__";
        if (isImport) this.#import(node.callee.start, node.callee.end, node.arguments[0]);
        else this.visit(node.callee, scope, place);
        for (const argument of node.arguments) this.visit(argument, scope, place);
        return;
      }
      case "MemberExpression":
        return this.#member(node, scope, place, false);
      case "Property":
        if (node.computed) this.visit(node.key, scope, place);
        if (node.shorthand && node.value.type === "Identifier") return this.#use(node.value, scope, place, { shorthand: true });
        // Methods and accessors of an object literal have `super`.
        if (node.method || node.kind !== "init") return this.functionNode(node.value as FunctionNode, scope, place, true);
        return this.visit(node.value, scope, place);
      case "AssignmentExpression":
        this.#target(node.left, scope, place);
        return this.visit(node.right, scope, place);
      case "UpdateExpression":
        return this.#target(node.argument as Pattern, scope, place);
      case "UnaryExpression":
        if (node.operator === "typeof" && node.argument.type === "Identifier")
          return this.#use(node.argument, scope, place, { typeofOnly: true });
        return this.visit(node.argument, scope, place);
      case "VariableDeclaration":
        for (const declarator of node.declarations) {
          this.#target(declarator.id, scope, place);
          this.visit(declarator.init, scope, place);
        }
        return;
      case "BlockStatement":
        return this.#block(node.body, new Scope(scope), place);
      case "SwitchStatement": {
        this.visit(node.discriminant, scope, place);
        const inner = new Scope(scope);
        for (const branch of node.cases) this.#declareLexical(branch.consequent, inner);
        for (const branch of node.cases) {
          this.visit(branch.test, inner, place);
          for (const statement of branch.consequent) this.visit(statement, inner, place);
        }
        return;
      }
      case "ForStatement":
      case "ForInStatement":
      case "ForOfStatement":
        return this.#loop(node, scope, place);
      case "CatchClause": {
        const inner = new Scope(scope);
        this.#declare(node.param, inner);
        this.#target(node.param, inner, place);
        return this.visit(node.body, inner, place);
      }
      case "LabeledStatement":
        return this.visit(node.body, scope, place);
      case "BreakStatement":
      case "ContinueStatement":
        return;
      default:
        for (const child of childrenOf(node)) this.visit(child, scope, place);
    }
  }

  functionNode(
    node: FunctionNode | Extract<SyntaxNode, { type: "ArrowFunctionExpression" }>,
    scope: Scope,
    place: Place,
    hasSuper = false,
  ): void {
    const own = new Scope(scope);
    if (node.type === "FunctionExpression" && node.id) this.#declareName(node.id.name, own);
    const inner: Place =
      node.type === "ArrowFunctionExpression" ? place : { ownThis: true, ownSuper: hasSuper, ownArguments: true, privates: place.privates };
    for (const parameter of node.params) this.#declare(parameter, own);
    for (const parameter of node.params) this.#target(parameter, own, inner);
    if (node.body.type !== "BlockStatement") return this.visit(node.body, own, inner);
    this.#declareHoisted(node.body, own);
    this.#block(node.body.body, own, inner);
  }

  #classNode(node: Class, scope: Scope, place: Place): void {
    if (node.superClass) this.visit(node.superClass, scope, place);
    const own = new Scope(scope);
    if (node.id) this.#declareName(node.id.name, own);
    const privates = new Set(place.privates);
    for (const member of node.body.body)
      if (member.type !== "StaticBlock" && member.key.type === "PrivateIdentifier") privates.add(member.key.name);
    const inner: Place = { ownThis: true, ownSuper: true, ownArguments: true, privates };
    for (const member of node.body.body) {
      if (member.type === "StaticBlock") {
        const block = new Scope(own);
        for (const statement of member.body) this.#declareHoisted(statement, block);
        this.#block(member.body, block, inner);
        continue;
      }
      if (member.computed) this.visit(member.key, own, { ...place, privates });
      if (member.type === "MethodDefinition") this.functionNode(member.value, own, { ...inner }, true);
      else this.visit(member.value, own, inner);
    }
  }

  #loop(node: Extract<SyntaxNode, { type: "ForStatement" | "ForInStatement" | "ForOfStatement" }>, scope: Scope, place: Place): void {
    const inner = new Scope(scope);
    const head = node.type === "ForStatement" ? node.init : node.left;
    if (head?.type === "VariableDeclaration") {
      if (head.kind !== "var") for (const declarator of head.declarations) this.#declare(declarator.id, inner);
      this.visit(head, inner, place);
    } else if (node.type === "ForStatement") this.visit(head, inner, place);
    else this.#target(head as Pattern, inner, place);
    if (node.type === "ForStatement") {
      this.visit(node.test, inner, place);
      this.visit(node.update, inner, place);
    } else this.visit(node.right, inner, place);
    this.visit(node.body, inner, place);
  }

  #block(statements: readonly SyntaxNode[], scope: Scope, place: Place): void {
    this.#declareLexical(statements, scope);
    for (const statement of statements) this.visit(statement, scope, place);
  }

  #member(node: Extract<SyntaxNode, { type: "MemberExpression" }>, scope: Scope, place: Place, write: boolean): void {
    if (node.object.type === "Identifier") {
      const literal = node.computed && node.property.type === "Literal" ? String(node.property.value) : undefined;
      const member = node.computed ? literal : (node.property as { name: string }).name;
      this.#use(node.object, scope, place, { member, memberWrite: write });
    } else this.visit(node.object, scope, place);
    if (node.computed || node.property.type === "PrivateIdentifier") this.visit(node.property, scope, place);
  }

  /** What stands left of `=` or in a parameter: names are written, or declared, and then the scope has them. */
  #target(pattern: Pattern | Expression | null | undefined, scope: Scope, place: Place): void {
    switch (pattern?.type) {
      case undefined:
        return;
      case "Identifier":
        return this.#use(pattern, scope, place, { write: true });
      case "MemberExpression":
        return this.#member(pattern, scope, place, true);
      case "ObjectPattern":
        for (const property of pattern.properties) {
          if (property.type === "RestElement") {
            this.#target(property.argument, scope, place);
            continue;
          }
          if (property.computed) this.visit(property.key, scope, place);
          if (!property.shorthand) {
            this.#target(property.value, scope, place);
            continue;
          }
          const name = property.value.type === "AssignmentPattern" ? property.value.left : property.value;
          this.#use(name as Identifier, scope, place, { write: true, shorthand: true });
          if (property.value.type === "AssignmentPattern") this.visit(property.value.right, scope, place);
        }
        return;
      case "ArrayPattern":
        for (const element of pattern.elements) this.#target(element, scope, place);
        return;
      case "AssignmentPattern":
        this.#target(pattern.left, scope, place);
        return this.visit(pattern.right, scope, place);
      case "RestElement":
        return this.#target(pattern.argument, scope, place);
      default:
        return this.visit(pattern, scope, place);
    }
  }

  #use(node: Identifier, scope: Scope, place: Place, use: Partial<Reference> = {}): void {
    if (scope.has(node.name) || (node.name === "arguments" && place.ownArguments)) return;
    if (node.name === "eval") this.usesEval = true;
    const list = this.references.get(node.name) ?? [];
    if (list.length === 0) this.references.set(node.name, list);
    list.push({
      start: node.start,
      end: node.end,
      shorthand: false,
      write: false,
      member: undefined,
      memberWrite: false,
      typeofOnly: false,
      ...use,
    });
  }

  #import(start: number, end: number, source: SyntaxNode | undefined): void {
    const literal =
      source?.type === "Literal" && typeof source.value === "string"
        ? { start: source.start, end: source.end, specifier: source.value }
        : undefined;
    this.dynamicImports.push({ start, end, literal });
  }

  #declareName(name: string, scope: Scope): void {
    scope.names.add(name);
    this.locals.add(name);
  }

  #declare(pattern: Pattern | null | undefined, scope: Scope): void {
    const names = new Set<string>();
    patternNames(pattern, names);
    for (const name of names) this.#declareName(name, scope);
  }

  #declareLexical(statements: readonly SyntaxNode[], scope: Scope): void {
    const names = new Set<string>();
    lexicalNames(statements, names);
    for (const name of names) this.#declareName(name, scope);
  }

  #declareHoisted(node: SyntaxNode, scope: Scope): void {
    const names = new Set<string>();
    hoistedNames(node, names);
    for (const name of names) this.#declareName(name, scope);
  }
}
