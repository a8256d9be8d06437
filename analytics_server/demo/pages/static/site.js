// What the demo's ordinary pages do beyond links. The tracker does page views, links and marked elements by itself.

// The stub lets the page call analytics() before the tracker has loaded.
window.analytics =
  window.analytics ||
  function () {
    (analytics.q = analytics.q || []).push(arguments);
  };

// An experiment: visitors who land on the home page from elsewhere see one of two texts.
const cta = document.querySelector('#hero-cta');
if (cta && !document.referrer.startsWith(location.origin)) {
  const variant = Math.random() < 0.5 ? 'choose' : 'taste';
  if (variant === 'taste') cta.textContent = 'Taste your first bag';
  analytics('exposure', { experiment: { id: 'hero_cta', variant } });
}

// A sale, with its revenue.
const buy = document.querySelector('[data-buy]');
if (buy) {
  buy.addEventListener('click', () => {
    analytics('purchase', {
      revenue: { amount: Number(buy.dataset.price), currency: 'EUR' },
      props: { product: buy.dataset.buy }
    });
    document.querySelector('#said').textContent = 'Sold! Nothing was charged: this is a demo.';
  });
}

const add = document.querySelector('#add');
if (add) {
  add.addEventListener('click', () => {
    document.querySelector('#said').textContent = 'It is in your imaginary basket.';
  });
}

// The plan chosen on the page before.
const plan = new URLSearchParams(location.search).get('plan');
for (const radio of document.querySelectorAll('input[name=plan]')) {
  if (radio.value === plan) radio.checked = true;
}

// The page that confirms a sign-up says so.
if (document.body.dataset.event) {
  analytics(document.body.dataset.event, { props: { plan: plan || 'household' } });
}
