/**
 * The moments of the ring's protocol at which the other side may do anything: where tests hold a side up.
 *
 * @module
 */

/** A moment, named by what has just been done. */
export type RingStep =
  /** The producer has filled a slot, and not published it. */
  | "filled"
  /** It has published the request, and not looked whether the consumer sleeps. */
  | "published"
  /** It has seen that the consumer sleeps, and not taken it upon itself to wake it. */
  | "saw the consumer asleep"
  /** It has taken it upon itself to wake the consumer, and not done so. */
  | "claimed the consumer"
  /** It has looked for an answer, or for room, in vain. */
  | "producer has to wait"
  /** It has announced that it sleeps, and not fallen asleep. */
  | "producer announced"
  /** It has woken up, and looked at nothing. */
  | "producer woken"
  /** The consumer has seen a request, and not carried it out. */
  | "taken"
  /** It has published that it carried out a request, and not looked whether the producer sleeps. */
  | "completed"
  /** It has seen that the producer sleeps, and not looked for what. */
  | "saw the producer asleep"
  /** It has taken it upon itself to wake the producer, and not done so. */
  | "claimed the producer"
  /** It has looked for requests in vain. */
  | "consumer is idle"
  /** It has announced that it sleeps, and not looked again whether it may. */
  | "consumer announced"
  /** It has looked, and not fallen asleep. */
  | "consumer falls asleep"
  /** It has woken up, and not taken the announcement back. */
  | "consumer woken";

/** Called at each of the moments, on the thread that is there. */
export type StepHook = (step: RingStep) => void;
