'use strict';
// Galleries: pictures added as one scrolls, filtered and sorted here; and the lightbox.
(() => {
  const { element } = page;
  const CHUNK = 48;
  const shown = (value, decimals) => (typeof value === 'number' ? value.toLocaleString('en', { minimumFractionDigits: decimals }) : value);
  const percent = (share) => `${(100 * share).toFixed(share < 0.001 ? 3 : share < 0.1 ? 1 : 0)} %`;
  const shares = (item) => Object.entries(item.classes).sort((a, b) => b[1] - a[1]);

  function picture(item, layer) {
    const stack = element('span', { className: 'stack' });
    stack.append(element('img', { src: item.photo, alt: item.name, loading: 'lazy', width: item.size[0], height: item.size[1] }));
    const over = item.layers[layer];
    if (over) stack.append(element('img', { src: over, alt: '', loading: 'lazy', className: 'overlay' }));
    if (item.outline) stack.append(element('img', { src: item.outline, alt: '', loading: 'lazy' }));
    return stack;
  }

  function swatch(colour) {
    const made = element('span', { className: 'swatch' });
    made.style.background = colour;
    made.setAttribute('aria-hidden', 'true');
    return made;
  }

  function choice(heading, options, changed) {
    const select = element('select');
    // The text of a label that wraps a select holds its options too.
    select.setAttribute('aria-label', heading);
    for (const [value, text] of options) select.append(element('option', { value, textContent: text }));
    select.addEventListener('change', changed);
    return [element('label', { textContent: heading }, select), select];
  }

  class Gallery {
    constructor(box) {
      this.box = box;
      Object.assign(this, JSON.parse(box.querySelector('script').textContent));
      this.list = box.querySelector('.pictures');
      this.chosen = this.items;
      this.names = null;
      this.buildControls(box.querySelector('.controls'));
      this.end = box.querySelector('.more');
      this.observer = new IntersectionObserver((seen) => seen.at(-1).isIntersecting && this.addChunk(), { rootMargin: '800px' });
      this.update();
    }

    buildControls(bar) {
      const changed = () => this.update();
      const add = (heading, options) => {
        const [holder, select] = choice(heading, options, changed);
        bar.append(holder);
        return select;
      };
      this.filterSelects = Object.entries(this.filters).map(([key, heading]) => {
        const values = [...new Set(this.items.map((item) => item.values[key]))].map((value) => [value, value]);
        return [key, add(heading, [['', 'all'], ...values])];
      });
      const held = new Set(this.items.flatMap((item) => Object.keys(item.classes)));
      const classes = this.classes.map(([name], id) => [id, name]).filter(([id]) => held.has(String(id)));
      this.classSelect = add(this.classHeading, [['', 'all'], ...classes]);
      this.sortSelect = add('sort by', [['', 'name'], ['class', 'share of the chosen class'], ...Object.entries(this.sorts)]);
      this.orderSelect = add('order', [['up', 'upwards'], ['down', 'downwards']]);
      // A class is chosen to see it: largest first.
      this.classSelect.addEventListener('change', () => {
        const back = this.sortSelect.value === 'class';
        if (this.classSelect.value || back) this.setSort(this.classSelect.value ? 'class' : '');
      });
      this.sortSelect.addEventListener('change', () => this.setSort(this.sortSelect.value));
      this.search = element('input', { type: 'search' });
      this.search.addEventListener('input', changed);
      bar.append(element('label', { textContent: 'name contains' }, this.search));
      const layers = Object.entries(this.layers);
      this.layerSelect = choice('shown', [...layers, ['', 'photograph only']], changed)[1];
      if (layers.length) bar.append(element('label', { textContent: 'shown' }, this.layerSelect), opacity());
    }

    setSort(key) {
      this.sortSelect.value = key;
      this.orderSelect.value = key ? 'down' : 'up';
      this.update();
    }

    // Show the items of these names alone; null shows all again.
    only(names, why = '') {
      this.names = names && new Set(names);
      this.why = why;
      this.update();
      if (names) this.box.scrollIntoView({ block: 'start' });
    }

    fits(item) {
      if (this.names && !this.names.has(item.name)) return false;
      if (this.classSelect.value && !(this.classSelect.value in item.classes)) return false;
      if (!item.name.toLowerCase().includes(this.search.value.toLowerCase())) return false;
      return this.filterSelects.every(([key, select]) => !select.value || String(item.values[key]) === select.value);
    }

    value(item) {
      const key = this.sortSelect.value;
      if (key === 'class') {
        const share = item.classes[this.classSelect.value];
        return this.classSelect.value === '' ? Math.max(0, ...Object.values(item.classes)) : share;
      }
      return item.values[key];
    }

    update() {
      const sign = this.orderSelect.value === 'down' ? -1 : 1;
      // In the order of the list: by name, part by part.
      this.chosen = this.items.filter((item) => this.fits(item));
      if (this.sortSelect.value === '') {
        if (sign < 0) this.chosen.reverse();
      } else {
        const known = (item) => this.value(item) ?? null;
        // What has no value stands at the end, whatever the order.
        this.chosen.sort((a, b) => {
          const [x, y] = [known(a), known(b)];
          if (x === null || y === null) return (x === null) - (y === null);
          return sign * (x - y);
        });
      }
      this.list.replaceChildren();
      this.addChunk();
      this.tell();
    }

    tell() {
      const status = this.box.querySelector('.status');
      const why = this.names && this.why ? ` (${this.why})` : '';
      status.textContent = `${this.chosen.length} of ${this.items.length} ${this.unit}${why} `;
      if (!this.names) return;
      const all = element('button', { type: 'button', textContent: 'show all' });
      all.addEventListener('click', () => this.only(null));
      status.append(all);
    }

    addChunk() {
      const from = this.list.children.length;
      const next = this.chosen.slice(from, from + CHUNK);
      this.list.append(...next.map((item, place) => this.entry(item, from + place)));
      // It tells of changes alone: on a large screen the end may stay in sight.
      this.observer.unobserve(this.end);
      if (from + next.length < this.chosen.length) this.observer.observe(this.end);
    }

    entry(item, place) {
      const button = element('button', { type: 'button' }, picture(item, this.layerSelect.value));
      button.setAttribute('aria-label', `Enlarge ${item.name}`);
      button.addEventListener('click', () => lightbox.open(this, place));
      return element('li', {}, button, element('span', { className: 'name', textContent: item.name }),
        element('span', { className: 'facts', textContent: this.facts(item) }));
    }

    facts(item) {
      const told = Object.keys(this.filters).map((key) => item.values[key]);
      const lines = item.note ? [item.note] : told.filter((value) => !item.name.startsWith(`${value}/`));
      const key = this.sortSelect.value;
      if (key === 'class' && this.value(item) !== undefined) lines.push(percent(this.value(item)));
      else if (key && key in item.values) lines.push(`${this.sorts[key]}: ${shown(item.values[key], this.decimals[key])}`);
      return lines.join(' · ');
    }
  }

  function opacity() {
    const slider = element('input', { type: 'range', min: 0, max: 1, step: 0.05, className: 'opacity' });
    slider.value = getComputedStyle(document.documentElement).getPropertyValue('--opacity');
    slider.addEventListener('input', () => {
      document.documentElement.style.setProperty('--opacity', slider.value);
      document.querySelectorAll('input.opacity').forEach((other) => { other.value = slider.value; });
    });
    return element('label', { textContent: 'opacity' }, slider);
  }

  const lightbox = {
    dialog: document.getElementById('lightbox'),

    open(gallery, place) {
      this.gallery = gallery;
      this.layer = gallery.layerSelect.value;
      this.show(place);
      if (!this.dialog.open) this.dialog.showModal();
    },

    show(place) {
      const { chosen } = this.gallery;
      this.place = Math.min(Math.max(place, 0), chosen.length - 1);
      const item = chosen[this.place];
      const stack = picture(item, this.layer);
      stack.style.aspectRatio = item.size.join(' / ');
      const title = element('h2', { textContent: `${item.name} (${this.place + 1} of ${chosen.length})` });
      const focused = document.activeElement?.dataset.step;
      this.dialog.replaceChildren(element('div', { className: 'bar' }, title, this.steps()), stack, this.controls(), this.details(item));
      this.dialog.querySelector(`[data-step="${focused ?? 'close'}"]`)?.focus();
    },

    steps() {
      const button = (step, text, name, act) => {
        const made = element('button', { type: 'button', textContent: text });
        made.setAttribute('aria-label', name);
        made.dataset.step = step;
        made.addEventListener('click', act);
        return made;
      };
      return element('div', { className: 'steps' },
        button('back', '←', 'Previous picture', () => this.show(this.place - 1)),
        button('on', '→', 'Next picture', () => this.show(this.place + 1)),
        button('close', '×', 'Close', () => this.dialog.close()));
    },

    controls() {
      const bar = element('div', { className: 'controls' });
      const layers = Object.entries(this.gallery.layers);
      if (!layers.length) return bar;
      const [holder, select] = choice('shown', [...layers, ['', 'photograph only']], () => {
        this.layer = select.value;
        this.show(this.place);
      });
      select.value = this.layer;
      bar.append(holder, opacity());
      return bar;
    },

    details(item) {
      const { classes, sorts, filters, decimals } = this.gallery;
      const list = element('ul');
      if (item.note) list.append(element('li', { textContent: item.note }));
      for (const [id, share] of shares(item)) {
        list.append(element('li', {}, swatch(classes[id][1]), `${classes[id][0]} ${percent(share)}`));
      }
      for (const [key, heading] of Object.entries({ ...filters, ...sorts })) {
        if (item.values[key] !== undefined && item.values[key] !== null) list.append(element('li', { textContent: `${heading}: ${shown(item.values[key], decimals[key])}` }));
      }
      return list;
    },
  };

  lightbox.dialog.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.target.matches('input, select')) return;
    event.preventDefault();
    lightbox.show(lightbox.place + step);
  });
  for (const box of document.querySelectorAll('div.gallery')) page.galleries[box.id] = new Gallery(box);
})();
