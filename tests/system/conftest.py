"""conftest.py - real servers for the system tests, one stack per test file.

A test file asks for `shop` (nginx + Redis + PostgreSQL + importer, sanitized
build) and may say with `CONF = {...}` what differs.  When a test ends, its
logs must hold no alert, no emerg and no word of a sanitizer.
"""

import contextlib
import http.client
import itertools
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import uuid

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, 'demo'))

from stack import Stack, StackError, wait_until  # noqa: E402

HTTP = '''
    crm_journal @RUN@/journal size=32m;
    crm_zone name=crm size=8m;
    crm_redis @REDIS@;
    crm_postgres "@PG@";
    crm_budget 50ms;
'''
SERVER = '''
        crm on;
        crm_slot markers;
        location / { try_files $uri $uri/index.html =404; }
        location /p/ {
            crm_event "Product Viewed" product_id=$arg_id category=$arg_cat;
        }
        location = /cart/add {
            crm_event "Product Added" product_id=$arg_id price=$arg_price;
            default_type text/html;
            return 200 "<p>added</p>";
        }
        location = /order/done {
            crm_event "Order Completed" order_id=$arg_order total=$arg_total
                products=$arg_products currency=EUR;
            default_type text/html;
            return 200 "<p>thank you</p>";
        }
        location = /login {
            proxy_pass http://127.0.0.1:@SHOP_PORT@;
        }
        location = /crm/status { crm off; crm_status; }
        location = /crm/decide { crm_decide; }
'''
PAGES = {
    'index.html': '<h1>Shop</h1>\n<!--crm:slot hero--><p>default</p>'
                  '<!--/crm:slot-->\n<p>end</p>\n',
    'plain.html': '<h1>no slot here</h1>\n',
    'p/view.html': '<h1>A product</h1>\n',
    'style.css': 'p { color: red }\n',
}


class Shop(Stack):
    """A stack with a shop's site, pages, and the eyes a test needs."""

    def __init__(self, folder, main='', http=HTTP, server=SERVER, workers=2,
                 sanitized=True, **more):
        super().__init__(folder, template=os.path.join(HERE, 'nginx.conf'),
                         workers=workers, sanitized=sanitized, fsync=False,
                         extra={'MAIN': main, 'HTTP': http, 'SERVER': server},
                         **more)
        for name, text in PAGES.items():
            self.page(name, text)

    def values(self):
        """The words inside a test's own text are filled in as well."""
        values = super().values()
        for name in ('MAIN', 'HTTP', 'SERVER'):
            for word, value in list(values.items()):
                values[name] = values[name].replace(f'@{word}@', str(value))
        return values

    def page(self, name, text):
        path = self.path('pages', name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(path, 0o644)

    def migrate(self, quiet=True):
        done = super().migrate(quiet)
        self.sql("insert into crm.site (key, name, reviews_needed) "
                 "values ('shop', 'Test shop', 1) on conflict do nothing")
        return done

    def crm_status(self):
        code, _, body = self.get('/crm/status')
        assert code == 200, body
        return json.loads(body)

    def counter(self, name):
        return self.crm_status()['counters'][name]

    def rids(self):
        """Request ids in the warehouse, as often as they are there."""
        return [r[0] for r in self.sql(
            "select req->>'rid' from crm.event where req ? 'rid'")]

    def events(self, rid, seconds=20):
        """The events of one request, once they arrived."""
        query = "select to_jsonb(e) from crm.event e where req->>'rid' = %s"
        return [r[0] for r in wait_until(
            lambda: self.sql(query, rid), f'event of request {rid}', seconds)]

    def settled(self, seconds=40):
        """Waits until all that was captured is durable; the ledger holds."""
        def durable():
            ledger = self.crm_status()['ledger']
            assert ledger['appended'] == ledger['durable'] \
                + ledger['in_journal'] + ledger['shed'], ledger
            return ledger['in_journal'] == 0
        wait_until(durable, 'all events to become durable', seconds)

    def redis_ask(self, *words):
        """The whole answer of Redis to one command."""
        with socket.create_connection(
                ('127.0.0.1', self.port('redis')), timeout=5) as s:
            s.sendall(redis_words(words))
            with s.makefile('rb') as stream:
                return read_reply(stream)

    @contextlib.contextmanager
    def frozen(self, name):
        """A server stands still with all its children, and goes on after.

        PostgreSQL's backends leave its session: they are found by parent.
        """
        server = getattr(self, name)
        pids = [server.pid()]
        os.kill(pids[0], signal.SIGSTOP)        # makes no child any more
        pids += server.children()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def visitor_of(self, worker, **headers):
        """A visitor whose connection that worker has: others stand still.

        Connections knock until the worker takes them, because one that stands
        still may be woken for the first.
        """
        others = [pid for pid in self.nginx.children() if pid != worker]
        visitor = Visitor(self, **headers)
        knocks = []
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            visitor.connection = http.client.HTTPConnection(
                '127.0.0.1', self.port('nginx'), timeout=20)
            visitor.connection.connect()
            visitor.connection.request('GET', '/style.css')

            def answered():
                knocks.append(socket.create_connection(
                    ('127.0.0.1', self.port('nginx'))))
                return select.select([visitor.connection.sock], [], [], 0)[0]
            wait_until(answered, f'worker {worker} to answer', 10)
            visitor.connection.getresponse().read()
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)
            for knock in knocks:
                knock.close()
        return visitor

    def campaign(self, key, slot='hero', when=None, content=None, **more):
        """Applies one campaign the way a marketer's team does."""
        folder = self.path('campaigns', 'shop')
        os.makedirs(folder, exist_ok=True)
        doc = {'key': key, 'name': key, 'slot': slot, 'state': 'live',
               'when': when or {},
               'variants': [{'key': 'a', 'weight': 1,
                             'content': content or f'<p>{key}</p>'}], **more}
        with open(os.path.join(folder, key + '.json'), 'w') as f:
            json.dump(doc, f)
        return self.mine('campaigns', 'apply', self.path('campaigns'),
                         '--site', 'shop', '--reviewer', 'tester')


