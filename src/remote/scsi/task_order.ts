/**
 * Which tasks of a logical unit may execute, and which have to wait (SAM-5, chapter 8, for the task attributes).
 *
 * Beyond the attributes there is one rule: where a cancelled task still has a write on its way to the image, tasks that begin later wait for
 * the end of it. A write that the initiator believes to be gone would otherwise land on top of a newer one.
 *
 * @module
 */
import { TaskAttribute } from "./scsi.ts";
import type { Task } from "./task.ts";

/** Tasks that wait for others, and how many do not. */
export class TaskOrder {
  /** In order of arrival. */
  readonly #waiting: Task[] = [];
  /** Tasks that execute, of all kinds; cancelled ones until they hold nothing any more. */
  #active = 0;
  #activeOrdered = 0;
  #activeHeadOfQueue = 0;
  #draining = 0;

  /**
   * A task has come.
   *
   * @param immediate It waits for nothing and nothing but ORDERED tasks waits for it, whatever its attribute.
   * @returns Whether it may begin; if not, {@linkcode next} will say when.
   */
  admit(task: Task, immediate: boolean): boolean {
    if (immediate) {
      this.#active++;
      return true;
    }
    const first = this.#waiting.length === 0 || task.attribute === TaskAttribute.HEAD_OF_QUEUE;
    if (first && this.#mayBegin(task)) {
      this.#begins(task);
      return true;
    }
    this.#waiting.push(task);
    return false;
  }

  /** A cancelled task has a block request in flight. */
  drains(): void {
    this.#draining++;
  }

  /**
   * A task is no more.
   *
   * @param immediate As it was in {@linkcode admit}.
   * @param drained Whether {@linkcode drains} was called for it.
   */
  remove(task: Task, immediate: boolean, drained: boolean): void {
    const place = this.#waiting.indexOf(task);
    if (place >= 0) {
      this.#waiting.splice(place, 1);
      return;
    }
    this.#active--;
    if (drained) this.#draining--;
    if (immediate) return;
    if (task.attribute === TaskAttribute.ORDERED) this.#activeOrdered--;
    if (task.attribute === TaskAttribute.HEAD_OF_QUEUE) this.#activeHeadOfQueue--;
  }

  /** Takes a task that may begin now. */
  next(): Task | undefined {
    if (this.#waiting.length === 0) return undefined;
    const urgent = this.#waiting.findIndex(({ attribute }) => attribute === TaskAttribute.HEAD_OF_QUEUE);
    const place = Math.max(0, urgent);
    const task = this.#waiting[place];
    if (!this.#mayBegin(task)) return undefined;
    this.#waiting.splice(place, 1);
    this.#begins(task);
    return task;
  }

  /** The tasks that wait, the youngest first. */
  waitingTasks(): Task[] {
    return this.#waiting.toReversed();
  }

  /** Whether a task may begin that no task waits before. */
  #mayBegin({ attribute }: Task): boolean {
    if (this.#draining > 0) return false;
    if (attribute === TaskAttribute.HEAD_OF_QUEUE) return true;
    if (attribute === TaskAttribute.ORDERED) return this.#active === 0;
    return this.#activeOrdered === 0 && this.#activeHeadOfQueue === 0;
  }

  #begins({ attribute }: Task): void {
    this.#active++;
    if (attribute === TaskAttribute.ORDERED) this.#activeOrdered++;
    if (attribute === TaskAttribute.HEAD_OF_QUEUE) this.#activeHeadOfQueue++;
  }
}
