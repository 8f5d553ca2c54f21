"""distributions.py - what was measured on the real data sets, as small tables.

Aggregates only, no row of any set.  generate.py draws the demo's shop, its
customers and visits from them on a machine without the sets.
"""

# Share of visits with 1, 2, ... 39 clicks, and 40 or more (eshop2008, April
# to June, 17,031 sessions).
VISIT_CLICKS = [0.2133, 0.1384, 0.1092, 0.0847, 0.0666, 0.058, 0.0459, 0.0383,
    0.0309, 0.0269, 0.0239, 0.0201, 0.017, 0.0133, 0.0127, 0.011, 0.0106,
    0.0071, 0.0066, 0.0068, 0.0058, 0.0042, 0.0046, 0.0036, 0.0036, 0.0028,
    0.0029, 0.0016, 0.0019, 0.0029, 0.0021, 0.0015, 0.0017, 0.0015, 0.0015,
    0.0011, 0.0011, 0.0012, 0.0008, 0.0124]

# Mean number of sessions a day (eshop2008).
VISITS_A_DAY = 187

# Countries of visits, the 15 or so most frequent; the rest is unknown
# (eshop2008).
VISIT_COUNTRIES = {"Poland": 0.796, "Czech Republic": 0.1082, "Lithuania":
    0.024, "United Kingdom": 0.0045, "Slovakia": 0.0042, "Ireland": 0.0042,
    "Germany": 0.004, "USA": 0.0012, "Netherlands": 0.0011, "Switzerland":
    0.0009, "France": 0.0009, "Norway": 0.0008, "Denmark": 0.0008, "Belgium":
    0.0008, "Italy": 0.0007}

# Share of clicks by category (eshop2008).
CATEGORY_CLICKS = {"trousers": 0.2993, "skirts": 0.2431, "blouses": 0.2367,
    "sale": 0.2209}

# Share of its category's clicks by rank of the product (eshop2008, 217
# products).
PRODUCT_CLICKS = {"trousers": [0.0569, 0.0557, 0.0548, 0.0512, 0.0437, 0.0435,
    0.0408, 0.0377, 0.0358, 0.0356, 0.0351, 0.0347, 0.0325, 0.0325, 0.0306,
    0.0299, 0.0284, 0.0283, 0.0197, 0.018, 0.0174, 0.0171, 0.0163, 0.0152,
    0.014, 0.013, 0.0127, 0.0125, 0.0124, 0.0115, 0.0115, 0.0111, 0.0105,
    0.0098, 0.0097, 0.0089, 0.0087, 0.0085, 0.0084, 0.0077, 0.0071, 0.0064,
    0.0044], "skirts": [0.0922, 0.062, 0.0518, 0.0474, 0.0415, 0.0411, 0.0396,
    0.0391, 0.0391, 0.0388, 0.0379, 0.0365, 0.0342, 0.0335, 0.0334, 0.0314,
    0.0288, 0.0275, 0.027, 0.0255, 0.0223, 0.0197, 0.019, 0.0182, 0.0153,
    0.0148, 0.014, 0.0132, 0.013, 0.0125, 0.0111, 0.0094, 0.0092], "blouses":
    [0.0526, 0.0417, 0.0331, 0.0316, 0.0292, 0.029, 0.0262, 0.0253, 0.025,
    0.0248, 0.0242, 0.0238, 0.0219, 0.0214, 0.0209, 0.0204, 0.0204, 0.0199,
    0.0194, 0.0191, 0.0187, 0.0185, 0.018, 0.018, 0.0172, 0.0165, 0.0164,
    0.0163, 0.0163, 0.0162, 0.016, 0.0158, 0.0147, 0.0142, 0.0139, 0.0137,
    0.0137, 0.0131, 0.013, 0.0126, 0.0111, 0.011, 0.0107, 0.0104, 0.0102,
    0.0102, 0.0101, 0.0098, 0.0098, 0.0093, 0.0081, 0.0078, 0.0075, 0.0071,
    0.0065, 0.0055, 0.0043, 0.0042, 0.0036], "sale": [0.0692, 0.0463, 0.0404,
    0.0395, 0.0284, 0.0271, 0.0261, 0.0257, 0.0256, 0.0237, 0.023, 0.0226,
    0.0209, 0.0209, 0.0204, 0.0195, 0.0178, 0.017, 0.0162, 0.016, 0.0157,
    0.0155, 0.0154, 0.014, 0.0139, 0.0136, 0.0136, 0.0132, 0.0128, 0.0123,
    0.0116, 0.0113, 0.0112, 0.011, 0.0104, 0.0104, 0.0104, 0.01, 0.0097,
    0.0094, 0.0089, 0.0088, 0.0087, 0.0085, 0.0085, 0.0081, 0.0081, 0.008,
    0.0079, 0.0078, 0.0073, 0.0067, 0.0066, 0.0062, 0.0059, 0.0058, 0.0057,
    0.0057, 0.0056, 0.0052, 0.0052, 0.005, 0.0046, 0.0044, 0.0044, 0.0044,
    0.0042, 0.0042, 0.0037, 0.0036, 0.0035, 0.0031, 0.0031, 0.003, 0.0025,
    0.0022, 0.0015, 0.0012, 0.0001, 0.0001, 0.0, 0.0]}

