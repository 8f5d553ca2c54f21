#!/usr/bin/python3
"""shop.py - builds the demo shop's pages from the prepared data: DATA OUT.

OUT/html holds static pages as any shop might serve them: no script, nothing
from elsewhere, slots as pairs of comments around what everybody sees without
ngx_crm.  OUT/category.map and OUT/price.map tell nginx what a product page
shows, so that the shop itself needs no change.
"""

import csv
import datetime
import hashlib
import html
import os
import re
import shutil
import sys

from visits import COLOURS, GIFTS

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE_SIZE = 48          # products on one page of a category
TITLES = {"trousers": "Trousers", "skirts": "Skirts", "blouses": "Blouses",
          "sale": "Sale", GIFTS: "Gifts"}
SHOWN = [name for name in COLOURS.values() if name != "white"]
FILE_NAME = re.compile(r"[0-9A-Za-z._-]{1,60}\Z")

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Loom &amp; Lane</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header>
<a class="logo" href="/">Loom <b>&amp;</b> Lane</a>
<nav aria-label="Shop">{nav}<a href="/cart.html">\
<svg aria-hidden="true"><use href="/art.svg#cart"/></svg>Cart</a>\
<a href="/login.html">Sign in</a></nav>
</header>
<main id="main">
{body}
</main>
<footer><div>
<p><a href="/login.html">Sign in as a customer</a>\
<a href="/new-visitor">Start again as a new visitor</a>\
<a href="/crm/status">Module status</a></p>
<p>The demo shop of ngx_crm. Nothing here is for sale.</p>
</div></footer>
</body>
</html>
"""


def slot(name, default=""):
    return f"<!--crm:slot {name}-->{default}<!--/crm:slot-->"


def number(count, what):
    return f"{count} {what}" + ("" if count == 1 else "s")


class Product:
    def __init__(self, row):
        self.code = row["product_id"]
        self.name = row["name"]
        self.category = row["category"]
        self.price = row["price"]
        self.text = html.escape(self.name)
        self.money = f"£{float(self.price):.2f}"
        first = self.name.split(" ")[0].lower()
        if first not in COLOURS.values() or self.category == GIFTS:
            digest = hashlib.md5(self.code.encode()).digest()
            first = SHOWN[digest[0] % len(SHOWN)]
        self.colour = first

    def art(self):
        return (f'<svg class="art {self.colour}" aria-hidden="true">'
                f'<use href="/art.svg#{self.category}"/></svg>')

    def tile(self):
        return (f'<li><a class="tile" href="/p/{self.code}.html">{self.art()}'
                f'<span class="name">{self.text}</span>'
                f'<span class="price">{self.money}</span></a></li>')


def grid(products):
    return '<ul class="grid">' + "".join(p.tile() for p in products) + "</ul>"


def section(title, body, more=""):
    return (f'<section><div class="head"><h2>{title}</h2>{more}</div>{body}'
            "</section>")


class Shop:
    def __init__(self, data, out):
        self.html = os.path.join(out, "html")
        self.data = data
        self.categories = {name: [] for name in TITLES}
        with open(os.path.join(data, "products.csv"), encoding="utf-8",
                  newline="") as f:
            for row in csv.DictReader(f):
                if row["category"] in TITLES and row["url"] \
                        and FILE_NAME.match(row["product_id"]):
                    product = Product(row)
                    self.categories[product.category].append(product)
        self.all = [p for c in self.categories.values() for p in c]
        self.pages = 0
        for folder in ("p", "c"):
            os.makedirs(os.path.join(self.html, folder), exist_ok=True)

    def nav(self, current):
        return "".join(
            f'<a href="/c/{name}.html"'
            + (' aria-current="page"' if name == current else "")
            + f">{title}</a>" for name, title in TITLES.items())

    def write(self, name, title, body, current=""):
        text = PAGE.format(title=html.escape(title), body=body,
                           nav=self.nav(current))
        with open(os.path.join(self.html, name), "w", encoding="utf-8") as f:
            f.write(text)
        self.pages += 1

    def home(self):
        clothes = [p for p in self.all if p.category != GIFTS]
        rows = [self.categories[name] for name in TITLES if name != GIFTS]
        popular = [p for four in zip(*rows) for p in four][:12]
        tiles = "".join(
            f'<li><a class="tile" href="/c/{name}.html">'
            f'{products[min(2, len(products) - 1)].art()}'
            f'<span class="name">{TITLES[name]}</span></a></li>'
            for name, products in self.categories.items() if products)
        hero = ('<div class="hero"><p class="kicker">New season</p>'
                "<h1>Clothes that stay, from makers you can name</h1>"
                f"<p>{len(clothes)} pieces and a room full of gifts.</p>"
                '<a class="button" href="/c/blouses.html">See what is new</a>'
                "</div>")
        gifts = self.categories[GIFTS][:6]
        self.write("index.html", "Clothes and gifts", "\n".join([
            f'<section>{slot("home-hero", hero)}</section>',
            slot("home-offer"),
            section("Shop by kind", f'<ul class="grid wide">{tiles}</ul>'),
            slot("home-recs"),
            section("Popular now", grid(popular)),
            section("Gifts", grid(gifts),
                    '<a href="/c/gifts.html">All gifts</a>')]))

    def category(self, name):
        products = self.categories[name]
        pages = max(1, -(-len(products) // PAGE_SIZE))
        for page in range(1, pages + 1):
            part = products[(page - 1) * PAGE_SIZE:page * PAGE_SIZE]
            links = "".join(
                f'<a href="/c/{name}{"-" + str(n) if n > 1 else ""}.html">'
                f"Page {n}</a>" for n in (1, page - 1, page + 1, pages)
                if 0 < n <= pages and n != page) if pages > 1 else ""
            self.write(
                f'c/{name}{"-" + str(page) if page > 1 else ""}.html',
                TITLES[name],
                f'<section><div class="head"><h1>{TITLES[name]}</h1>'
                f'<span class="soft">{len(products):,} pieces</span></div>'
                f'{slot("category-top")}{grid(part)}'
                f'<p class="pages">{links}</p></section>', name)

    def product(self, product, others):
        title = TITLES[product.category]
        form = ('<form method="post" action="/cart/add"><input type="hidden" name="item" '
                f'value="{product.code}"><input type="hidden" name="price" '
                f'value="{product.price}"><input type="hidden" '
                'name="quantity" value="1"><button>Add to cart</button>'
                "</form>")
        self.write(f"p/{product.code}.html", product.name, "\n".join([
            f'<p class="crumbs"><a href="/">Home</a> › <a href="/c/'
            f'{product.category}.html">{title}</a></p>',
            f'<section class="product"><div>{product.art()}</div><div>'
            f'<h1>{product.text}</h1><p class="price">{product.money}</p>'
            f'<p class="soft">Code {product.code} · sent within two days · '
            f"returns for a month</p>{form}</div></section>",
            slot("product-goes-with"),
            section(f"More {title.lower()}", grid(others))]),
            product.category)

    def products(self):
        for products in self.categories.values():
            for n, product in enumerate(products):
                near = products[max(0, n - 3):n] + products[n + 1:n + 7]
                self.product(product, near[:6])

    def cart(self):
        empty = ('<div class="note"><p>Your cart is empty.</p></div>'
                 '<a class="button" href="/c/sale.html">Look at the sale</a>')
        self.write("cart.html", "Cart",
                   '<section class="narrow"><h1>Your cart</h1>'
                   f'<p></p>{slot("cart-offer")}'
                   f'{slot("cart-summary", empty)}</section>')
        self.write("checkout.html", "Checkout",
                   '<section class="narrow"><h1>Checkout</h1>'
                   "<p>This demo takes no address and no card.</p>"
                   f'{slot("checkout-order")}'
                   '<p><a href="/cart.html">Back to the cart</a></p>'
                   "</section>")
        self.write("order-done.html", "Thank you",
                   '<section class="narrow"><h1>Thank you for your order'
                   "</h1><p>It is on its way, as far as a demo can send "
                   f'anything.</p>{slot("order-thanks")}'
                   '<a class="button" href="/">Back to the shop</a>'
                   "</section>")

    def people(self):
        """A few customers worth being: many, old, fresh and few orders."""
        orders = {}
        with open(os.path.join(self.data, "orders.csv"), encoding="utf-8",
                  newline="") as f:
            reader = csv.reader(f)
            column = {name: n for n, name in enumerate(next(reader))}
            order, who, at = (column[name] for name in (
                "order_id", "customer_id", "ordered_at"))
            for row in reader:
                if row[order][0] != "C":
                    orders.setdefault(row[who], {})[row[order]] = row[at][:10]
        facts = sorted((len(o), max(o.values()), customer)
                       for customer, o in orders.items())
        by_last = sorted(facts, key=lambda fact: (fact[1], fact[2]))
        often = [fact for fact in by_last if fact[0] >= 5] or by_last
        once = [fact for fact in by_last if fact[0] == 1] or by_last
        chosen = [facts[-1], facts[-2], often[len(often) // 2], often[0],
                  once[-1], once[0]]
        return list(dict.fromkeys(chosen))

    def login(self):
        today = datetime.date.today()
        rows = ""
        for count, last, customer in self.people():
            days = (today - datetime.date.fromisoformat(last)).days
            who = html.escape(customer)
            rows += (f'<li><a href="/login?user={who}">{who}</a><span '
                     f'class="soft">{number(count, "order")}, the last '
                     f'{number(days, "day")} ago</span></li>')
        self.write("login.html", "Sign in",
                   '<section class="narrow"><h1>Sign in</h1><p>A demo asks '
                   "for no password. Be one of these customers:</p>"
                   f'<ul class="people">{rows}</ul>'
                   '<form action="/login"><label for="user">or any other '
                   'customer number</label><input id="user" name="user" '
                   'required pattern="[0-9A-Za-z._\\-]{1,64}" '
                   'autocomplete="off"><div><button>Sign in</button></div>'
                   "</form></section>")

    def maps(self, out):
        """nginx compares the keys of a map without regard to case."""
        once = {p.code.lower(): p for p in reversed(self.all)}
        for name in ("category", "price"):
            with open(os.path.join(out, name + ".map"), "w",
                      encoding="ascii") as f:
                for code, product in once.items():
                    f.write(f'"{code}" "{getattr(product, name)}";\n')

    def build(self, out):
        self.home()
        for name in TITLES:
            self.category(name)
        self.products()
        self.cart()
        self.login()
        self.maps(out)
        for name in ("style.css", "art.svg"):
            shutil.copyfile(os.path.join(HERE, "shop", name),
                            os.path.join(self.html, name))


def main(argv):
    if len(argv) != 3:
        print("usage: shop.py DATA OUT", file=sys.stderr)
        return 2
    os.umask(0o022)
    os.makedirs(argv[2], exist_ok=True)
    shop = Shop(argv[1], argv[2])
    shop.build(argv[2])
    print(f"{shop.pages:,} pages, {len(shop.all):,} products")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
