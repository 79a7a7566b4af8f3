/** The promises that a run is checked against. The numbers are those of the reliability contract where it has one. */
export const INVARIANTS = {
  I0: "no unexpected error inside the runner",
  I1: "nothing is acknowledged or answered before the model's own record shows it",
  I2: "no message is lost and none is stuck once everything works again",
  I3: "no message is delivered twice, and a second delivery says that it is one",
  I4: "work is delivered with a live lease only, and no two agents do it",
  I5: "direct mail keeps its order",
  I6: "one provider at most lives, and only it gets deliveries",
  I8: "the status tells the truth",
  I9: "a lifecycle command has one effect, and a foreign one none",
  I10: "a run ends within its bounds and for its reason",
  I12: "every wait has an end",
  I16: "restarts keep their delays and their limit",
  I17: "queue and window keep their bounds",
} as const;

export type InvariantId = keyof typeof INVARIANTS;
