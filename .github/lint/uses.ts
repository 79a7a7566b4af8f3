/** One use of a global: `Date.now` and `const { now } = Date` are member `now`, everything else is the value itself. */
export interface GlobalUse {
  node: Deno.lint.Node;
  name: string;
  /** Null where the global is a value of its own, or where a computed member says nothing. */
  member: string | null;
  /** Made with `new` from arguments, or only asked about with `instanceof`. */
  harmless: boolean;
}

/** A node as this file looks at it: every property may be there. */
interface Any {
  type: string;
  range: [number, number];
  parent: Any;
  name: string;
  computed: boolean;
  object: Any;
  property: Any;
  key: Any;
  id: Any;
  init: Any | null;
  left: Any;
  right: Any;
  callee: Any;
  arguments: Any[];
  properties: Any[];
  value: unknown;
  operator: string;
}

const GLOBAL_OBJECTS = new Set(["globalThis", "window", "self"]);
const KEYED = new Set([
  "AccessorProperty",
  "MethodDefinition",
  "Property",
  "PropertyDefinition",
  "TSAbstractMethodDefinition",
  "TSAbstractPropertyDefinition",
  "TSEnumMember",
  "TSMethodSignature",
  "TSPropertySignature",
]);

const same = (a: Any | null | undefined, b: Any) =>
  a?.type === b.type && a.range[0] === b.range[0] && a.range[1] === b.range[1];

/** True for an identifier that refers to nothing at run time: the name of a member, of a key, of a type. */
function isOnlyAName(node: Any): boolean {
  const { parent } = node;
  if (parent.type === "MemberExpression") return !parent.computed && !same(parent.object, node);
  if (KEYED.has(parent.type)) {
    return !parent.computed && same(parent.key, node) && !same(parent.value as Any, node);
  }
  return /^(?:Im|Ex)port\w*Specifier$|^TS(?:TypeReference|QualifiedName|TypeQuery|InterfaceHeritage|ClassImplements)$/
    .test(parent.type);
}

/** Name of a member where it can be read: `a.b`, `a["b"]`, a key of a pattern. */
function nameOf(part: Any, computed: boolean): string | null {
  if (part.type === "Identifier") return computed ? null : part.name;
  return part.type === "Literal" && typeof part.value === "string" ? part.value : null;
}

/** Keys that a destructuring takes; null when there is none, or one that takes the rest. */
function taken(pattern: Any | null): (string | null)[] | null {
  if (pattern?.type !== "ObjectPattern") return null;
  return pattern.properties.map((part) => part.type === "Property" ? nameOf(part.key, part.computed) : null);
}

/** Returns what an identifier uses of the globals, through `globalThis` too; nothing for one that is only a name. */
export function globalUses(identifier: Deno.lint.Node): GlobalUse[] {
  const node = identifier as unknown as Any;
  return isOnlyAName(node) ? [] : usesOf(node, node.name);
}

function usesOf(node: Any, name: string): GlobalUse[] {
  const { parent } = node;
  const use = (of: string, member: string | null, harmless = false): GlobalUse => {
    return { node: node as unknown as Deno.lint.Node, name: of, member, harmless };
  };
  const global = GLOBAL_OBJECTS.has(name);
  if (parent.type === "MemberExpression" && same(parent.object, node)) {
    const member = nameOf(parent.property, parent.computed);
    return global && member !== null ? usesOf(parent, member) : [use(name, member)];
  }
  const keys = parent.type === "VariableDeclarator" && same(parent.init, node)
    ? taken(parent.id)
    : parent.type === "AssignmentExpression" && same(parent.right, node)
    ? taken(parent.left)
    : null;
  if (keys !== null) return keys.map((key) => global && key !== null ? use(key, null) : use(name, key));
  const made = parent.type === "NewExpression" && same(parent.callee, node) && parent.arguments.length > 0;
  return [use(name, null, made || (parent.type === "BinaryExpression" && parent.operator === "instanceof"))];
}
