/**
 * Device state: named, versioned fields in one flat buffer.
 *
 * A device keeps its registers in such a record rather than in object properties, for two reasons. In a
 * `SharedArrayBuffer`, several vCPU threads can each hold a device object over the same registers (under the platform
 * lock). And every device's state can be saved and restored by field name, whatever the order of fields or the
 * version of the program.
 *
 * ```ts
 * const TimerState = defineState("timer", 1, { control: "u8", reload: "u32", fifo: bytes(16) });
 * const state = TimerState.allocate();
 * state.control = 0x1ff; // stored as 0xff: fields wrap as their width does
 * const saved = state.save();
 * ```
 *
 * @module
 */

/** A field of one number (unsigned unless `i32`; `f64` for times and counts over 32 bits) or one truth value. */
export type ScalarField = "u8" | "u16" | "u32" | "i32" | "f64" | "bool";

/** A field that is a fixed run of bytes. */
export interface BytesField {
  readonly bytes: number;
}

/** Describes a state record: field name → type. */
export type StateFields = Readonly<Record<string, ScalarField | BytesField>>;

/** The values of a record's fields, as properties. */
export type StateValues<F extends StateFields> =
  & {
    -readonly [K in keyof F as F[K] extends BytesField ? never : K]: F[K] extends "bool" ? boolean : number;
  }
  & { readonly [K in keyof F as F[K] extends BytesField ? K : never]: Uint8Array };

/** Memory for some of a record's runs of bytes, by field name, each of the field's length. */
export type StatePlaces<F extends StateFields> = {
  readonly [K in keyof F as F[K] extends BytesField ? K : never]?: Uint8Array;
};

/** What {@linkcode StateRecord.save} returns: plain data that can be serialised. */
export interface SavedState {
  readonly name: string;
  readonly version: number;
  readonly fields: Readonly<Record<string, number | boolean | Uint8Array>>;
}

/** A record in memory. */
export interface StateRecord {
  /**
   * The memory that holds the fields but those with a place of their own; hand it to {@linkcode StateLayout.attach} on
   * another thread.
   */
  readonly buffer: ArrayBufferLike;
  /** A copy of every field, by name. */
  save(): SavedState;
  /**
   * Takes over every field that `saved` names; fields it does not name keep their value.
   *
   * @throws {TypeError} when the name differs, the version is newer than this layout's, a field is unknown, or a
   * value has the wrong type or length. The record is then unchanged.
   */
  restore(saved: SavedState): void;
}

/** A layout: makes records. */
export interface StateLayout<F extends StateFields> {
  readonly name: string;
  readonly version: number;
  /** Size of a record in bytes. */
  readonly size: number;
  /**
   * A zeroed record in memory of its own.
   *
   * @param options `shared`: shareable between threads. `places`: memory, as it is, for fields that have to lie
   * somewhere else.
   * @throws {RangeError} when a place does not have the field's length.
   */
  allocate(options?: { shared?: boolean; places?: StatePlaces<F> }): StateValues<F> & StateRecord;
  /** A record over a buffer that another thread allocated. */
  attach(buffer: ArrayBufferLike): StateValues<F> & StateRecord;
}

/** Declares a field of `length` bytes. */
export function bytes(length: number): BytesField {
  return { bytes: length };
}

interface Placed {
  readonly name: string;
  readonly type: ScalarField | BytesField;
  readonly offset: number;
}

const WIDTH: Record<ScalarField, number> = { bool: 1, u8: 1, u16: 2, u32: 4, i32: 4, f64: 8 };

function place(fields: StateFields): { placed: Placed[]; size: number } {
  let offset = 0;
  const placed: Placed[] = [];
  for (const [name, type] of Object.entries(fields)) {
    const width = typeof type === "string" ? WIDTH[type] : 8;
    offset = Math.ceil(offset / width) * width;
    placed.push({ name, type, offset });
    offset += typeof type === "string" ? width : type.bytes;
  }
  return { placed, size: Math.max(8, Math.ceil(offset / 8) * 8) };
}