class Visitor:
    """One browser: keeps its cookie and its connection."""

    def __init__(self, shop, **headers):
        self.shop = shop
        self.headers = headers
        self.cookie = None
        self.connection = None

    def get(self, path, method='GET', **headers):
        """Returns (answer, body, request id)."""
        rid = uuid.uuid4().hex
        sent = {'X-Request-Id': rid, **self.headers, **headers}
        if self.cookie is not None:
            sent['Cookie'] = 'crm=' + self.cookie
        if self.connection is None:
            self.connection = http.client.HTTPConnection(
                '127.0.0.1', self.shop.port('nginx'), timeout=20)
        try:
            self.connection.request(method, path, headers=sent)
            answer = self.connection.getresponse()
            body = answer.read()
        except BaseException:
            self.close()
            raise
        for value in answer.headers.get_all('Set-Cookie', []):
            if value.startswith('crm='):
                self.cookie = value[4:].split(';')[0]
        if answer.will_close:
            self.close()
        return answer, body.decode('utf-8', 'replace'), rid

    def text(self, path, **headers):
        answer, body, _ = self.get(path, **headers)
        assert answer.status == 200, (path, answer.status)
        return body

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Load:
    """Visitors that browse until told to stop, and what they saw answered."""

    def __init__(self, shop, visitors=4, path='/plain.html'):
        self.shop = shop
        self.path = path
        self.answered = []          # request ids whose answer came whole
        self.closed = 0             # idle connections that nginx closed
        self.failed = 0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.browse)
                        for _ in range(visitors)]

    def browse(self):
        visitor = Visitor(self.shop)
        for n in itertools.count():
            if self.stopping.is_set():
                break
            try:
                answer, _, rid = visitor.get(f'{self.path}?n={n}')
                assert answer.status == 200
                self.answered.append(rid)
            except (http.client.RemoteDisconnected, ConnectionResetError,
                    BrokenPipeError):
                self.closed += 1    # a browser asks again; so do we
            except (OSError, http.client.HTTPException):
                self.failed += 1
                self.stopping.wait(0.02)
        visitor.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def more(self, n, seconds=30):
        """Waits until n more requests were answered."""
        goal = len(self.answered) + n
        wait_until(lambda: len(self.answered) >= goal,
                   f'{n} more answers', seconds)

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def compare(shop, load, may_miss=0, seconds=40):
    """The client's list against the table: none twice, none missing."""
    want = set(load.answered)

    def arrived():
        return len(want - set(shop.rids())) <= may_miss
    try:
        wait_until(arrived, 'all answered requests to be in the table',
                   seconds)
    except StackError:
        pass
    there = shop.rids()
    missing = want - set(there)
    assert len(missing) <= may_miss, \
        f'{len(missing)} of {len(want)} missing, at most {may_miss} may'
    assert len(there) == len(set(there)), \
        f'{len(there) - len(set(there))} events are there twice'
    return len(want), len(missing)


