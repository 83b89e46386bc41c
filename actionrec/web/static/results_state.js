// What the error browser shows, kept in the page's address, so that a link or "back" shows it again.

const FILTERS = ["model", "true", "predicted", "answers", "min_confidence", "max_confidence", "group", "suspect", "disagree", "sort"];

const USUAL_SORT = "most_confident";

/** Which answers are listed if the address does not say it: errors, unless it asks for a correct cell of the matrix. */
const usual = (state) => (state.true && state.true === state.predicted ? "correct" : "wrong");

/** The query of `GET /test-clips` for a state. */
export function queryOf(state) {
  const query = new URLSearchParams();
  for (const name of FILTERS) if (name !== "answers" && state[name]) query.set(name, state[name]);
  if (state.answers !== "all") query.set("correct", state.answers === "correct");
  return query;
}

/** Create the state from the address. */
export function createState() {
  const followers = [];
  let known = null;
  const state = {
    values: read(),

    /** Set the models and classes; values of others are dropped. */
    knows(choices) {
      known = choices;
      state.values = sound(state.values);
    },

    /** Call a function with the values whenever they change. */
    follow(follower) {
      followers.push(follower);
    },

    /** Merge new values. */
    change(values) {
      state.values = sound({ ...state.values, ...values });
      write(state.values);
      for (const follower of followers) follower(state.values);
    },

    /** Remember which clip is open, without telling anyone. */
    opened(clip) {
      state.values = { ...state.values, clip };
      write(state.values);
    },
  };

  function sound(values) {
    if (!known) return values;
    const classes = new Set(known.classes.map((one) => one.label));
    const kept = { ...values };
    if (!known.models.includes(kept.model)) kept.model = known.models[0];
    for (const name of ["true", "predicted"]) if (!classes.has(kept[name])) kept[name] = "";
    return kept;
  }

  function write(values) {
    const query = new URLSearchParams();
    for (const name of [...FILTERS, "clip"]) {
      const defaults = { answers: usual(values), model: known?.models[0], sort: USUAL_SORT };
      if (values[name] && values[name] !== defaults[name]) query.set(name, values[name]);
    }
    const text = query.toString();
    history.replaceState(null, "", `${location.pathname}${text ? `?${text}` : ""}#clips`);
  }

  return state;
}

function read() {
  const query = new URLSearchParams(location.search);
  const values = Object.fromEntries([...FILTERS, "clip"].map((name) => [name, query.get(name) ?? ""]));
  if (!["wrong", "correct", "all"].includes(values.answers)) values.answers = usual(values);
  for (const name of ["min_confidence", "max_confidence"]) if (values[name] && !(Number(values[name]) >= 0 && Number(values[name]) <= 1)) values[name] = "";
  for (const name of ["suspect", "disagree"]) if (!["true", "false"].includes(values[name])) values[name] = "";
  if (!["clip", "most_confident", "least_confident", "fewest_correct"].includes(values.sort)) values.sort = USUAL_SORT;
  return values;
}
