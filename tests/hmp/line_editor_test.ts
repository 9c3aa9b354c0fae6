import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { complete } from "../../src/hmp/completion.ts";
import { History } from "../../src/hmp/history.ts";
import type { EditKey, Key } from "../../src/hmp/keys.ts";
import { LINE_LIMIT, LineEditor } from "../../src/hmp/line_editor.ts";
import { runs } from "../support/runs.ts";
import { TerminalModel, WIDE_CHARACTERS } from "./terminal_model.ts";

const PROMPT = "(p) ";

/** Columns for the line: all but the prompt's, those of the mark of dropped lines, and the last. */
const ROOM = 80 - 1 - PROMPT.length - "^C".length;

/** Keys of a test: texts, and other keys in angle brackets. */
function keysOf(text: string): Key[] {
  return [...text.matchAll(/<([a-z-]+)>|[^]/gu)].map(([character, name]) => name as EditKey ?? { character });
}

/** An editor with its terminal. */
class Fixture {
  readonly terminal = new TerminalModel();
  readonly editor = new LineEditor({
    prompt: PROMPT,
    history: new History(),
    write: (text) => this.terminal.write(text),
    complete: (before) => complete(before, () => ["alpha", "beta", "gamma"]),
  });
  readonly entered: string[] = [];

  constructor(keys = "") {
    this.editor.show();
    this.type(keys);
  }

  type(keys: string): void {
    for (const key of keysOf(keys)) {
      const line = this.editor.type(key);
      if (line === undefined) continue;
      this.entered.push(line);
      this.editor.show();
    }
    this.editor.flush();
  }

  /** The line, with `|` for the cursor, as the terminal shows them. */
  get shown(): string {
    const { line, column } = this.terminal;
    assert(line.startsWith(PROMPT));
    return `${line.slice(PROMPT.length, column)}|${line.slice(column)}`;
  }
}

const CASES: Readonly<Record<string, [keys: string, shown: string]>> = {
  "characters go in at the cursor": ["acd<left><left>b", "ab|cd"],
  "left and right move by one, and stay within the line": ["ab<left><left><left><right>", "a|b"],
  "right stays at the end": ["ab<right>", "ab|"],
  "home and end go to the ends": ["bc<home>a<end>d", "abcd|"],
  "backspace takes the character before the cursor": ["abc<left><backspace>", "a|c"],
  "backspace at the beginning does nothing": ["ab<home><backspace>", "|ab"],
  "delete takes the character at the cursor": ["abc<home><delete>", "|bc"],
  "delete at the end does nothing": ["ab<delete>", "ab|"],
  "killing to the end keeps what is before the cursor": ["abcd<left><left><kill-to-end>", "ab|"],
  "killing to the start keeps what is behind the cursor": ["abcd<left><kill-to-start>", "|d"],
  "killing a word takes it with the blanks behind it": ["ab cd  <kill-word>", "ab |"],
  "killing words ends at the beginning": ["ab<kill-word><kill-word>", "|"],
  "going up and down shows entered lines, and the draft again": ["one<enter>two<enter>dr<previous><previous>", "one|"],
  "going down ends at the draft": ["one<enter>dr<previous><next>", "dr|"],
  "a shown line can be edited without changing the history": ["one<enter><previous>x<kill-to-start><previous>", "|"],
  "a name is completed at the cursor": ["ax<left><complete>", "alpha |x"],
  "after clearing the screen the line is where it was": ["ab<left><redraw>", "a|b"],
  "a dropped line is empty, and not kept": ["ab<left><drop-line><previous>", "|"],
};

for (const [name, [keys, shown]] of Object.entries(CASES)) {
  Deno.test(name, () => assertEquals(new Fixture(keys).shown, shown));
}

Deno.test("Enter gives the whole line, wherever the cursor is", () => {
  assertEquals(new Fixture("abc<home><enter><enter>x<enter>").entered, ["abc", "", "x"]);
});

Deno.test("an entered line stays on the screen above the next prompt", () => {
  const { terminal } = new Fixture("abc<home><enter>d");
  assertEquals(terminal.rows, ["(p) abc", "(p) d"]);
});

Deno.test("a dropped line stays on the screen, marked", () => {
  assertEquals(new Fixture("abc<home><drop-line>").terminal.rows, ["(p) abc^C", "(p) "]);
});

Deno.test("choices stand between the line and the line again", () => {
  const { terminal } = new Fixture("<complete>b");
  assertEquals(terminal.rows, ["(p) ", "alpha  beta   gamma", "(p) b"]);
});

Deno.test("clearing the screen leaves the prompt's row only", () => {
  assertEquals(new Fixture("a<enter>b<redraw>").terminal.rows, ["(p) b"]);
});

Deno.test("what does not fit is left out on the left, up to the cursor", () => {
  const line = "0123456789".repeat(20);
  assertEquals(new Fixture(line).shown, `${line.slice(-ROOM)}|`);
});

Deno.test("of a long line with the cursor at the beginning, the beginning is shown", () => {
  const line = "0123456789".repeat(20);
  assertEquals(new Fixture(`${line}<home>`).shown, `|${line.slice(0, ROOM)}`);
});

Deno.test("wide characters take two columns", () => {
  const { terminal } = new Fixture(`${"漢".repeat(60)}`);
  assertEquals(terminal.line, PROMPT + "漢".repeat(Math.floor(ROOM / 2)));
});

