#!/usr/bin/python3
"""stack.py - private PostgreSQL, Redis, nginx and crm-mine in one folder.

A library for the demo, the system tests and the benchmark, and a command:
stack.py up|down|status [DIR], where DIR is the project's run/ when not given.

Everything listens on loopback and lives under the stack's folder:

    env             what people source: CRM_URL, CRM_PG, ...  (while it runs)
    state.json      ports and secrets, kept so that the next start equals this
    pids/NAME.json  process id, its start time and the boot it belongs to
    log/NAME.log    what each process printed; nginx's own is log/error.log
    postgres/ redis/ nginx/ journal/

Servers are children that stay in the foreground in a session of their own, so
they outlive the command that started them, and one that lost its parent (a
killed nginx master leaves its workers) is still found by its session id.
A pid is believed only with the same start time in the same boot.

PostgreSQL refuses to run as root, and nginx's workers do not run as root
either: when we are root, the folder must be reachable for them.  In a private
clone it becomes a symbolic link to a new folder in /var/tmp.

Trust authentication on loopback is for demo and tests: anybody with an
account on this machine may enter the private PostgreSQL while it runs.
"""

import json
import os
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUN = os.path.join(PROJECT, "run")
TEMPLATE = os.path.join(PROJECT, "demo", "nginx.conf")

START_S = 30    # a server that is not ready by then has failed
STOP_S = 15     # one that did not stop by then is killed
POLL_S = 0.02


class StackError(Exception):
    """A sentence for a person: what failed, and what helps."""


def wait_until(condition, what, seconds=START_S):
    """Polls until condition() is true and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise StackError(f"{what}: not after {seconds} s")
        time.sleep(POLL_S)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def port_taken(port, host="127.0.0.1"):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, port))
        except OSError:
            return True
    return False


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def is_root():
    return os.geteuid() == 0


def account(name):
    """The account a server runs under; None: our own."""
    if not is_root():
        return None
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def reachable(path):
    """Whether every account may pass through all folders above path."""
    while path != "/":
        path = os.path.dirname(path)
        if not os.stat(path).st_mode & 0o001:
            return False
    return True


def make_folder(path):
    """Makes the stack's folder and gives a path others can reach it by."""
    path = os.path.abspath(path)
    if not os.path.isdir(path):
        if os.path.islink(path):       # to a folder that was cleaned away
            os.unlink(path)
        parent = os.path.dirname(path)
        os.makedirs(parent, exist_ok=True)
        if is_root() and not reachable(os.path.realpath(path)):
            os.symlink(tempfile.mkdtemp(prefix="ngx_crm.", dir="/var/tmp"),
                       path)
        else:
            os.mkdir(path)
    path = os.path.realpath(path)
    os.chmod(path, 0o755)
    return path


def write_private(path, text):
    """Writes a file only we may read, whole or not at all."""
    new = path + ".new"
    if os.path.exists(new):
        os.unlink(new)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600),
                   "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(new, path)


def read_json(path):
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except (FileNotFoundError, ValueError):
        return {}


def boot_id():
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
        return f.read().strip()


