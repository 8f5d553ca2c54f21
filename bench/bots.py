#!/usr/bin/python3
"""bots.py - precision and recall of bot lists on a labelled mix, and their cost.

Robots: every user agent that npm's crawler-user-agents gives as an instance
of one of its patterns.  People: user agents of real browsers, weighted draws of
npm's user-agents, each counted once, and some rarer ones by hand.  Lists: the
one we ship, and those that tracker/bots-import makes of crawler-user-agents and
isbot.  The packages are fetched into build/npm and are no part of the tree.
"""

import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NPM = os.path.join(ROOT, 'build/npm')
PACKAGES = ('crawler-user-agents@1.60.0', 'isbot@5.2.3', 'user-agents@2.1.198')
DRAWS = 20000

# What a shop's mobile visitors send besides browsers: in-app views, old and
# rare phones, televisions, consoles, a maker whose name ends in "bot".
RARE = '''
Mozilla/5.0 (Linux; Android 13; CUBOT NOTE 40) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 337.0.3.23.109 (iPhone14,5; iOS 17_5_1; en_GB; en; scale=3.00; 1170x2532; 611573408)
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) GSA/320.0.638941508 Mobile/15E148 Safari/604.1
Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UD1A.231105.004; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.6478.71 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/470.0.0.40.83;]
Mozilla/5.0 (iPhone; CPU iPhone OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/470.1.0.43.103;FBBV/617456434;FBDV/iPhone12,1;FBMD/iPhone;FBSN/iOS;FBSV/16.6;FBSS/2;FBID/phone;FBLC/en_GB;FBOP/5]
Mozilla/5.0 (Linux; U; Android 13; en-us; Redmi Note 12) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/112.0.0.0 Mobile Safari/537.36 XiaoMi/MiuiBrowser/14.10.1-gn
Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36
Mozilla/5.0 (Linux; arm_64; Android 12; HUAWEI P40) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 YaBrowser/23.7.3 Mobile Safari/537.36
Mozilla/5.0 (Linux; Android 12; ANA-NX9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/99.0.4844.88 HuaweiBrowser/14.0.3 Mobile Safari/537.36
Mozilla/5.0 (Linux; U; Android 11; en-US; CPH2127) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/100.0.4896.58 UCBrowser/13.4.0.1306 Mobile Safari/537.36
Mozilla/5.0 (Linux; Android 14; 23049PCD8G Build/UKQ1; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0 Mobile Safari/537.36 trill_340204 BytedanceWebview/d8a21c6
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1 Ddg/17.5
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Snapchat/12.91.0.36 (like Safari/8617.2.4, panda)
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [Pinterest/iOS]
Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49(0x18003127) NetType/WIFI Language/en
Mozilla/5.0 (Mobile; Nokia 8110 4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5
Opera/9.80 (Android; Opera Mini/36.2.2254/191.249; U; en) Presto/2.12.423 Version/12.16
Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) 85.0.4183.93/6.0 TV Safari/537.36
Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/87.0.4280.88 Safari/537.36 WebAppManager
Mozilla/5.0 (PlayStation; PlayStation 5/4.03) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Safari/605.1.15
Mozilla/5.0 (Nintendo Switch; WifiWebAuthApplet) AppleWebKit/609.4 (KHTML, like Gecko) NF/6.0.2.21.3 NintendoBrowser/5.1.0.22474
Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko
Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)
Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0
Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36
Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Vivaldi/6.8.3381.44
Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Whale/3.26.244.21 Safari/537.36
'''


def run(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, check=True,
                          **more)


def node(script):
    return run('node', '-e', script, cwd=NPM).stdout


def fetch():
    os.makedirs(NPM, exist_ok=True)
    if not all(os.path.isdir(os.path.join(NPM, 'node_modules', p.split('@')[0]))
               for p in PACKAGES):
        with open(os.path.join(NPM, 'package.json'), 'w',
                  encoding='ascii') as f:
            f.write('{"private": true}\n')
        run('npm', 'install', '--silent', '--no-audit', '--no-fund',
            '--ignore-scripts', *PACKAGES, cwd=NPM)


def agents():
    """(robots, people), each once."""
    robots = node('for (const c of require("crawler-user-agents")) '
                  'for (const i of c.instances) console.log(i)')
    people = node(f'''
        const m = require("./node_modules/user-agents/dist/index.cjs");
        const U = m.default || m, seen = new Set();
        for (let i = 0; i < {DRAWS}; i++) seen.add(new U().toString());
        console.log([...seen].join("\\n"))''')
    return [sorted(set(filter(None, text.split('\n'))))
            for text in (robots, people + RARE)]


def lists():
    """(name, path) of the lists that are compared."""
    tool = os.path.join(ROOT, 'tracker/bots-import')
    cua = run(tool, os.path.join(NPM, 'node_modules/crawler-user-agents',
                                 'crawler-user-agents.json')).stdout
    isbot = run(tool, '-', input=node(
        'console.log(require("isbot").list.join("\\n"))')).stdout
    yield 'tracker/bots.list', os.path.join(ROOT, 'tracker/bots.list')
    for name, text in (('crawler-user-agents', cua), ('isbot', isbot)):
        path = os.path.join(NPM, name + '.list')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        yield name + ', imported', path


def ask(path, texts):
    """Labels of the texts; (patterns, ms to compile, ns, ns joined)."""
    done = run(os.path.join(ROOT, 'build/bots'), path,
               input='\n'.join(texts) + '\n')
    labels = [line.split()[0] == '1' for line in done.stdout.splitlines()]
    assert len(labels) == len(texts)
    return labels, done.stderr.split()


def measure():
    fetch()
    robots, people = agents()
    rows = []
    for name, path in lists():
        hits, _ = ask(path, robots)
        wrong, costs = ask(path, people)
        true, false = sum(hits), sum(wrong)
        rows.append({'list': name, 'patterns': int(costs[0]),
                     'precision': true / max(1, true + false),
                     'recall': true / len(robots), 'false': false,
                     'compile_ms': float(costs[1]), 'ns': float(costs[2]),
                     'joined_ns': float(costs[3])})
    return len(robots), len(people), rows


def main():
    nrobots, npeople, rows = measure()
    if '--json' in sys.argv:
        print(json.dumps(rows))
        return
    print(f'{nrobots} user agents of robots, {npeople} of people\n')
    print('| list | patterns | precision | recall | people called robots '
          '| compile, ms | ns per agent | as one PCRE2-JIT alternation, ns |')
    print('|---|---|---|---|---|---|---|---|')
    for r in rows:
        print(f"| {r['list']} | {r['patterns']} | {r['precision']:.4f} | "
              f"{r['recall']:.4f} | {r['false']} | {r['compile_ms']:.1f} | "
              f"{r['ns']:.0f} | {r['joined_ns']:.0f} |")


if __name__ == '__main__':
    main()
