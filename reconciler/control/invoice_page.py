"""An invoice as a page that can be read and printed, with nothing fetched from elsewhere."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment

_TEMPLATE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Invoice {{ invoice.number or invoice.id }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 2rem 0; }
th, td { text-align: left; padding: .4rem .5rem; border-bottom: 1px solid #ccc; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
small { color: #555; display: block; }
</style>
<h1>Invoice {{ invoice.number or "(draft)" }}</h1>
{% if invoice.status == "void" %}<p><strong>Void.</strong></p>{% endif %}
<p>{{ invoice.billTo.name or invoice.customer }}
{% for part in (invoice.billTo.address, invoice.billTo.email, invoice.billTo.taxId) if part %}
<br>{{ part if part is string else part.values() | join(", ") }}
{% endfor %}
</p>
<p>Period {{ invoice.period.start }} to {{ invoice.period.end }}</p>
<table>
<tr><th>Description<th class="n">Quantity<th class="n">{{ invoice.currency }}</tr>
{% for line in invoice.lines %}
<tr><td>{{ line.description }}
<small>{{ line.period.start }} to {{ line.period.end }}, catalog {{ line.catalog }}
{% if line.included is defined %}, {{ line.included }} included{% endif %}</small>
{% for tier in line.tiers %}
<small>{% for name, value in tier.items() if value is not none %}{{ name }} {{ value }} {% endfor %}</small>
{% endfor %}
<td class="n">{{ line.quantity }}<td class="n">{{ line.amount }}</tr>
{% endfor %}
<tr><td colspan="2">Subtotal<td class="n">{{ invoice.subtotal }}</tr>
<tr><td colspan="2">Tax<td class="n">{{ invoice.tax }}</tr>
<tr><th colspan="2">Total<th class="n">{{ invoice.total }}</tr>
</table>
</html>
""")


def render_invoice(invoice: Mapping[str, Any]) -> str:
    """The page of an invoice in the shape of the HTTP contract."""
    return _TEMPLATE.render(invoice={"billTo": {}, **invoice})