def process_stat(pid):
    """(state, parent, session, start time) of a process; None: gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii",
                  errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1]), int(fields[3]), int(fields[19])


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


class Process:
    """One server of the stack; a later command finds it by its pid file."""

    def __init__(self, stack, name, user=None, stop_signal=signal.SIGTERM):
        self.stack = stack
        self.name = name
        self.user = user
        self.stop_signal = stop_signal
        self.log = os.path.join(stack.folder, "log", name + ".log")
        self.pid_file = os.path.join(stack.folder, "pids", name + ".json")
        self.child = None           # when this very process started it

    def recorded(self):
        known = read_json(self.pid_file)
        if known.get("boot") != boot_id():
            return None
        return known

    def pid(self):
        """Process id while it runs, else None."""
        if self.child is not None:
            self.child.poll()       # reaps it, so that it is no zombie
        known = self.recorded()
        if known is None:
            return None
        stat = process_stat(known["pid"])
        if stat is None or stat[0] == "Z" or stat[3] != known["start"]:
            return None
        return known["pid"]

    def members(self):
        """All living processes of its session, itself included."""
        known = self.recorded()
        if known is None:
            return []
        found = []
        for pid in all_pids():
            stat = process_stat(pid)
            if stat is not None and stat[0] != "Z" \
                    and stat[2] == known["pid"] and stat[3] >= known["start"]:
                found.append(pid)
        return found

    def children(self):
        parent = self.pid()
        if parent is None:
            return []
        return [pid for pid in all_pids()
                if (process_stat(pid) or (None, 0))[1] == parent]

    def launch(self, argv, env=None):
        extra = {}
        if self.user is not None:
            extra = {"user": self.user.pw_uid, "group": self.user.pw_gid,
                     "extra_groups": os.getgrouplist(self.user.pw_name,
                                                     self.user.pw_gid)}
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, cwd="/",
                env={**os.environ, **(env or {})}, **extra)
        stat = process_stat(self.child.pid)
        write_private(self.pid_file, json.dumps({
            "pid": self.child.pid, "boot": boot_id(),
            "start": stat[3] if stat else 0, "command": argv[0]}))

    def wait_ready(self, ready):
        """Polls ready(); a process that ends meanwhile is an error."""
        def look():
            if ready():
                return True
            if self.pid() is None:
                raise StackError(f"{self.name} ended while starting:\n"
                                 + self.tail())
            return False
        try:
            wait_until(look, f"{self.name} to get ready")
        except BaseException:
            self.stop()
            raise

    def tail(self, lines=12):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return "".join(f.readlines()[-lines:]).rstrip()
        except FileNotFoundError:
            return "(it printed nothing)"

    def kill(self, sig=signal.SIGKILL):
        pid = self.pid()
        if pid is None:
            raise StackError(f"{self.name} does not run")
        os.kill(pid, sig)

    def wait_gone(self, seconds=STOP_S):
        wait_until(lambda: self.pid() is None, f"{self.name} to end", seconds)

    def stop(self):
        """Ends it gently, and what is left of its session by force."""
        pid = self.pid()
        was_running = pid is not None
        if was_running:
            os.kill(pid, self.stop_signal)
            os.kill(pid, signal.SIGCONT)        # it may have been stopped
            try:
                self.wait_gone()
            except StackError:
                os.kill(pid, signal.SIGKILL)
        for pid in self.members():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_until(lambda: not self.members(), f"{self.name} to end")
        if os.path.exists(self.pid_file):
            os.unlink(self.pid_file)
        self.child = None
        return was_running


class Stack:
    """PostgreSQL, Redis, nginx and an importer that belong together.

    folder      where it lives; made when missing
    port        of nginx; None: the one of last time, or a free one
    template    nginx configuration with @WORD@ for each of `values`
    sanitized   the build with address and undefined sanitizers
    fsync       False only where the data may be lost with the machine
    redis_args  more words for redis-server, such as --appendonly yes
    extra       text for @MAIN@, @HTTP@ and @SERVER@ of the template
    """

    def __init__(self, folder=RUN, *, port=None, template=TEMPLATE, workers=2,
                 sanitized=False, fsync=True, redis_args=(), module=None,
                 extra=None):
        self.folder = make_folder(folder)
        for name in ("log", "pids"):
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        self.template = template
        self.workers = workers
        self.sanitized = sanitized
        self.fsync = fsync
        self.redis_args = list(redis_args)
        self.extra = {"MAIN": "", "HTTP": "", "SERVER": "", **(extra or {})}

        build = os.path.join(PROJECT, "build", "asan" if sanitized else "")
        self.module = module or os.path.join(build, "ngx_http_crm_module.so")
        self.crm_mine = os.path.join(build, "crm-mine")

        self.state_file = os.path.join(self.folder, "state.json")
        self.state = read_json(self.state_file)
        if port is not None:
            self.state["port"] = port
        self.postgres = Process(self, "postgres", account("postgres"),
                                signal.SIGINT)
        self.redis = Process(self, "redis", account("redis"))
        self.nginx = Process(self, "nginx", None, signal.SIGQUIT)
        self.importer = Process(self, "importer")
        self.error_log = self.path("log", "error.log")
        self.log_marks = {}

    # ---- what it is made of -------------------------------------------------

    def processes(self):
        """In starting order."""
        return [self.postgres, self.redis, self.nginx, self.importer]

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def port(self, name):
        """The port of a server, the same one each time while it is free."""
        key = "port" if name == "nginx" else name + "_port"
        if key not in self.state:
            self.state[key] = free_port()
            self.save()
        return self.state[key]

    def own_port(self, name, process):
        """As port(), but picks another when a stranger took it meanwhile."""
        key = name + "_port"
        if key in self.state and process.pid() is None \
                and port_taken(self.state[key]):
            del self.state[key]
        return self.port(name)

    def secret(self, name):
        if name not in self.state:
            self.state[name] = secrets.token_urlsafe(18)
            self.save()
        return self.state[name]

    def save(self):
        write_private(self.state_file, json.dumps(self.state, indent=1))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port('nginx')}"

    def pg(self, role="postgres"):
        """Connection string for libpq; postgres is the superuser."""
        return f"postgresql://{role}@127.0.0.1:{self.port('postgres')}/crm"

    @property
    def redis_url(self):
        return f"redis://127.0.0.1:{self.port('redis')}/0"

    def own_folder(self, name, user):
        path = self.path(name)
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
        if user is not None:
            os.chown(path, user.pw_uid, user.pw_gid)
        return path

    # ---- PostgreSQL ---------------------------------------------------------

    def start_postgres(self):
        """Makes the cluster when there is none.  False: it runs already."""
        server = self.postgres
        if server.pid() is not None:
            return False
        data = self.own_folder("postgres", server.user)
        binaries = self.postgres_binaries()
        if not os.path.exists(os.path.join(data, "made")):
            self.make_cluster(data, binaries)
        self.wait_backends_gone(data)
        port = self.own_port("postgres", server)
        options = {
            "listen_addresses": "127.0.0.1", "port": port,
            "unix_socket_directories": data, "max_connections": 60,
            "shared_buffers": "256MB", "max_wal_size": "2GB",
            "fsync": "on" if self.fsync else "off",
            "full_page_writes": "on" if self.fsync else "off",
            "log_min_messages": "warning", "timezone": "UTC",
            "log_timezone": "UTC",
        }
        words = [f"-c{name}={value}" for name, value in options.items()]
        server.launch([os.path.join(binaries, "postgres"), "-D", data, *words],
                      env={"LC_ALL": "C.UTF-8"})
        server.wait_ready(self.postgres_answers)
        self.make_database()
        return True

    @staticmethod
    def postgres_binaries():
        base = "/usr/lib/postgresql"
        try:
            versions = sorted(os.listdir(base), key=float, reverse=True)
        except (FileNotFoundError, ValueError):
            versions = []
        for version in versions:
            path = os.path.join(base, version, "bin")
            if os.path.exists(os.path.join(path, "initdb")):
                return path
        raise StackError("no PostgreSQL server found in /usr/lib/postgresql: "
                         "install postgresql-15")

    def make_cluster(self, data, binaries):
        """initdb; a cluster that was only half made is made again."""
        for name in os.listdir(data):
            path = os.path.join(data, name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        extra = {}
        if self.postgres.user is not None:
            extra = {"user": self.postgres.user.pw_uid,
                     "group": self.postgres.user.pw_gid, "extra_groups": []}
        done = subprocess.run(
            [os.path.join(binaries, "initdb"), "-D", data, "-U", "postgres",
             "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8",
             "--no-sync"],
            capture_output=True, text=True, cwd="/", **extra)
        if done.returncode != 0:
            raise StackError("initdb failed:\n" + done.stderr.rstrip())
        with open(os.path.join(data, "made"), "w", encoding="ascii"):
            pass

    @staticmethod
    def wait_backends_gone(data):
        """Backends of a killed postmaster hold its memory a moment longer."""
        real = os.path.realpath(data)

        def gone():
            for pid in all_pids():
                try:
                    if os.readlink(f"/proc/{pid}/cwd") == real:
                        return False
                except OSError:
                    pass
            return True
        wait_until(gone, "backends of the last PostgreSQL to end")

    def postgres_answers(self):
        import psycopg2
        try:
            psycopg2.connect(self.pg().replace("/crm", "/postgres"),
                             connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    def make_database(self):
        rows = self.sql("select 1 from pg_database where datname = 'crm'",
                        database="postgres")
        if not rows:
            self.sql("create database crm", database="postgres")

    def sql(self, query, *values, database="crm"):
        """Runs one statement as the superuser; rows, or None."""
        import psycopg2
        connection = psycopg2.connect(
            self.pg().replace("/crm", "/" + database), connect_timeout=5)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query, values or None)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    # ---- Redis --------------------------------------------------------------

    def start_redis(self):
        server = self.redis
        if server.pid() is not None:
            return False
        folder = self.own_folder("redis", server.user)
        port = self.own_port("redis", server)
        words = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder,
                 "--daemonize", "no", "--save", "", "--appendonly", "no",
                 "--loglevel", "warning", *self.redis_args]
        server.launch(["/usr/bin/redis-server", *words])
        server.wait_ready(self.redis_answers)
        return True

    def redis_answers(self):
        try:
            return self.redis_command("PING") == "+PONG"
        except (OSError, StackError):
            return False

    def redis_command(self, *words, timeout=5):
        """First line of the answer to one command, as it came."""
        with socket.create_connection(
                ("127.0.0.1", self.port("redis")), timeout=timeout) as s:
            parts = [w if isinstance(w, bytes) else str(w).encode()
                     for w in words]
            s.sendall(b"*%d\r\n" % len(parts) + b"".join(
                b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
            answer = b""
            while b"\r\n" not in answer:
                data = s.recv(4096)
                if not data:
                    raise StackError("redis closed the connection")
                answer += data
        return answer.split(b"\r\n")[0].decode("utf-8", "replace")

    # ---- nginx --------------------------------------------------------------

    def values(self):
        """What @WORD@ in the template stands for."""
        return {
            **self.extra, "RUN": self.folder, "MODULE": self.module,
            "PORT": self.port("nginx"), "SHOP_PORT": self.port("shop"),
            "REDIS": f"127.0.0.1:{self.port('redis')}",
            "PG": f"host=127.0.0.1 port={self.port('postgres')} "
                  f"dbname=crm user=crm_edge",
            "WORKERS": self.workers,
            "WRITE_KEY": self.secret("write_key"),
            "USER": "user www-data;" if is_root() else "",
        }

    def write_nginx_conf(self):
        with open(self.template, encoding="utf-8") as f:
            text = f.read()
        for word, value in self.values().items():
            text = text.replace(f"@{word}@", str(value))
        for name in ("nginx", "journal"):
            os.makedirs(self.path(name), exist_ok=True)
        shutil.copy(os.path.join(PROJECT, "tracker", "client", "crm.js"),
                    self.path("nginx", "crm.js"))
        path = self.path("nginx", "nginx.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def nginx_command(self):
        return ["/usr/sbin/nginx", "-e", self.error_log, "-p", self.folder,
                "-c", self.path("nginx", "nginx.conf"), "-g", "daemon off;"]

    def nginx_env(self):
        if not self.sanitized:
            return {}
        library = subprocess.run(["gcc", "-print-file-name=libasan.so"],
                                 capture_output=True, text=True,
                                 check=True).stdout.strip()
        return {"LD_PRELOAD": os.path.realpath(library),
                "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
                "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}

    def start_nginx(self):
        if self.nginx.pid() is not None:
            return False
        port = self.port("nginx")
        try:        # a process that was killed lets go of it when all is freed
            wait_until(lambda: not port_taken(port), f"port {port}", 3)
        except StackError:
            raise StackError(
                f"port {port} is taken by another program; choose a free one: "
                f"CRM_PORT={port + 1} make demo") from None
        if not os.path.exists(self.module):
            raise StackError(f"{self.module} is missing: run make module")
        if "shop_port" in self.state and port_taken(self.state["shop_port"]):
            del self.state["shop_port"]
        self.write_nginx_conf()
        self.nginx.launch(self.nginx_command(), self.nginx_env())
        self.nginx.wait_ready(lambda: accepts(port))
        return True

    def test_nginx(self):
        """What nginx -t says of the configuration: (exit code, words)."""
        self.write_nginx_conf()
        done = subprocess.run([*self.nginx_command()[:-2], "-t"],
                              capture_output=True, text=True,
                              env={**os.environ, **self.nginx_env()})
        return done.returncode, done.stderr

    def reload(self):
        """Reloads nginx and waits until a new generation of workers runs."""
        before = set(self.nginx.children())
        self.write_nginx_conf()
        self.nginx.kill(signal.SIGHUP)
        wait_until(lambda: len(set(self.nginx.children()) - before)
                   >= self.workers, "nginx to reload")

    # ---- crm-mine -----------------------------------------------------------

    def mine_env(self, role="crm_etl"):
        return {"CRM_PG": self.pg(role), "CRM_REDIS": self.redis_url}

    def mine(self, *words, role="crm_etl", check=True, quiet=True, **more):
        """Runs crm-mine to its end; quiet: its output is in the result."""
        if not os.path.exists(self.crm_mine):
            raise StackError(f"{self.crm_mine} is missing: run make mine")
        done = subprocess.run(
            [self.crm_mine, *words], text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            env={**os.environ, **self.mine_env(role)}, **more)
        if check and done.returncode != 0:
            raise StackError(f"crm-mine {' '.join(words)} failed with exit "
                             f"code {done.returncode}"
                             + (":\n" + done.stdout.rstrip() if quiet else ""))
        return done

    def migrate(self, quiet=True):
        return self.mine("migrate", "--dir",
                         os.path.join(PROJECT, "schema", "migrations"),
                         role="postgres", quiet=quiet)

    def start_importer(self, *words):
        if self.importer.pid() is not None:
            return False
        if not os.path.exists(self.crm_mine):
            raise StackError(f"{self.crm_mine} is missing: run make mine")
        self.importer.launch([self.crm_mine, "import", "--follow", *words],
                             self.mine_env())
        return True

    # ---- all of it ----------------------------------------------------------

    def start(self):
        """Starts what does not run; the names of what it started."""
        started = [name for name, start in (
            ("postgres", self.start_postgres), ("redis", self.start_redis))
            if start()]
        self.migrate()
        started += [name for name, start in (
            ("nginx", self.start_nginx), ("importer", self.start_importer))
            if start()]
        self.write_env()
        return started

    def stop(self):
        """Stops everything, last started first; names of what ran."""
        stopped = [p.name for p in reversed(self.processes()) if p.stop()]
        if os.path.exists(self.path("env")):
            os.unlink(self.path("env"))
        return stopped

    def kill(self, name, sig=signal.SIGKILL):
        """Signals a server by name; "worker" is nginx's youngest."""
        if name == "worker":
            workers = [(process_stat(pid) or (0, 0, 0, 0))[3:] + (pid,)
                       for pid in self.nginx.children()]
            if not workers:
                raise StackError("nginx has no worker")
            pid = max(workers)[1]
            os.kill(pid, sig)
            return pid
        process = getattr(self, name)
        pid = process.pid()
        process.kill(sig)
        return pid

    def write_env(self):
        env = {"CRM_URL": self.url, "CRM_PG": self.pg(),
               "CRM_REDIS": self.redis_url, "CRM_API_USER": "demo",
               "CRM_API_PASSWORD": self.secret("api_password"),
               "CRM_WRITE_KEY": self.secret("write_key")}
        write_private(self.path("env"), "".join(
            f"{name}={shlex.quote(value)}\n" for name, value in env.items()))
        return env

    def get(self, path, headers=None, timeout=10):
        """Fetches a page; (status, headers, body)."""
        request = urllib.request.Request(self.url + path,
                                         headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    # ---- logs ---------------------------------------------------------------

    def logs(self):
        """Text of every log since the last forget_logs, by file name."""
        texts = {}
        for name in sorted(os.listdir(self.path("log"))):
            with open(self.path("log", name), encoding="utf-8",
                      errors="replace") as f:
                f.seek(self.log_marks.get(name, 0))
                texts[name] = f.read()
        return texts

    def forget_logs(self):
        for name in os.listdir(self.path("log")):
            self.log_marks[name] = os.path.getsize(self.path("log", name))

    def check_logs(self, allowed=()):
        """Fails on our own bugs: alert, emerg and what a sanitizer found."""
        bad = ("[alert]", "[emerg]", "AddressSanitizer", "LeakSanitizer",
               "runtime error:", "open socket left in connection",
               "TRAP: ", "PANIC:")
        found = [f"{name}: {line}"
                 for name, text in self.logs().items()
                 for line in text.splitlines()
                 if any(word in line for word in bad)
                 and not any(word in line for word in allowed)]
        if found:
            raise StackError("the logs hold what must not happen:\n"
                             + "\n".join(found[:20]))


# ---- the command ------------------------------------------------------------

def status(stack):
    running = 0
    for process in stack.processes():
        pid = process.pid()
        running += pid is not None
        print(f"{process.name:10} " + (f"runs, pid {pid}" if pid else "stopped"))
    return running


def main(argv):
    if len(argv) not in (2, 3) or argv[1] not in ("up", "down", "status"):
        print("usage: stack.py up|down|status [DIR]", file=sys.stderr)
        return 2
    folder = argv[2] if len(argv) == 3 else RUN
    if argv[1] != "up" and not os.path.isdir(folder):
        print("nothing runs")
        return 0 if argv[1] == "down" else 1
    try:
        port = os.environ.get("CRM_PORT")
        stack = Stack(folder, port=int(port) if port else None)
        if argv[1] == "status":
            return 0 if status(stack) == len(stack.processes()) else 1
        if argv[1] == "down":
            stopped = stack.stop()
            print("stopped " + ", ".join(stopped) if stopped
                  else "nothing runs")
        else:
            started = stack.start()
            print("started " + ", ".join(started) if started
                  else f"already up at {stack.url}")
    except (StackError, OSError, subprocess.SubprocessError) as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
