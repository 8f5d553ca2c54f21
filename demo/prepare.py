#!/usr/bin/python3
"""prepare.py - makes the demo's data from the real data sets: DATA OUT.

DATA is a folder with eshop2008/, online_retail/ and rsc15-100k/.

Catalogue   the 217 clothes of eshop2008 (its dollars are read as pounds), and
            the products of online_retail with their median price as gifts
Customers   those of online_retail, with their invoices as orders; a cancelled
            invoice is an order with negative quantities
Clicks      eshop2008 April to June
Visits      eshop2008 July, in the order of the file

Days are moved by whole days so that each set ends yesterday.  eshop2008 knows
the day of a click but no time: start and pauses are those of real sessions of
rsc15-100k with as many clicks (training part for clicks, test part for
visits).  Which visits buy, and as whom, no set tells: a share of
visits.CONVERSION is drawn, with customers as often as they ordered before.
The same input gives the same output on the same day.
"""

import csv
import datetime
import gzip
import os
import random
import statistics
import sys

import visits as v

SEED = 2008

# Countries of eshop2008 by number; 12 and 43-47 are no country.
COUNTRIES = dict(enumerate((
    "Australia,Austria,Belgium,British Virgin Islands,Cayman Islands,"
    "Christmas Island,Croatia,Cyprus,Czech Republic,Denmark,Estonia,,"
    "Faroe Islands,Finland,France,Germany,Greece,Hungary,Iceland,India,"
    "Ireland,Italy,Latvia,Lithuania,Luxembourg,Mexico,Netherlands,Norway,"
    "Poland,Portugal,Romania,Russia,San Marino,Slovakia,Slovenia,Spain,"
    "Sweden,Switzerland,Ukraine,United Arab Emirates,United Kingdom,USA"
).split(","), start=1))

NAMES = {"EIRE": "Ireland", "RSA": "South Africa"}


def table(path, delimiter=","):
    opened = gzip.open(path, "rt", encoding="utf-8", newline="") \
        if path.endswith(".gz") else open(path, encoding="utf-8", newline="")
    with opened as f:
        yield from csv.DictReader(f, delimiter=delimiter)


class Clothes:
    """eshop2008: sessions in file order, and what the catalogue needs."""

    def __init__(self, data):
        self.sessions = {}      # id -> [month, day, country, [product, ...]]
        self.category = {}
        self.colour = {}
        self.price = {}
        self.popular = {}       # clicks before July
        for row in table(os.path.join(data, "eshop2008",
                                      "eshop_apr_jul.csv.gz")):
            code = row["page2_clothing_model"]
            month = int(row["month"])
            if code not in self.price:
                category = v.CATEGORIES[int(row["page1_main_category"])]
                self.category[code] = category
                self.colour[code] = v.COLOURS[int(row["colour"])]
                self.price[code] = row["price"]
                self.popular[code] = 0
            if month < 7:
                self.popular[code] += 1
            session = self.sessions.setdefault(row["session_id"], [
                month, int(row["day"]), COUNTRIES.get(int(row["country"]), ""),
                []])
            session[3].append(code)

    def products(self):
        for code in sorted(self.popular, key=lambda c: (-self.popular[c], c)):
            category = self.category[code]
            yield (code, v.clothing_name(category, self.colour[code], code),
                   category, self.price[code], v.CURRENCY,
                   v.product_path(code))

    def days(self, months):
        """Sessions of these months by day: (date, [(id, session), ...])."""
        days = {}
        for number, session in self.sessions.items():
            if session[0] in months:
                day = datetime.date(2008, session[0], session[1])
                days.setdefault(day, []).append((number, session))
        return sorted(days.items())


