import { DatabaseSync } from "node:sqlite";

/** Runs `work` and returns every statement that was prepared meanwhile, each once. */
export async function statementsOf(work: () => void | Promise<void>): Promise<string[]> {
  const { prepare } = DatabaseSync.prototype;
  const statements = new Set<string>();
  DatabaseSync.prototype.prepare = function (sql) {
    statements.add(sql.replace(/\s+/g, " ").trim());
    return prepare.call(this, sql);
  };
  try {
    await work();
  } finally {
    DatabaseSync.prototype.prepare = prepare;
  }
  return [...statements].filter((sql) => /^(SELECT|INSERT|UPDATE|DELETE)/.test(sql));
}

/** The statements that go through a whole table or sort what they find, with SQLite's plan for each. */
export function slowPlans(path: string, statements: readonly string[]): string[] {
  const db = new DatabaseSync(path);
  try {
    return statements.flatMap((sql) => {
      const rows = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all() as { detail: string }[];
      const slow = rows.map(({ detail }) => detail).filter((detail) =>
        // A list that the caller gave (json_each) is no table.
        /TEMP B-TREE/.test(detail) ||
        (/^SCAN /.test(detail) && !/ USING .*INDEX|CONSTANT ROW|VIRTUAL TABLE/.test(detail))
      );
      return slow.length === 0 ? [] : [`${sql}: ${slow.join(", ")}`];
    });
  } finally {
    db.close();
  }
}
