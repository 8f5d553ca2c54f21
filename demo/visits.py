"""visits.py - what real and generated demo data have in common.

A data folder holds products.csv, customers.csv, orders.csv and clicks.csv for
crm-mine load (docs/loading.md), visits.jsonl for replay.py, and source.json,
which says where it all came from.

One line of visits.jsonl is one visit:
{"at": seconds since the first visit, "country": name, "customer": id or null,
 "steps": [[seconds since the visit began, path], ...]}

What no data set tells is assumed here, in one place: a visit opens with the
home page, the list of its first product follows LIST_S and that product
HOME_S later, and a visit that buys ends with log-in, one to three of the last
products seen, checkout and order, at the pauses below.
"""

import csv
import datetime
import json
import os

CONVERSION = 0.1547     # visits that buy; online_shoppers: 1,908 of 12,330
LIST_S = 2              # home page to a list of products
HOME_S = 4              # home page to first click
LOGIN_S = 12
ADD_S = 8
CHECKOUT_S = 20
ORDER_S = 45
BASKET_MAX = 3          # products in one order of a replayed visit
CURRENCY = "GBP"

PRODUCTS = ["product_id", "name", "category", "price", "currency", "url"]
CUSTOMERS = ["customer_id", "country", "registered_at"]
ORDERS = ["order_id", "line", "customer_id", "ordered_at", "product_id",
          "quantity", "price", "currency", "country"]
CLICKS = ["session_id", "clicked_at", "product_id", "category", "price",
          "country"]

# Numbers of the colours in eshop2008.
COLOURS = {1: "beige", 2: "black", 3: "blue", 4: "brown", 5: "burgundy",
           6: "grey", 7: "green", 8: "navy", 9: "patterned", 10: "olive",
           11: "pink", 12: "red", 13: "violet", 14: "white"}

# Categories of the demo shop, by their numbers in eshop2008; gifts are the
# products of online_retail, services its codes that are no products.
CATEGORIES = {1: "trousers", 2: "skirts", 3: "blouses", 4: "sale"}
GIFTS = "gifts"
SERVICES = "services"
THINGS = {"trousers": "trousers", "skirts": "skirt", "blouses": "blouse",
          "sale": "top"}


def clothing_name(category, colour, code):
    return f"{colour.capitalize()} {THINGS[category]} {code}"


def product_path(code):
    return f"/p/{code}.html"


def list_path(category):
    return f"/c/{category}.html"


def yesterday():
    return (datetime.datetime.now(datetime.timezone.utc).date()
            - datetime.timedelta(days=1))


def day_and_seconds(day, seconds):
    """A day and seconds into it, as crm-mine load reads times."""
    at = datetime.datetime.combine(day, datetime.time()) \
        + datetime.timedelta(seconds=int(seconds))
    return at.isoformat(sep=" ")


def set_clocks(rng, lengths, clocks):
    """(start second of the day, offsets) for the visits of one day, in order.

    clocks maps a number of clicks to clocks (start, offsets) seen with it; the
    nearest number known is taken and a short clock goes round again.  Starts
    are drawn, then sorted: the order of the visits is kept.
    """
    known = sorted(clocks)
    drawn = []
    for length in lengths:
        near = min(known, key=lambda n: (abs(n - length), n))
        drawn.append(rng.choice(clocks[near]))
    starts = sorted(start for start, _ in drawn)
    result = []
    for start, length, (_, offsets) in zip(starts, lengths, drawn):
        while len(offsets) < length:
            pause = offsets[-1] + (offsets[1] if len(offsets) > 1 else 30)
            offsets = offsets + [pause + offset for offset in offsets]
        offsets = offsets[:length]
        result.append((max(0, min(start, 86390 - offsets[-1])), offsets))
    return result


def plan_visit(rng, number, at, country, clicks, offsets, customer):
    """One visit: clicks are (product, price, category), offsets seconds."""
    steps = [(0, "/"), (LIST_S, list_path(clicks[0][2]))]
    steps += [(HOME_S + offset, product_path(product))
              for offset, (product, _, _) in zip(offsets, clicks)]
    if customer is not None:
        steps += purchase(rng, number, steps[-1][0], clicks, customer)
    return {"at": round(at, 1), "country": country, "customer": customer,
            "steps": [[round(second, 1), path] for second, path in steps]}


def purchase(rng, number, second, clicks, customer):
    basket = []
    for product, price, _ in reversed(clicks):
        if product not in [p for p, _ in basket]:
            basket.append((product, price))
    basket = basket[:rng.randint(1, BASKET_MAX)]
    second += LOGIN_S
    steps = [(second, f"/login?user={customer}")]
    for product, price in basket:
        second += ADD_S
        steps.append((second, f"/cart/add?item={product}&price={price}"
                              f"&quantity=1"))
    second += CHECKOUT_S
    steps.append((second, "/checkout.html"))
    total = f"{sum(float(price) for _, price in basket):.2f}"
    lines = ",".join(f"{product}:1:{price}" for product, price in basket)
    steps.append((second + ORDER_S,
                  f"/order/done?order_id=web-{number}&total={total}"
                  f"&currency={CURRENCY}&products={lines}"))
    return steps


def write_csv(folder, name, header, rows):
    """Writes rows and returns how many."""
    count = 0
    with open(os.path.join(folder, name), "w", encoding="utf-8",
              newline="") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def write_visits(folder, visits):
    with open(os.path.join(folder, "visits.jsonl"), "w",
              encoding="utf-8") as f:
        for visit in visits:
            f.write(json.dumps(visit, separators=(",", ":")) + "\n")
    return len(visits)


def write_source(folder, source, counts):
    """Last of all: a folder with it is whole."""
    with open(os.path.join(folder, "source.json"), "w",
              encoding="utf-8") as f:
        json.dump({**source, "ends": str(yesterday()), **counts}, f, indent=1)
        f.write("\n")
