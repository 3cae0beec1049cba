'use strict';
// The parts of a report that answer: viewers, the confusion matrix, two models.
(() => {
  const { element } = page;
  const data = JSON.parse(document.getElementById('report-data').textContent);
  const { items, layers, classes } = page.galleries.gallery;
  const box = (id) => document.getElementById(id);
  const chosen = (id) => Number(box(id).value);
  const onChange = (ids, act) => ids.forEach((id) => box(id).addEventListener('change', act));
  const SHOWN = 24;

  function options(select, pairs, value) {
    select.replaceChildren(...pairs.map(([key, text]) => element('option', { value: key, textContent: text })));
    select.value = value;
  }

  function overlay(item, layer, side) {
    const source = item.layers[layer];
    return source ? [element('img', { src: source, alt: '', className: `overlay ${side}`, draggable: false })] : [];
  }

  // Photographs one after the other, two layers over each, and a slider between them.
  class Viewer {
    constructor(id, left, right) {
      this.box = box(id);
      this.entries = [];
      this.build();
      this.sides(left, right);
    }

    build() {
      const select = (text, act) => {
        const made = element('select');
        made.addEventListener('change', act);
        return [element('label', { textContent: text }, made), made];
      };
      const [leftLabel, left] = select('left', () => this.show(this.place));
      const [rightLabel, right] = select('right', () => this.show(this.place));
      Object.assign(this, { left, right });
      this.blinker = element('button', { type: 'button', textContent: 'Blink' });
      this.blinker.setAttribute('aria-pressed', 'false');
      this.blinker.addEventListener('click', () => this.blink());
      this.slider = element('input', { type: 'range', min: 0, max: 100, value: 50, className: 'wipe' });
      this.slider.setAttribute('aria-label', 'Wipe between the left and the right layer');
      this.slider.addEventListener('input', () => this.wipe(this.slider.value));
      this.stage = element('div', { className: 'stage' });
      this.stage.addEventListener('pointerdown', (event) => this.drag(event));
      this.stage.addEventListener('pointermove', (event) => event.buttons && this.drag(event));
      this.says = element('p', { className: 'says' });
      this.strip = element('ul', { className: 'strip' });
      const controls = element('div', { className: 'controls' }, leftLabel, rightLabel, this.opacity(), this.blinker);
      this.box.append(controls, element('div', {}, this.stage, this.slider, this.says), this.strip);
    }

    opacity() {
      const slider = element('input', { type: 'range', min: 0, max: 1, step: 0.05, value: 0.6 });
      slider.addEventListener('input', () => this.box.style.setProperty('--opacity', slider.value));
      return element('label', { textContent: 'opacity' }, slider);
    }

    sides(left, right) {
      const pairs = [...Object.entries(layers), ['', 'photograph only']];
      options(this.left, pairs, left);
      options(this.right, pairs, right);
    }

    drag(event) {
      const { left, width } = this.stage.getBoundingClientRect();
      this.slider.value = (100 * (event.clientX - left)) / width;
      this.wipe(this.slider.value);
    }

    wipe(percent) {
      this.stage.style.setProperty('--at', `${percent}%`);
      this.stage.querySelector('.tag.left').hidden = Number(percent) < 4;
      this.stage.querySelector('.tag.right').hidden = Number(percent) > 96;
    }

    blink() {
      const on = this.timer === undefined;
      this.blinker.setAttribute('aria-pressed', String(on));
      clearInterval(this.timer);
      this.timer = undefined;
      this.wipe(this.slider.value);
      if (!on) return;
      let side = 0;
      const turn = () => {
        side = 100 - side;
        this.wipe(side);
      };
      turn();
      this.timer = setInterval(turn, 800);
    }

    // Entries: [place in items, one line to say of it].
    list(entries) {
      this.entries = entries;
      this.strip.replaceChildren();
      this.box.hidden = !entries.length;
      if (!entries.length) return;
      this.more();
      this.show(0);
    }

    more() {
      this.strip.querySelector('.further')?.parentElement.remove();
      const from = this.strip.children.length;
      this.entries.slice(from, from + SHOWN).forEach(([number, text], place) => {
        const item = items[number];
        const image = element('img', { src: item.photo, alt: '', loading: 'lazy' });
        const button = element('button', { type: 'button' }, element('span', { className: 'stack' }, image));
        button.setAttribute('aria-label', `Show ${item.name}, ${text}`);
        button.addEventListener('click', () => this.show(from + place));
        this.strip.append(element('li', {}, button, element('span', { className: 'facts', textContent: text })));
      });
      const left = this.entries.length - this.strip.children.length;
      if (left <= 0) return;
      const button = element('button', { type: 'button', className: 'further', textContent: `${left} more` });
      button.addEventListener('click', () => this.more());
      this.strip.append(element('li', {}, button));
    }

    show(place) {
      const [number, text] = this.entries[place];
      const item = items[number];
      this.place = place;
      const stack = element('span', { className: 'stack' });
      stack.style.aspectRatio = item.size.join(' / ');
      stack.append(element('img', { src: item.photo, alt: item.name, draggable: false }),
        ...overlay(item, this.left.value, 'left'), ...overlay(item, this.right.value, 'right'));
      const tag = (side) => element('span', { className: `tag ${side}`, textContent: layers[this[side].value] ?? 'photograph' });
      this.stage.replaceChildren(stack, element('span', { className: 'edge' }), tag('left'), tag('right'));
      if (this.timer === undefined) this.wipe(this.slider.value);
      this.says.textContent = `${item.name}: ${text}`;
      this.strip.querySelectorAll('button:not(.further)').forEach((button, at) => {
        button.setAttribute('aria-current', String(at === place));
      });
    }
  }

  function percent(share) {
    const value = 100 * share;
    return value === 0 ? '0' : value < 0.05 ? '<.1' : value.toFixed(value < 9.95 ? 1 : 0);
  }

  const short = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });
  const whole = new Intl.NumberFormat('en');

  class Matrix {
    constructor() {
      this.table = box('matrix');
      this.held = classes.map((_, id) => id).filter((id) => data.confusion.some((counts) => counts[id].some(Boolean) || counts.some((row) => row[id])));
      this.viewer = new Viewer('matrix-viewer', 'truth', 'predicted0');
      this.at = [0, 0];
      onChange(['matrix-model', 'matrix-norm'], () => this.draw());
      this.table.addEventListener('keydown', (event) => this.move(event));
      this.draw();
    }

    draw() {
      this.counts = data.confusion[chosen('matrix-model')];
      this.norm = box('matrix-norm').value;
      this.table.classList.toggle('pixels', this.norm === 'pixels');
      const corner = element('td', { textContent: 'true ↓ predicted →' });
      const head = this.held.map((id) => element('th', { scope: 'col', textContent: classes[id][0], title: classes[id][0] }));
      const rows = this.held.map((id, row) => element('tr', {}, this.heading(id), ...this.held.map((_, column) => this.cell(row, column))));
      this.table.replaceChildren(element('thead', {}, element('tr', {}, corner, ...head)), element('tbody', {}, ...rows));
      if (this.picked) this.pick(...this.picked);
    }

    heading(id) {
      const swatch = element('span', { className: 'swatch' });
      swatch.style.background = classes[id][1];
      return element('th', { scope: 'row', title: classes[id][0] }, swatch, classes[id][0]);
    }

    share(row, column) {
      const [from, to] = [this.held[row], this.held[column]];
      const sum = this.norm === 'prediction' ? this.counts.reduce((all, counts) => all + counts[to], 0) : this.counts[from].reduce((a, b) => a + b, 0);
      return sum ? this.counts[from][to] / sum : null;
    }

    cell(row, column) {
      const share = this.share(row, column);
      const count = this.counts[this.held[row]][this.held[column]];
      const text = this.norm === 'pixels' ? short.format(count) : share === null ? '–' : percent(share);
      const button = element('button', { type: 'button', textContent: text, tabIndex: row === this.at[0] && column === this.at[1] ? 0 : -1 });
      const strength = Math.sqrt(share ?? 0);
      button.style.setProperty('--cell', row === column ? '#0072B2' : '#E69F00');
      button.style.setProperty('--strength', strength.toFixed(3));
      button.classList.toggle('wrong', row !== column);
      button.classList.toggle('strong', strength > (row === column ? 0.88 : 0.7));
      button.setAttribute('aria-label', `${this.name(row, column)}: ${text}${this.norm === 'pixels' ? ' pixels' : ' %'}`);
      button.setAttribute('aria-pressed', 'false');
      button.addEventListener('click', () => this.pick(row, column));
      return element('td', {}, button);
    }

    name(row, column) {
      return `true ${classes[this.held[row]][0]}, predicted ${classes[this.held[column]][0]}`;
    }

    button(row, column) {
      return this.table.tBodies[0].rows[row].cells[column + 1].firstChild;
    }

    move(event) {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const place = this.at.map((at, axis) => Math.min(Math.max(at + step[axis], 0), this.held.length - 1));
      this.stop(...place);
      this.button(...place).focus();
    }

    stop(row, column) {
      this.button(...this.at).tabIndex = -1;
      this.at = [row, column];
      this.button(row, column).tabIndex = 0;
    }

    pick(row, column) {
      if (this.picked) this.button(...this.picked).setAttribute('aria-pressed', 'false');
      this.stop(row, column);
      this.picked = [row, column];
      this.button(row, column).setAttribute('aria-pressed', 'true');
      const model = chosen('matrix-model');
      const wanted = this.held[row] * classes.length + this.held[column];
      const found = [];
      data.cells[model].forEach((cells, number) => {
        for (let at = 0; at < cells.length; at += 2) if (cells[at] === wanted) found.push([number, cells[at + 1]]);
      });
      found.sort((a, b) => b[1] - a[1]);
      const total = found.reduce((sum, [, pixels]) => sum + pixels, 0);
      box('matrix-status').textContent = `${this.name(row, column)}: ${whole.format(total)} pixels in ${whole.format(found.length)} of ${whole.format(items.length)} images${found.length > 1 ? ', most pixels first' : ''}.`;
      this.viewer.sides('truth', `predicted${model}`);
      this.viewer.list(found.map(([number, pixels]) => [number, `${whole.format(pixels)} px`]));
    }
  }

  function sorted(values, sign) {
    const known = values.map((value, number) => [number, value]).filter(([, value]) => value !== undefined && !Number.isNaN(value));
    return known.sort((a, b) => sign * (a[1] - b[1]) || a[0] - b[0]);
  }

  function startWorst() {
    const viewer = new Viewer('worst-viewer', 'truth', 'errors0');
    const update = () => {
      const model = chosen('worst-model');
      const [key, order] = box('worst-order').value.split(' ');
      const values = items.map((item) => item.values[key + model]);
      const text = (value) => (key === 'miou' ? `mIoU ${value.toFixed(3)}` : `${percent(value)} % wrong`);
      viewer.list(sorted(values, order === 'up' ? 1 : -1).map(([number, value]) => [number, text(value)]));
    };
    box('worst-model').addEventListener('change', () => viewer.sides('truth', `errors${chosen('worst-model')}`));
    onChange(['worst-model', 'worst-order'], update);
    update();
  }

  class Pair {
    constructor() {
      this.viewer = new Viewer('pair-viewer', 'errors0', 'errors1');
      onChange(['pair-one', 'pair-two'], (event) => this.choose(event.target));
      onChange(['pair-order'], () => this.list());
      this.tell();
      this.list();
      page.ready.then(() => {
        page.plots['pair-images'][0].on('plotly_click', ({ points: [point] }) => point.curveNumber === 1 && this.open(point.pointNumber));
      });
    }

    get ends() {
      return [chosen('pair-one'), chosen('pair-two')];
    }

    choose(changed) {
      const [one, two] = this.ends;
      // A model against itself says nothing: the other one steps aside.
      if (one === two) box(changed.id === 'pair-one' ? 'pair-two' : 'pair-one').value = one === 0 ? 1 : 0;
      this.viewer.sides(...this.ends.map((model) => `errors${model}`));
      this.tell();
      this.list();
      this.plot();
    }

    tell() {
      const { texts } = data.pairs[this.ends.join('-')];
      const second = data.models[this.ends[1]];
      const names = ['mIoU over the pooled pixels', 'mIoU, mean over the images'];
      box('pair-cards').replaceChildren(...texts.map(([difference, interval, better], number) => element('li', {},
        element('span', { textContent: `${names[number]}, ${second} less ${data.models[this.ends[0]]}` }),
        element('strong', { textContent: `${difference} points` }),
        element('span', { textContent: `95 % interval ${interval}; ${second} is better with a confidence of ${better}` }))));
    }

    list() {
      const [one, two] = this.ends;
      const gains = items.map(({ values }) => values[`miou${two}`] - values[`miou${one}`]);
      const up = gains.filter((gain) => gain > 0).length;
      const down = gains.filter((gain) => gain < 0).length;
      box('pair-status').textContent = `Under ${data.models[two]}, ${up} images are better and ${down} are worse than under ${data.models[one]}, in points of mIoU.`;
      const better = box('pair-order').value === 'down';
      const order = sorted(gains, better ? -1 : 1).filter(([, gain]) => (better ? gain > 0 : gain < 0));
      this.viewer.list(order.map(([number, gain]) => [number, `${gain > 0 ? '+' : '−'}${Math.abs(100 * gain).toFixed(1)} points`]));
    }

    scored() {
      return items.map((_, number) => number).filter((number) => items[number].values.miou0 !== undefined);
    }

    open(point) {
      const number = this.scored()[point];
      const { values } = items[number];
      const gain = values[`miou${this.ends[1]}`] - values[`miou${this.ends[0]}`];
      box('pair-order').value = gain < 0 ? 'up' : 'down';
      this.list();
      let place = this.viewer.entries.findIndex(([other]) => other === number);
      if (place < 0) {
        this.viewer.list([[number, 'equal under both']]);
        place = 0;
      }
      this.viewer.show(place);
      this.viewer.box.scrollIntoView({ block: 'nearest' });
    }

    async plot() {
      await page.ready;
      const [images] = page.plots['pair-images'];
      const [byClass] = page.plots['pair-classes'];
      const values = (model) => this.scored().map((number) => items[number].values[`miou${model}`]);
      const { figure } = images;
      [figure.data[1].x, figure.data[1].y] = this.ends.map(values);
      const name = (model) => data.models[model].replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
      figure.layout.xaxis.title.text = `mIoU of ${name(this.ends[0])}`;
      figure.layout.yaxis.title.text = `mIoU of ${name(this.ends[1])}`;
      byClass.figure = data.pairs[this.ends.join('-')].figure;
      await Promise.all([page.draw(images), page.draw(byClass)]);
    }
  }

  if (!data.labelled) return;
  page.galleries.noise?.setSort('score');
  new Matrix();
  startWorst();
  if (data.models.length > 1) new Pair();
})();
