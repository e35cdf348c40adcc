// What the dial says about a ticket, and what its keys mean. Draws nothing.

const NO_OTHER_STOP = "No other α that can be set gives another ticket: choose by the number of tokens instead.";

function nameRule(byAlpha, value) {
  if (byAlpha) return `α = ${formatLevel(value)}`;
  return value === 1 ? "the token with the largest D" : `the ${formatCount(value)} tokens with the largest D`;
}

// Every number as the words before it, itself, and the words after it; `from` is D of the threshold, null for none.
function listNumbers(table, ticket, rule, from) {
  const share = `${formatShare(ticket.size, table.vocabularySize)} of ${formatCount(table.vocabularySize)}`;
  const counts = `(${formatCount(ticket.leastCount ?? 0)} of ${formatCount(table.width)})`;
  const cost = `parameters (${formatCount(ticket.size)} × ${formatCount(table.width)})`;
  return {
    rule: rule.startsWith("α") ? ["", rule, ""] : ["largest ", "D", ""],
    size: ["", formatCount(ticket.size), ` ${ticket.size === 1 ? "token" : "tokens"} (${share})`],
    from: from === null ? ["wins from D: ", "never", ""] : ["wins from ", `D = ${from}`, ` ${counts}`],
    cost: ["", formatCount(ticket.size * table.width), ` ${cost}`],
  };
}

// Equal D at the cut-off: who gets in, and that the histogram, if there is one, cannot tell them apart.
function describeTies(ticket, from, isDrawn) {
  if (ticket.tied === ticket.taken) return "";
  const drawn = isDrawn ? ", though all of them are drawn in green" : "";
  return (
    `${formatNoun(ticket.tied, "token")} have D = ${from}; the ${formatCount(ticket.taken)} of them with the larger ` +
    `L2 shift ${ticket.taken === 1 ? "is" : "are"} in the ticket${drawn}.`
  );
}

// Where a key leads: by stops of alpha (a page is a tenth of them), or by tokens (a page is their power of ten).
function findKeyPlace(key, now, first, last, byAlpha) {
  const page = byAlpha ? Math.max(1, Math.round(last / 10)) : 10 ** Math.floor(Math.log10(now));
  const places = {
    ArrowRight: now + 1,
    ArrowUp: now + 1,
    ArrowLeft: now - 1,
    ArrowDown: now - 1,
    PageUp: now + page,
    PageDown: now - (!byAlpha && now === page ? Math.max(1, page / 10) : page),
    Home: first,
    End: last,
  };
  return places[key];
}