# Deciles of the prices of a category's products, in the set's dollars
# (eshop2008).
PRICES = {"trousers": [28.0, 33.0, 33.0, 38.0, 38.0, 38.0, 43.0, 55.0, 62.0,
    62.0, 82.0], "skirts": [33.0, 38.0, 38.0, 43.0, 48.0, 52.0, 52.0, 57.0,
    57.0, 62.0, 67.0], "blouses": [18.0, 28.0, 28.0, 33.0, 33.0, 43.0, 48.0,
    48.0, 48.0, 52.0, 77.0], "sale": [23.0, 28.0, 28.0, 33.0, 33.0, 33.0,
    38.0, 43.0, 43.0, 43.0, 65.0]}

# Share of products by colour (eshop2008).
COLOURS = {"black": 0.2074, "grey": 0.1244, "brown": 0.1152, "white": 0.1106,
    "patterned": 0.1014, "blue": 0.0829, "red": 0.0645, "green": 0.0461,
    "beige": 0.0415, "violet": 0.0415, "pink": 0.0369, "burgundy": 0.0138,
    "navy": 0.0092, "olive": 0.0046}

# The next click is the same product again (eshop2008, 99,064 pairs of
# clicks).
NEXT_SAME = 0.0575

# ... another of the same category, its number at most 3 away.
NEXT_NEAR = 0.304

# ... another of the same category, further away; else it is in another one.
NEXT_CATEGORY = 0.4485

# Share of visits beginning in each hour, UTC (rsc15-100k, 17,794 training
# sessions).
VISIT_HOURS = [0.0022, 0.0047, 0.014, 0.0266, 0.0393, 0.0506, 0.0553, 0.0555,
    0.0596, 0.0575, 0.0553, 0.0519, 0.0526, 0.056, 0.0592, 0.0706, 0.0833,
    0.0806, 0.0629, 0.0318, 0.0157, 0.0078, 0.0043, 0.0026]

# Seconds between two clicks, quantiles in steps of 5 % (rsc15-100k).
CLICK_PAUSES = [0.0, 3.0, 10.0, 15.2, 20.0, 24.9, 29.9, 35.2, 41.3, 48.1,
    55.8, 65.1, 75.9, 89.5, 106.0, 128.5, 161.2, 209.9, 299.1, 529.3, 5365.5]

# Countries of customers, the 12 most frequent (online_retail, 4,339 customers
# with an order).
CUSTOMER_COUNTRIES = {"United Kingdom": 0.9037, "Germany": 0.0217, "France":
    0.0201, "Spain": 0.0065, "Belgium": 0.0055, "Switzerland": 0.0046,
    "Portugal": 0.0044, "Italy": 0.0032, "Finland": 0.0028, "Norway": 0.0023,
    "Australia": 0.0021, "Netherlands": 0.0021}

# Orders of a customer, quantiles in steps of 2.5 % (online_retail).
CUSTOMER_ORDERS = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2,
    2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 6, 7, 8, 9, 11, 13, 19, 210]

# Days since a customer's last order, quantiles in steps of 5 %
# (online_retail).
LAST_ORDER_DAYS = [0, 2, 5, 9, 14, 17, 22, 26, 32, 40, 50, 60, 71, 85, 108,
    142, 179, 218, 262, 311, 373]

# Days between two orders of a customer, quantiles in steps of 5 %
# (online_retail).
ORDER_PAUSES = [0.0, 0.0, 0.0, 1.8, 4.1, 6.8, 8.9, 12.0, 14.8, 18.7, 21.9,
    26.9, 31.2, 37.0, 43.0, 51.0, 62.9, 78.1, 103.0, 146.1, 366.0]

# Share of orders by hour (online_retail, 18,536 orders).
ORDER_HOURS = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0001, 0.0016, 0.0299, 0.0752,
    0.1201, 0.1228, 0.1688, 0.1423, 0.1227, 0.1099, 0.0593, 0.0293, 0.0091,
    0.0078, 0.001, 0.0, 0.0, 0.0]

# Lines of an order, quantiles in steps of 5 % (online_retail).
ORDER_LINES = [1, 1, 2, 4, 5, 6, 8, 10, 11, 13, 15, 17, 19, 21, 24, 28, 32,
    38, 48, 65, 542]

# Pieces of a line, quantiles in steps of 5 %; the last is that of 99.9 %
# (online_retail).
LINE_QUANTITY = [1, 1, 1, 1, 2, 2, 2, 3, 4, 4, 6, 6, 8, 10, 12, 12, 12, 18,
    24, 36, 504]

# Median prices of products, pounds, quantiles in steps of 5 %; the last is
# that of 99 % (online_retail).
GIFT_PRICES = [0.04, 0.39, 0.42, 0.81, 0.85, 1.25, 1.25, 1.25, 1.65, 1.69,
    2.1, 2.46, 2.55, 2.95, 3.75, 4.13, 4.95, 5.95, 7.95, 9.95, 19.95]

# Order lines of a product fall with rank to the power of minus this: least
# squares of the logarithms over the first 500 (online_retail).
GIFT_ZIPF = 0.428

# Share of invoices that cancel an earlier one (online_retail).
CANCELLED = 0.1647
