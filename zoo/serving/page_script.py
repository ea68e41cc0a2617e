"""What the page does: it asks for each model's answer in pieces, and shows every token with its probability."""

from __future__ import annotations

SCRIPT = r"""
'use strict';
const $ = id => document.getElementById(id);
const names = JSON.parse($('models').textContent);
let running = [];

function made(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

for (const [id, chosen] of [['a', 0], ['b', names.length > 1 ? 1 : -1]]) {
  if (id === 'b') $(id).append(made('option', 'nothing'));
  for (const name of names) $(id).append(made('option', name));
  $(id).selectedIndex = id === 'b' ? chosen + 1 : chosen;
}

function percent(logprob) {
  const share = Math.exp(logprob);
  return (share * 100).toFixed(share < 0.001 ? 4 : share < 0.1 ? 2 : 1) + ' %';
}

function table(place, token, top) {
  const rows = [...top].sort((x, y) => y[1] - x[1]).map(([text, logprob]) => {
    const row = made('tr');
    const cell = made('td', JSON.stringify(text));
    if (text === token) cell.style.fontWeight = 'bold';
    row.append(cell, made('td', percent(logprob)));
    return row;
  });
  place.replaceChildren(...rows);
}

function column(name, prompt) {
  const box = made('section'), text = made('div', undefined, 'text'), state = made('div', 'waiting', 'state');
  const details = made('table');
  if (prompt) text.append(made('span', prompt, 'prompt'));
  box.append(made('h2', name), text, state, details);
  $('answers').append(box);
  return {box, text, state, details, count: 0};
}

function add(shown, text, token, logprob, top) {
  const button = made('button', text);
  button.type = 'button';
  button.style.setProperty('--p', Math.exp(logprob));
  button.dataset.logprob = logprob;
  button.title = top.map(([t, l]) => JSON.stringify(t) + ' ' + percent(l)).join('\n');
  button.onclick = () => table(shown.details, token, top);
  shown.text.append(button);
  shown.count += 1;
}

function take(shown, choice, isChat) {
  const text = isChat ? (choice.delta.content || '') : choice.text;
  const found = isChat
    ? (choice.logprobs ? choice.logprobs.content.map(
        s => [s.token, s.logprob, s.top_logprobs.map(t => [t.token, t.logprob])]) : [])
    : (choice.logprobs ? choice.logprobs.tokens.map(
        (t, i) => [t, choice.logprobs.token_logprobs[i], Object.entries(choice.logprobs.top_logprobs[i])]) : []);
  found.forEach(([token, logprob, top], i) => add(shown, i === found.length - 1 ? text : '', token, logprob, top));
  if (!found.length && text) shown.text.append(text);
  if (choice.finish_reason) shown.box.dataset.finish = choice.finish_reason;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = '';
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    const lines = (held + value).split(/\r?\n/);
    held = lines.pop();
    for (const line of lines) if (line.startsWith('data: ') && line !== 'data: [DONE]') yield JSON.parse(line.slice(6));
  }
}

async function answer(name, prompt, settings) {
  const isChat = $('chat').checked, shown = column(name, isChat ? '' : prompt), abort = new AbortController();
  running.push(abort);
  const asked = {model: name, stream: true, ...settings,
    ...(isChat ? {messages: [{role: 'user', content: prompt}], logprobs: true, top_logprobs: 5}
               : {prompt, logprobs: 5})};
  const headers = {'Content-Type': 'application/json'};
  if ($('key').value) headers.Authorization = 'Bearer ' + $('key').value;
  const began = performance.now();
  try {
    const response = await fetch(isChat ? '/v1/chat/completions' : '/v1/completions',
      {method: 'POST', headers, body: JSON.stringify(asked), signal: abort.signal});
    if (!response.ok) throw new Error((await response.json()).error.message);
    for await (const told of events(response)) {
      if (told.error) throw new Error(told.error.message);
      for (const choice of told.choices) take(shown, choice, isChat);
      shown.state.textContent = `${shown.count} tokens`;
    }
    const seconds = (performance.now() - began) / 1000;
    shown.state.textContent = `${shown.count} tokens in ${seconds.toFixed(1)} s, ${shown.box.dataset.finish}`;
    shown.box.dataset.state = 'done';
  } catch (error) {
    shown.state.textContent = error.name === 'AbortError' ? 'stopped' : error.message;
    shown.state.classList.add('error');
    shown.box.dataset.state = 'error';
  }
}

$('form').onsubmit = async event => {
  event.preventDefault();
  $('answers').replaceChildren();
  running = [];
  $('go').disabled = true;
  $('stop').disabled = false;
  const settings = {max_tokens: Number($('tokens').value), temperature: Number($('temperature').value),
                    seed: Number($('seed').value)};
  const chosen = [names[$('a').selectedIndex]];
  if ($('b').selectedIndex > 0) chosen.push(names[$('b').selectedIndex - 1]);
  await Promise.all(chosen.map(name => answer(name, $('prompt').value, settings)));
  $('go').disabled = false;
  $('stop').disabled = true;
};
$('stop').onclick = () => running.forEach(abort => abort.abort());

if (location.hash.length > 1) {
  $('prompt').value = decodeURIComponent(location.hash.slice(1));
  $('form').requestSubmit();
}
"""