Deno.test("characters typed at the end are written, and nothing else", () => {
  let written = "";
  const editor = new LineEditor({
    prompt: PROMPT,
    history: new History(),
    write: (text) => written += text,
    complete: () => ({ insert: "", choices: [] }),
  });
  editor.show();
  for (const key of keysOf("info")) editor.type(key);
  editor.flush();
  assertEquals(written, "(p) info");
});

Deno.test("a line has 4095 bytes at most", () => {
  const { editor } = new Fixture("x".repeat(5000));
  assertEquals(editor.line, "x".repeat(4095));
});

Deno.test("the limit is one of bytes: a character that does not fit is dropped", () => {
  const { editor } = new Fixture(`${"漢".repeat(1365)}é`);
  assertEquals([LINE_LIMIT, editor.line], [4095, "漢".repeat(1365)]);
});

Deno.test("a completion that does not fit is left out", () => {
  const { editor } = new Fixture(`${"x".repeat(4091)} b<complete>`);
  assertEquals(editor.line, `${"x".repeat(4091)} b`);
});

/** A line and a cursor, as simple as can be. */
interface Reference {
  readonly before: readonly string[];
  readonly after: readonly string[];
}

const REFERENCE: Readonly<Record<string, (line: Reference) => Reference>> = {
  "left": ({ before, after }) => ({ before: before.slice(0, -1), after: [...before.slice(-1), ...after] }),
  "right": ({ before, after }) => ({ before: [...before, ...after.slice(0, 1)], after: after.slice(1) }),
  "home": ({ before, after }) => ({ before: [], after: [...before, ...after] }),
  "end": ({ before, after }) => ({ before: [...before, ...after], after: [] }),
  "backspace": ({ before, after }) => ({ before: before.slice(0, -1), after }),
  "delete": ({ before, after }) => ({ before, after: after.slice(1) }),
  "kill-to-start": ({ after }) => ({ before: [], after }),
  "kill-to-end": ({ before }) => ({ before, after: [] }),
  "redraw": (line) => line,
  "drop-line": () => ({ before: [], after: [] }),
};

function referenceStep({ before, after }: Reference, key: Key): Reference {
  return typeof key === "object" ? { before: [...before, key.character], after } : REFERENCE[key]({ before, after });
}

const anyKey: fc.Arbitrary<Key> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom("a", " ", "é", ...WIDE_CHARACTERS).map((character) => ({ character })) },
  { weight: 2, arbitrary: fc.constantFrom(...Object.keys(REFERENCE) as EditKey[]) },
);

/** Keys in the pieces in which they are drawn; some are typed many times. */
const keyPieces = fc.array(
  fc.array(fc.tuple(anyKey, fc.oneof({ weight: 5, arbitrary: fc.constant(1) }, fc.nat(50))), { maxLength: 8 }),
  { maxLength: 12 },
);

Deno.test("[property] the terminal shows the line and the cursor, or as much as there is room for", () => {
  fc.assert(
    fc.property(keyPieces, (pieces) => {
      const { editor, terminal } = new Fixture();
      let reference: Reference = { before: [], after: [] };
      for (const piece of pieces) {
        for (const [key, times] of piece) {
          for (let i = 0; i < times; i++) {
            editor.type(key);
            reference = referenceStep(reference, key);
          }
        }
        editor.flush();
        checkShown(terminal, reference);
        assertEquals(terminal.wraps, 0);
        assertEquals(editor.line, [...reference.before, ...reference.after].join(""));
      }
    }),
    { numRuns: runs(300, 3000) },
  );
});

Deno.test("[property] whatever is typed, a line has 4095 bytes at most", () => {
  const more: fc.Arbitrary<Key> = fc.constantFrom("previous", "next", "complete", "enter", "kill-word");
  const repeated = fc.tuple(fc.oneof({ weight: 4, arbitrary: anyKey }, more), fc.constantFrom(1, 2, 700, 4094));
  fc.assert(
    fc.property(fc.array(repeated, { maxLength: 12 }), (strokes) => {
      const { editor } = new Fixture();
      for (const [key, times] of strokes) {
        for (let i = 0; i < times; i++) {
          editor.type(key);
          if (key === "enter") break;
        }
        assert(new TextEncoder().encode(editor.line).length <= LINE_LIMIT);
      }
    }),
    { numRuns: runs(50, 500) },
  );
});

function width(text: string): number {
  return [...text].reduce((sum, character) => sum + (WIDE_CHARACTERS.includes(character) ? 2 : 1), 0);
}

function checkShown(terminal: TerminalModel, { before, after }: Reference): void {
  assert(terminal.line.startsWith(PROMPT));
  const shown = terminal.line.slice(PROMPT.length);
  const [left, right] = [before.join(""), after.join("")];
  if (width(left + right) <= ROOM) {
    assertEquals(shown, left + right);
    return assertEquals(terminal.column, PROMPT.length + width(left));
  }
  const shownLeft = [...shown].filter((_, i, all) => width(all.slice(0, i + 1).join("")) <= terminal.column - 4).join(
    "",
  );
  assert(left.endsWith(shownLeft));
  assert(right.startsWith(shown.slice(shownLeft.length)));
  assert(width(shown) >= ROOM - 1 || right === shown.slice(shownLeft.length));
}