class Peer:
    """A TCP server whose every connection runs a script on a thread.

    behave() changes the script and cuts the connections of the one before, so
    that whoever is connected meets the new one.  Without a script the peer is
    honest: it passes all bytes on to the port `to`.
    """

    def __init__(self, script=None, to=None):
        self.script = script
        self.to = to
        self.connections = set()
        self.met = 0                # connections since behave()
        self.lock = threading.Lock()
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(connection,),
                             daemon=True).start()

    def serve(self, connection):
        with self.lock:
            self.connections.add(connection)
            script = self.script
            self.met += 1
        try:
            if script is None:
                relay(connection, self.to)
            else:
                script(connection)
        except OSError:
            pass
        finally:
            with self.lock:
                self.connections.discard(connection)
            cut(connection)
            connection.close()

    def behave(self, script=None):
        with self.lock:
            self.script = script
            self.met = 0
            for connection in self.connections:
                cut(connection)

    def close(self):
        cut(self.listener)
        self.listener.close()
        self.behave(cut)


def cut(connection):
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def relay(near, port, limit=None):
    """Passes bytes both ways; cuts after `limit` bytes of the far side."""
    with socket.create_connection(('127.0.0.1', port), timeout=5) as far:
        far.settimeout(None)
        sides = {near: far, far: near}
        while limit is None or limit > 0:
            for side in select.select(list(sides), [], [])[0]:
                data = side.recv(65536)
                if not data:
                    return
                if side is far and limit is not None:
                    data = data[:limit]
                    limit -= len(data)
                sides[side].sendall(data)


def read_reply(stream):
    """One reply of Redis from a binary file: bytes, int, list or None."""
    line = stream.readline()
    if not line.endswith(b'\r\n'):
        raise ConnectionError('redis closed the connection')
    kind, rest = line[:1], line[1:-2]
    if kind == b':':
        return int(rest)
    if kind in b'+-':
        return line[:-2]
    if int(rest) < 0:
        return None
    if kind == b'$':
        return stream.read(int(rest) + 2)[:-2]
    return [read_reply(stream) for _ in range(int(rest))]


def redis_words(words):
    """A command as it goes over the wire."""
    parts = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b'*%d\r\n' % len(parts) + b''.join(
        b'$%d\r\n%s\r\n' % (len(p), p) for p in parts)


@contextlib.contextmanager
def new_shop(request, start=Shop.start, make=Shop):
    """A stack with what CONF of the test file says, started as told."""
    folder = tempfile.mkdtemp(prefix='crm-test-')
    os.chmod(folder, 0o755)
    stack = make(folder, **getattr(request.module, 'CONF', {}))
    try:
        start(stack)
        yield stack
    finally:
        stack.stop()
        failed = request.session.testsfailed > 0
        if failed and os.environ.get('CRM_KEEP'):
            print(f'kept {folder}')
        else:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope='module')
def shop(request):
    """The stack of this test file; CONF in the file changes it."""
    with new_shop(request) as stack:
        yield stack


@pytest.fixture(autouse=True)
def clean_logs(request):
    """After each test: no alert, no emerg, no sanitizer's word."""
    yield
    if 'shop' in request.fixturenames:
        stack = request.getfixturevalue('shop')
        marker = request.node.get_closest_marker('allows')
        try:
            stack.check_logs(allowed=marker.args if marker else ())
        finally:
            stack.forget_logs()


@pytest.fixture
def visitor(shop):
    """A new shopper, and any number more: visitor() or visitor(**headers)."""
    made = []

    def make(**headers):
        made.append(Visitor(shop, **headers))
        return made[-1]
    yield make
    for one in made:
        one.close()


def poll(condition, what, seconds=10):
    """wait_until for tests: the value once it is true."""
    return wait_until(condition, what, seconds)


def now_us():
    return int(time.time() * 1e6)