/** An accessor over a typed array made once for the record, so that a field costs an indexed load or store. */
function accessor({ name, type, offset }: Placed, buffer: ArrayBufferLike, place?: Uint8Array): PropertyDescriptor {
  if (typeof type !== "string") {
    if (place !== undefined && place.length !== type.bytes) {
      throw new RangeError(`Field ${name} has ${type.bytes} bytes, and its place ${place.length}`);
    }
    return { enumerable: true, value: place ?? new Uint8Array(buffer, offset, type.bytes) };
  }
  if (type === "bool") {
    const array = new Uint8Array(buffer, offset, 1);
    return { enumerable: true, get: () => array[0] !== 0, set: (value: boolean) => array[0] = value ? 1 : 0 };
  }
  const Arrays = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, i32: Int32Array, f64: Float64Array };
  const array = new Arrays[type](buffer as ArrayBuffer, offset, 1);
  return { enumerable: true, get: () => array[0], set: (value: number) => array[0] = value };
}

function valueProblem(type: ScalarField | BytesField, value: unknown): string | undefined {
  if (typeof type !== "string") {
    if (!(value instanceof Uint8Array)) return "is not a run of bytes";
    return value.length === type.bytes ? undefined : `has ${value.length} bytes instead of ${type.bytes}`;
  }
  if (type === "bool") return typeof value === "boolean" ? undefined : "is not a boolean";
  return typeof value === "number" ? undefined : "is not a number";
}

/**
 * Declares a layout.
 *
 * @param name The device's name in saved state.
 * @param version Raised when a field's meaning changes; adding fields needs no new version.
 * @param fields The fields, in any order.
 */
export function defineState<const F extends StateFields>(name: string, version: number, fields: F): StateLayout<F> {
  const { placed, size } = place(fields);

  function attach(buffer: ArrayBufferLike, places: StatePlaces<F> = {}): StateValues<F> & StateRecord {
    if (buffer.byteLength < size) {
      throw new RangeError(`The state of ${name} takes ${size} bytes, not ${buffer.byteLength}`);
    }
    const record: Record<string, unknown> = {};
    const placeOf = new Map(Object.entries<Uint8Array | undefined>(places));
    for (const field of placed) {
      Object.defineProperty(record, field.name, accessor(field, buffer, placeOf.get(field.name)));
    }
    const hidden = {
      buffer,
      save: () => save(record),
      restore: (saved: SavedState) => restore(record, saved),
    };
    for (const [key, value] of Object.entries(hidden)) Object.defineProperty(record, key, { value });
    return record as StateValues<F> & StateRecord;
  }

  function save(record: Record<string, unknown>): SavedState {
    const values: Record<string, number | boolean | Uint8Array> = {};
    for (const field of placed) {
      const value = record[field.name] as number | boolean | Uint8Array;
      values[field.name] = value instanceof Uint8Array ? value.slice() : value;
    }
    return { name, version, fields: values };
  }

  function restore(record: Record<string, unknown>, saved: SavedState): void {
    if (saved.name !== name) throw new TypeError(`Saved state of ${saved.name} given to ${name}`);
    if (saved.version > version) {
      throw new TypeError(`Saved state of ${name} has version ${saved.version}; this program knows up to ${version}`);
    }
    for (const [key, value] of Object.entries(saved.fields)) {
      if (!Object.hasOwn(fields, key)) throw new TypeError(`Saved state of ${name} has an unknown field ${key}`);
      const problem = valueProblem(fields[key], value);
      if (problem !== undefined) throw new TypeError(`Saved state of ${name}: field ${key} ${problem}`);
    }
    for (const [key, value] of Object.entries(saved.fields)) {
      if (value instanceof Uint8Array) (record[key] as Uint8Array).set(value);
      else record[key] = value;
    }
  }

  return {
    name,
    version,
    size,
    allocate: ({ shared = false, places } = {}) =>
      attach(shared ? new SharedArrayBuffer(size) : new ArrayBuffer(size), places),
    attach: (buffer) => attach(buffer),
  };
}
