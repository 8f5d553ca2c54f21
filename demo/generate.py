#!/usr/bin/python3
"""generate.py - makes the demo's data without any data set: OUT.

The same files as prepare.py, drawn with a fixed seed from what was measured
on the real sets (distributions.py): catalogue, customers with their orders,
clicks of the past and the visits to replay.  Names of gifts are invented.
The same day gives the same output.
"""

import datetime
import itertools
import os
import random
import sys

import distributions as d
import visits as v

SEED = 1815
GIFTS = 400
CUSTOMERS = 4300        # about 15,000 orders
DAYS = 80               # of clicks, about 100,000
VISITS = 1500

CODES = {"trousers": "A", "skirts": "B", "blouses": "C", "sale": "P"}
GIFT_LOOKS = ["Red spotted", "Ivory", "Vintage", "Heart", "Retro", "Wooden",
              "Enamel", "Glass", "Woven", "Brass", "Paper", "Felt", "Striped",
              "Painted", "Small", "Large", "Garden", "Winter", "Lace",
              "Copper"]
GIFT_THINGS = ["tea light holder", "lunch box", "mug", "cushion", "lantern",
               "picture frame", "hook", "doorstop", "bird house", "candle",
               "cake stand", "jam jar", "parasol", "clock", "ribbon", "tray",
               "puzzle", "bunting", "watering can", "storage tin"]


def between(rng, quantiles):
    """A number from a table of quantiles in even steps."""
    place = rng.random() * (len(quantiles) - 1)
    low = int(place)
    return quantiles[low] + (place - low) * (quantiles[low + 1]
                                             - quantiles[low])


def pick(rng, shares):
    """A key of a table of shares; "" for what they leave of 1."""
    place = rng.random()
    for key, share in shares.items():
        place -= share
        if place < 0:
            return key
    return ""


def second_of_day(rng, hours):
    hour = rng.choices(range(24), hours)[0]
    return hour * 3600 + rng.randrange(3600)


class Catalogue:
    def __init__(self, rng):
        self.rows = []
        self.price = {}
        self.codes = {}         # category -> codes by number
        self.weights = {}       # category -> cumulated, in the same order
        for category, shares in d.PRODUCT_CLICKS.items():
            self.add_clothes(rng, category, shares)
        self.rows.sort(key=lambda row: -row[0])
        self.rows = [row[1] for row in self.rows]
        self.gifts = []
        self.add_gifts(rng)

    def add_clothes(self, rng, category, shares):
        """Popular products get any number: rank and number are unrelated."""
        shares = list(shares)
        rng.shuffle(shares)
        codes = []
        for number, share in enumerate(shares, start=1):
            code = f"{CODES[category]}{number}"
            price = f"{between(rng, d.PRICES[category]):.0f}"
            colour = pick(rng, d.COLOURS) or "black"
            codes.append(code)
            self.price[code] = price
            self.rows.append((share * d.CATEGORY_CLICKS[category], (
                code, v.clothing_name(category, colour, code), category,
                price, v.CURRENCY, v.product_path(code))))
        self.codes[category] = codes
        self.weights[category] = list(itertools.accumulate(
            share + 1e-6 for share in shares))

    def add_gifts(self, rng):
        names = [f"{look} {thing}" for look in GIFT_LOOKS
                 for thing in GIFT_THINGS]
        rng.shuffle(names)
        for number, name in enumerate(names[:GIFTS]):
            code = str(20000 + number)
            self.price[code] = f"{max(0.1, between(rng, d.GIFT_PRICES)):.2f}"
            self.gifts.append(code)
            self.rows.append((code, name, v.GIFTS, self.price[code],
                              v.CURRENCY, v.product_path(code)))
        self.gift_weights = list(itertools.accumulate(
            (rank + 1) ** -d.GIFT_ZIPF for rank in range(GIFTS)))

    def popular(self, rng, category):
        return rng.choices(self.codes[category],
                           cum_weights=self.weights[category])[0]

    def next_click(self, rng, category, code):
        """One step of a visit: (category, code)."""
        place = rng.random()
        if place < d.NEXT_SAME:
            return category, code
        place -= d.NEXT_SAME
        if place < d.NEXT_NEAR:
            codes = self.codes[category]
            here = codes.index(code)
            near = codes[max(0, here - 3):here] + codes[here + 1:here + 4]
            return category, rng.choice(near)
        place -= d.NEXT_NEAR
        if place >= d.NEXT_CATEGORY:
            others = {c: s for c, s in d.CATEGORY_CLICKS.items()
                      if c != category}
            category = rng.choices(list(others), list(others.values()))[0]
        return category, self.popular(rng, category)

    def visit(self, rng):
        """The clicks of one visit: [(category, code), ...]."""
        length = rng.choices(range(1, 41), d.VISIT_CLICKS)[0]
        if length == 40:        # "40 or more"
            length += int(rng.expovariate(1 / 15))
        category = pick(rng, d.CATEGORY_CLICKS) or "sale"
        clicks = [(category, self.popular(rng, category))]
        while len(clicks) < length:
            clicks.append(self.next_click(rng, *clicks[-1]))
        return clicks


