"use strict";
// State: ratings by item id, in the order they were given, and items that are not known.
const ratings = new Map();
const skipped = new Set();
let facts = {low: 0.5, high: 5, unit: "stars"};
let asked = null;
let latest = 0;
let failed = false;
let searches = 0;
let listed = null; // the text that the list of titles is about

const $ = id => document.getElementById(id);
const say = text => { $("message").textContent = text; };

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children); // text is text here, whatever it looks like
  return made;
}

async function get(path, body) {
  const options = body && {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body),
  };
  const answer = await fetch(path, options);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.detail ?? answer.statusText);
  return content;
}

const given = () => Object.fromEntries([...ratings].map(([id, {rating}]) => [id, rating]));

async function refresh() {
  const turn = ++latest;
  try {
    const {items} = await get("api/recommend", {ratings: given(), n: 10});
    if (turn !== latest) return;
    if (failed) say("");
    failed = false;
    showList(items);
    $("news").textContent = ratings.size ? `The list has changed. First: ${items[0].title}` : "";
  } catch (error) {
    if (turn !== latest) return;
    failed = true;
    say(error.message);
  }
}

function showList(items) {
  $("hint").textContent = ratings.size
    ? `The dot is your expected rating in ${facts.unit}, the bar its 95% interval.`
    : `For anybody, until you rate. The dot is the expected rating in ${facts.unit}, the bar its 95% interval.`;
  $("list").replaceChildren(...items.map(item => {
    const kinds = item.genres.replaceAll("|", ", ");
    const reasons = sign => item.reasons.filter(({effect}) => sign * effect > 0).flatMap(
      ({title, effect}, n) => [n ? ", " : sign > 0 ? "for: " : "against: ", element(
        "span", {class: sign > 0 ? "for" : "against"},
        `${title} ${sign > 0 ? "+" : "\u2212"}${Math.abs(effect).toFixed(2)}`,
      )]);
    return element("li", {},
      element("div", {},
        element("p", {class: "title"}, item.title),
        element("p", {class: "facts"}, [kinds, `${item.n_ratings} ratings`].filter(Boolean).join(" · ")),
        expected(item),
        ...(item.reasons.length
          ? [1, -1].map(sign => element("p", {class: "reasons"}, ...reasons(sign))) : []),
      ));
  }));
}

function expected(item) {
  const x = value => 100 * (value - facts.low) / (facts.high - facts.low);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const draw = (name, attributes) => {
    const made = document.createElementNS(svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    svg.append(made);
  };
  const interval = item.low == null ? "without an interval"
    : `95% interval: ${item.low.toFixed(1)} to ${item.high.toFixed(1)}`;
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", interval);
  draw("line", {x1: "0%", x2: "100%", y1: "50%", y2: "50%"});
  if (item.low != null)
    draw("line", {class: "bar", x1: `${x(item.low)}%`, x2: `${x(item.high)}%`, y1: "50%", y2: "50%"});
  draw("circle", {cx: `${x(item.prediction)}%`, cy: "50%", r: "6"});
  const text = element("span", {}, `${item.prediction.toFixed(1)} ${facts.unit}`);
  return element("div", {class: "expected"}, svg, text);
}

function add(item, focus) {
  if (!ratings.has(item.item_id)) {
    const rating = Math.round(2 * (facts.low + 3 * facts.high) / 4) / 2;
    ratings.set(item.item_id, {title: item.title, rating});
    say(`${item.title} has ${rating} ${facts.unit} to begin with: move its slider to your rating.`);
  }
  $("question").replaceChildren();
  close();
  $("search").value = "";
  showRated(focus ? item.item_id : null);
  refresh();
}

function showRated(focus) {
  $("rated").replaceChildren(...[...ratings].reverse().map(([id, entry]) => {
    const step = facts.high - facts.low > 20 ? 1 : 0.5;
    const slider = element("input", {
      type: "range", min: facts.low, max: facts.high, step, value: entry.rating,
      "aria-label": `Your rating of ${entry.title}`, "aria-valuetext": `${entry.rating} ${facts.unit}`,
    });
    const shown = element("output", {}, String(entry.rating));
    slider.addEventListener("input", () => {
      entry.rating = Number(slider.value);
      shown.textContent = slider.value;
      slider.setAttribute("aria-valuetext", `${slider.value} ${facts.unit}`);
    });
    slider.addEventListener("change", () => { say(""); refresh(); });
    const remove = element("button", {type: "button", "aria-label": `Remove ${entry.title}`}, "×");
    remove.addEventListener("click", () => {
      ratings.delete(id);
      showRated();
      $("search").focus();
      refresh();
    });
    if (id === focus) setTimeout(() => slider.focus());
    return element("li", {}, element("div", {class: "title"}, entry.title),
      element("div", {class: "row"}, slider, shown, remove));
  }));
}

function close() {
  searches += 1; // an answer that is under way opens no list
  $("found").hidden = true;
  $("search").setAttribute("aria-expanded", "false");
  $("search").removeAttribute("aria-activedescendant");
}

async function search() {
  const query = $("search").value.trim();
  if (!query) return close();
  const turn = ++searches;
  try {
    const {items} = await get(`api/search?q=${encodeURIComponent(query)}`);
    if (turn !== searches) return;
    $("found").replaceChildren(...items.map((item, n) => {
      const option = element("li", {role: "option", id: `option-${n}`, "aria-selected": "false"}, item.title);
      option.addEventListener("mousedown", event => { event.preventDefault(); add(item, true); });
      option.item = item;
      return option;
    }));
    listed = query;
    $("found").hidden = !items.length;
    $("search").setAttribute("aria-expanded", String(items.length > 0));
    say(items.length ? `${items.length} titles found` : "No title like this.");
  } catch (error) {
    say(error.message);
  }
}

function move(step) {
  const options = [...$("found").children];
  if ($("found").hidden || !options.length) return;
  const now = options.findIndex(option => option.getAttribute("aria-selected") === "true");
  const next = (now + step + options.length + (now < 0 && step < 0 ? 1 : 0)) % options.length;
  options.forEach((option, n) => option.setAttribute("aria-selected", String(n === next)));
  $("search").setAttribute("aria-activedescendant", options[next].id);
}

$("search").addEventListener("input", search);
$("search").addEventListener("blur", close);
$("search").addEventListener("keydown", event => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    move(event.key === "ArrowDown" ? 1 : -1);
  } else if (event.key === "Enter") {
    const options = [...$("found").children];
    const chosen = options.find(option => option.getAttribute("aria-selected") === "true") ?? options[0];
    const current = listed === $("search").value.trim();
    if (!$("found").hidden && chosen && current) add(chosen.item, true);
  } else if (event.key === "Escape") close();
});
$("ask").addEventListener("click", async () => {
  if (asked && !ratings.has(asked.item_id)) skipped.add(asked.item_id);
  try {
    asked = await get("api/ask", {ratings: given(), skip: [...skipped]});
    const yes = element("button", {type: "button"}, "I know it");
    yes.addEventListener("click", () => add(asked, true));
    say(`Do you know ${asked.title}? Otherwise ask again.`);
    $("question").replaceChildren(yes);
  } catch (error) {
    say(error.message);
  }
});

get("api/facts").then(found => {
  facts = found;
  $("about").textContent += ` ${facts.model} on ${facts.dataset}.`;
  refresh();
}).catch(error => say(error.message));
