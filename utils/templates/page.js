'use strict';
// Theme, charts and tables. `page` is what the scripts of one page build on.
const page = {
  plots: {}, // By key of the chart: its Plotly elements, in the order of the panels.
  galleries: {}, // By key: what gallery.js offers.
  ready: null, // Resolved when all charts are drawn.
  draw: null, // Draws one Plotly element anew, from its `figure`.
  element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  },
};

(() => {
  const root = document.documentElement;
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const narrow = matchMedia('(max-width: 600px)');

  function css(name) {
    return getComputedStyle(root).getPropertyValue(name).trim();
  }

  function template() {
    const axis = {
      gridcolor: css('--line'), linecolor: css('--line'), zerolinecolor: css('--line'),
      automargin: true, title: { standoff: 8, font: { size: narrow.matches ? 11 : 13 } },
    };
    return { data: { box: [{ line: { color: css('--ink'), width: 1.5 } }] }, layout: {
      font: { color: css('--ink'), size: narrow.matches ? 11 : 13, family: 'system-ui, sans-serif' },
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
      colorway: ['#0072B2', '#E69F00', '#56B4E9', '#CC79A7', '#009E73', '#D55E00'],
      margin: { l: 8, r: 16, t: 12, b: 8 }, dragmode: false, bargap: 0.25,
      xaxis: axis, yaxis: axis, modebar: { bgcolor: 'rgba(0,0,0,0)', color: css('--soft'), activecolor: css('--ink') },
      hoverlabel: { bgcolor: css('--card'), bordercolor: css('--line'), font: { color: css('--ink') }, align: 'left' },
      legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0 },
    } };
  }

  function draw(plot) {
    const figure = plot.figure;
    const small = plot.closest('.panels') !== null;
    const layout = { ...figure.layout, template: template() };
    // On paper nothing tells Plotly that the page has become narrower.
    if (root.classList.contains('paper') && !layout.width) layout.width = plot.clientWidth;
    const config = {
      responsive: true, displaylogo: false, displayModeBar: small || narrow.matches ? false : 'hover',
      // Named one by one: Plotly's own choice holds one that uploads the chart.
      modeBarButtons: [['toImage'], ['zoomIn2d', 'zoomOut2d', 'resetScale2d']], plotlyServerURL: '',
    };
    return Plotly.react(plot, figure.data, layout, config);
  }

  function drawAll() {
    return Promise.all(Object.values(page.plots).flat().map(draw));
  }

  async function drawFirst() {
    for (const chart of document.querySelectorAll('figure.chart')) {
      page.plots[chart.id] = [...chart.querySelectorAll('.plot')];
      for (const plot of page.plots[chart.id]) {
        plot.figure = JSON.parse(plot.nextElementSibling.textContent);
        await draw(plot);
        // Let the page answer between two charts.
        await new Promise((go) => setTimeout(go));
      }
    }
    root.dataset.ready = 'yes';
  }

  function setTheme(name) {
    root.dataset.theme = name;
    const button = document.getElementById('theme');
    button.textContent = name === 'dark' ? 'Light' : 'Dark';
    button.setAttribute('aria-label', `Switch to ${name === 'dark' ? 'light' : 'dark'} colours`);
    return drawAll();
  }

  function startTheme() {
    const start = () => (dark.matches ? 'dark' : 'light');
    setTheme(start());
    dark.addEventListener('change', () => setTheme(start()));
    document.getElementById('theme').addEventListener('click', () => {
      setTheme(root.dataset.theme === 'dark' ? 'light' : 'dark');
    });
    let before = 'light';
    addEventListener('beforeprint', () => {
      before = root.dataset.theme;
      root.classList.add('paper');
      setTheme('light');
    });
    addEventListener('afterprint', () => {
      root.classList.remove('paper');
      setTheme(before);
    });
  }

  function sortRows(table, column, heading) {
    const body = table.tBodies[0];
    const value = (row) => row.cells[column].dataset.value;
    const text = (row) => row.cells[column].textContent.trim();
    const rows = [...body.rows];
    const numeric = rows.some((row) => value(row) !== undefined);
    const was = heading.getAttribute('aria-sort');
    const descending = was === 'none' ? numeric : was === 'ascending';
    const compare = (a, b) => {
      if (!numeric) return text(a).localeCompare(text(b));
      // What is no number stands at the end, whatever the direction.
      const [x, y] = [value(a), value(b)];
      if (x === undefined || y === undefined) return ((x === undefined) - (y === undefined)) * (descending ? -1 : 1);
      return x - y;
    };
    rows.sort((a, b) => (descending ? compare(b, a) : compare(a, b)));
    body.append(...rows);
    for (const other of heading.parentElement.cells) other.setAttribute('aria-sort', 'none');
    heading.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
  }

  function startTable(box) {
    const table = box.querySelector('table');
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      heading.querySelector('button').addEventListener('click', () => sortRows(table, column, heading));
    });
    const select = box.querySelector('select');
    if (!select) return;
    const filter = () => {
      for (const row of table.tBodies[0].rows) {
        row.hidden = row.cells[select.dataset.column].textContent.trim() !== select.value;
      }
    };
    select.addEventListener('change', filter);
    filter();
  }

  page.draw = draw;
  startTheme();
  document.querySelectorAll('div.table').forEach(startTable);
  page.ready = drawFirst();
})();