def clock(rng, length):
    """(start second of the day, offsets of the clicks)."""
    offsets = [0.0]
    while len(offsets) < length:
        offsets.append(offsets[-1] + between(rng, d.CLICK_PAUSES[:-1]))
    return min(second_of_day(rng, d.VISIT_HOURS),
               max(0, 86390 - int(offsets[-1]))), offsets


def past_clicks(rng, catalogue, end):
    number = 0
    for back in range(DAYS - 1, -1, -1):
        day = end - datetime.timedelta(days=back)
        visits = round(d.VISITS_A_DAY * rng.uniform(0.7, 1.3))
        for _ in range(visits):
            number += 1
            clicks = catalogue.visit(rng)
            start, offsets = clock(rng, len(clicks))
            country = pick(rng, d.VISIT_COUNTRIES)
            for (category, code), offset in zip(clicks, offsets):
                yield (f"g-{number}", v.day_and_seconds(day, start + offset),
                       code, category, catalogue.price[code], country)


def customers_and_orders(rng, catalogue, end):
    customers, orders = [], []
    number = 500000
    for customer in range(10001, 10001 + CUSTOMERS):
        country = pick(rng, d.CUSTOMER_COUNTRIES) or "Sweden"
        days = [end - datetime.timedelta(
            days=int(between(rng, d.LAST_ORDER_DAYS)))]
        for _ in range(int(between(rng, d.CUSTOMER_ORDERS[:-1]) + 0.5) - 1):
            days.append(days[-1] - datetime.timedelta(
                days=int(between(rng, d.ORDER_PAUSES))))
        customer = str(customer)
        customers.append((customer, country, min(days)))
        for day in days:
            number += 1
            lines = order_lines(rng, catalogue)
            sign, order = 1, str(number)
            if rng.random() < d.CANCELLED:
                sign, order, lines = -1, f"C{number}", lines[:2]
            at = v.day_and_seconds(day, second_of_day(rng, d.ORDER_HOURS))
            orders += [(order, line, customer, at, code, sign * quantity,
                        price, v.CURRENCY, country) for
                       line, (code, quantity, price) in
                       enumerate(lines, start=1)]
    return customers, orders


def order_lines(rng, catalogue):
    count = max(1, int(between(rng, d.ORDER_LINES[:-1])))
    codes = rng.choices(catalogue.gifts, cum_weights=catalogue.gift_weights,
                        k=count)
    return [(code, max(1, int(between(rng, d.LINE_QUANTITY[:-1]))),
             catalogue.price[code]) for code in dict.fromkeys(codes)]


def coming_visits(rng, catalogue, orders):
    bought = {}
    for order in orders:
        bought.setdefault(order[2], set()).add(order[0])
    ids = sorted(bought)
    weights = [len(bought[c]) for c in ids]
    starts = sorted(day * 86400 + second_of_day(rng, d.VISIT_HOURS)
                    for day in (rng.randrange(VISITS // d.VISITS_A_DAY + 1)
                                for _ in range(VISITS)))
    for number, start in enumerate(starts, start=1):
        clicks = catalogue.visit(rng)
        customer = rng.choices(ids, weights)[0] \
            if rng.random() < v.CONVERSION else None
        yield v.plan_visit(
            rng, f"g{number}", start - starts[0],
            pick(rng, d.VISIT_COUNTRIES),
            [(code, catalogue.price[code], category)
             for category, code in clicks],
            clock(rng, len(clicks))[1], customer)


def main(argv):
    if len(argv) != 2:
        print("usage: generate.py OUT", file=sys.stderr)
        return 2
    out = argv[1]
    os.makedirs(out, exist_ok=True)
    rng = random.Random(SEED)
    end = v.yesterday()
    catalogue = Catalogue(rng)
    customers, orders = customers_and_orders(rng, catalogue, end)
    counts = {
        "products": v.write_csv(out, "products.csv", v.PRODUCTS,
                                catalogue.rows),
        "customers": v.write_csv(out, "customers.csv", v.CUSTOMERS,
                                 customers),
        "order lines": v.write_csv(out, "orders.csv", v.ORDERS, orders),
        "clicks": v.write_csv(out, "clicks.csv", v.CLICKS,
                              past_clicks(rng, catalogue, end)),
        "visits": v.write_visits(out, list(coming_visits(rng, catalogue,
                                                         orders))),
    }
    v.write_source(out, {"source": "generated", "seed": SEED}, counts)
    print("  " + ", ".join(f"{n:,} {what}" for what, n in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