class Gifts:
    """online_retail: rows with a customer are orders."""

    def __init__(self, data):
        folder = os.path.join(data, "online_retail")
        self.names = {row["StockCode"]: row["Description"] for row in
                      table(os.path.join(folder, "products.csv"))}
        prices = {}
        self.lines = []
        self.last = datetime.date.min
        self.popular = {}
        self.orders_of = {}
        for row in table(os.path.join(folder, "transactions.csv.gz")):
            if float(row["UnitPrice"]) >= 0:
                prices.setdefault(row["StockCode"], []).append(
                    float(row["UnitPrice"]))
            day = datetime.date.fromisoformat(row["InvoiceDate"][:10])
            self.last = max(self.last, day)
            if row["CustomerID"]:
                self.lines.append((row, day))
                self.popular[row["StockCode"]] = \
                    self.popular.get(row["StockCode"], 0) + 1
                self.orders_of.setdefault(row["CustomerID"], set()).add(
                    row["InvoiceNo"])
        self.price = {code: statistics.median(p) for code, p in prices.items()}

    def products(self):
        for code in sorted(self.price,
                           key=lambda c: (-self.popular.get(c, 0), c)):
            real = code[:5].isdigit()
            name = self.names.get(code, code).strip().capitalize() or code
            yield (code, name, v.GIFTS if real else v.SERVICES,
                   f"{self.price[code]:.2f}", v.CURRENCY,
                   v.product_path(code) if real else "")

    def orders(self, end):
        shift = end - self.last
        line_of = {}
        for row, day in self.lines:
            order = row["InvoiceNo"]
            line_of[order] = line_of.get(order, 0) + 1
            yield (order, line_of[order], row["CustomerID"],
                   f"{day + shift} {row['InvoiceDate'][11:]}",
                   row["StockCode"], row["Quantity"], row["UnitPrice"],
                   v.CURRENCY, NAMES.get(row["Country"], row["Country"]))

    def customers(self, end):
        shift = end - self.last
        seen = {}
        for row, day in self.lines:
            seen.setdefault(row["CustomerID"], (
                NAMES.get(row["Country"], row["Country"]), day + shift))
        for customer, (country, day) in sorted(seen.items()):
            yield customer, country, day


def read_clocks(path):
    """Clocks of real sessions by their number of clicks."""
    sessions = {}
    for row in table(path, "\t"):
        sessions.setdefault(row["SessionId"], []).append(float(row["Time"]))
    clocks = {}
    for times in sessions.values():
        offsets = [t - times[0] for t in times]
        clocks.setdefault(len(times), []).append((times[0] % 86400, offsets))
    clocks[1] = [(start, [0.0]) for start, _ in clocks[2]]
    return clocks


def past_clicks(clothes, clocks, rng, end):
    days = clothes.days((4, 5, 6))
    shift = end - datetime.date(2008, 6, 30)
    for day, sessions in days:
        timed = v.set_clocks(rng, [len(s[3]) for _, s in sessions], clocks)
        for (number, session), (start, offsets) in zip(sessions, timed):
            for code, offset in zip(session[3], offsets):
                yield (f"e-{number}",
                       v.day_and_seconds(day + shift, start + offset), code,
                       clothes.category[code], clothes.price[code],
                       session[2])


def july_visits(clothes, gifts, clocks, rng):
    customers = sorted(gifts.orders_of)
    weights = [len(gifts.orders_of[c]) for c in customers]
    result = []
    first = None
    for day, sessions in clothes.days((7,)):
        timed = v.set_clocks(rng, [len(s[3]) for _, s in sessions], clocks)
        for (number, session), (start, offsets) in zip(sessions, timed):
            at = day.toordinal() * 86400 + start
            first = at if first is None else first
            customer = rng.choices(customers, weights)[0] \
                if rng.random() < v.CONVERSION else None
            clicks = [(code, clothes.price[code], clothes.category[code])
                      for code in session[3]]
            result.append(v.plan_visit(rng, f"e{number}", at - first,
                                       session[2], clicks, offsets, customer))
    return result


def main(argv):
    if len(argv) != 3:
        print("usage: prepare.py DATA OUT", file=sys.stderr)
        return 2
    data, out = argv[1:]
    os.makedirs(out, exist_ok=True)
    rng = random.Random(SEED)
    end = v.yesterday()
    clothes = Clothes(data)
    gifts = Gifts(data)
    rsc15 = os.path.join(data, "rsc15-100k")
    counts = {
        "products": v.write_csv(out, "products.csv", v.PRODUCTS, [
            *clothes.products(), *gifts.products()]),
        "customers": v.write_csv(out, "customers.csv", v.CUSTOMERS,
                                 gifts.customers(end)),
        "order lines": v.write_csv(out, "orders.csv", v.ORDERS,
                                   gifts.orders(end)),
        "clicks": v.write_csv(out, "clicks.csv", v.CLICKS, past_clicks(
            clothes, read_clocks(os.path.join(rsc15, "train_full.tsv.gz")),
            rng, end)),
        "visits": v.write_visits(out, july_visits(
            clothes, gifts, read_clocks(os.path.join(rsc15, "test.tsv")),
            rng)),
    }
    v.write_source(out, {"source": "real", "sets": [
        "eshop2008", "online_retail", "rsc15-100k"]}, counts)
    print("  " + ", ".join(f"{n:,} {what}" for what, n in counts.items()))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except (OSError, KeyError, ValueError) as error:
        print(f"prepare: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
