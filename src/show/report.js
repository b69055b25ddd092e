// Filters the examples. The filter appears only if scripts run; without it, the page shows all examples.
const filter = document.querySelector('form.filter');
if (filter) {
  const examples = document.querySelectorAll('article.example');
  const count = filter.querySelector('output');
  const apply = () => {
    const set = filter.elements.set.value, outcome = filter.elements.outcome.value;
    let shown = 0;
    for (const example of examples) {
      const fits = (!set || example.dataset.set === set) && (!outcome || example.classList.contains(outcome));
      example.hidden = !fits;
      shown += fits;
    }
    for (const group of document.querySelectorAll('section.meta-task'))
      group.hidden = !group.querySelector('article.example:not([hidden])');
    count.textContent = shown + ' of ' + examples.length + ' examples';
  };
  filter.addEventListener('change', apply);
  filter.hidden = false;
  apply();
}
