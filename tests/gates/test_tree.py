"""test_tree.py - the tree keeps its shape: arrows, symbols, docs, heads."""

import gzip
import os
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

# Which other folders' headers a folder may include, and which libraries.
ARROWS = {
    'tracker': (set(), {'openssl', 'jansson.h', 'pcre2.h'}),
    'personalize': (set(), {'jansson.h', 'pcre2.h'}),
    'ngx_crm_module': ({'tracker', 'personalize'},
                       {'openssl', 'jansson.h', 'libpq-fe.h', 'maxminddb.h',
                        'zlib.h'}),
    'mining': ({'tracker', 'personalize'},
               {'openssl', 'jansson.h', 'libpq-fe.h', 'hiredis', 'zlib.h'}),
}
LIBRARIES = re.compile(
    r'^(openssl/|jansson\.h|libpq-fe\.h|hiredis|zlib\.h|ngx_|maxminddb|pcre2)')


def files(folder, endings):
    """Paths of the folder's own files with one of the endings."""
    top = os.path.join(ROOT, folder)
    return sorted(os.path.join(top, f) for f in os.listdir(top)
                  if f.endswith(endings))


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


@pytest.mark.parametrize('folder', sorted(ARROWS))
def test_arrows_between_folders(folder):
    others, libraries = ARROWS[folder]
    wrong = []
    for path in files(folder, ('.c', '.h')):
        for name in re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)', read(path),
                               re.M):
            base = name.removeprefix('../')
            other = base.split('/')[0]
            if other in ARROWS and other != folder:
                public = base == f'{other}/{other}.h'
                if other not in others or not public:
                    wrong.append(f'{path}: {name}')
            elif LIBRARIES.match(name):
                lib = name.split('/')[0]
                own = folder == 'ngx_crm_module' and lib.startswith('ngx_')
                if not own and lib not in libraries:
                    wrong.append(f'{path}: {name}')
    assert wrong == []


@pytest.mark.parametrize('module', [
    'build/ngx_http_crm_module.so', 'build/asan/ngx_http_crm_module.so'])
def test_module_exports_only_nginx_symbols(module):
    out = subprocess.run(['nm', '-D', '--defined-only',
                          os.path.join(ROOT, module)],
                         capture_output=True, text=True, check=True).stdout
    symbols = {line.split()[-1] for line in out.splitlines()
               if ' B __odr_asan' not in line}
    assert symbols == {'ngx_modules', 'ngx_module_names', 'ngx_module_order'}


def test_every_directive_and_variable_is_documented():
    code = read(os.path.join(ROOT, 'ngx_crm_module/ngx_http_crm_module.c')) \
        + read(os.path.join(ROOT, 'ngx_crm_module/ngx_http_crm_variables.c'))
    doc = read(os.path.join(ROOT, 'ngx_crm_module/DIRECTIVES.md'))

    def names(start, end):
        return set(re.findall(r'ngx_string\("(crm\w*)"\)',
                              code.split(start)[1].split(end)[0]))
    directives = names('ngx_http_crm_commands[] =', 'ngx_null_command')
    variables = names('ngx_http_crm_variables[] =', 'ngx_http_null_variable')
    blocks = set(re.findall(r'^### (crm\w*)$', doc, re.M))
    assert directives, 'no directive found in the code'
    assert blocks == directives
    assert set(re.findall(r'^### \$(crm\w*)$', doc, re.M)) == variables
    for block in re.split(r'^### ', doc, flags=re.M)[1:]:
        if not block.startswith('$'):
            for part in ('syntax', 'default', 'context', 'phase', 'since'):
                assert f'**{part}**' in block, (block.split()[0], part)


def test_every_counter_is_documented():
    code = read(os.path.join(ROOT, 'ngx_crm_module/ngx_http_crm_module.h'))
    body = re.search(r'typedef enum \{([^}]*)\} ngx_http_crm_counter_e', code)
    names = re.findall(r'NGX_HTTP_CRM_(\w+)', body.group(1))
    status = read(os.path.join(ROOT, 'ngx_crm_module/ngx_http_crm_status.c'))
    doc = read(os.path.join(ROOT, 'docs/operations.md'))
    for name in names:
        if name != 'NCOUNTERS':
            assert f'"{name.lower()}"' in status, name
            assert f'`{name.lower()}`' in doc, name


def source_files():
    out = subprocess.run(['git', 'ls-files'], capture_output=True, text=True,
                         cwd=ROOT, check=True).stdout.split('\n')
    return [f for f in out if f and os.path.isfile(os.path.join(ROOT, f))]


def test_every_source_file_says_what_it_is():
    bare = []
    for name in source_files():
        if name.endswith(('.c', '.h')):
            head = read(os.path.join(ROOT, name))[:400]
            if not re.match(r'/\*\n \* ' + re.escape(os.path.basename(name))
                            + r' - \S', head):
                bare.append(name)
        elif name.endswith('.py'):
            if not re.search(r'""".+ - \S', read(os.path.join(ROOT, name))[:300]):
                bare.append(name)
    assert bare == []


def test_style_limits():
    wrong = []
    for name in source_files():
        if not name.endswith(('.c', '.h')):
            continue
        lines = read(os.path.join(ROOT, name)).split('\n')
        if len(lines) - 1 > 800 and not name.startswith('tests/'):
            wrong.append(f'{name}: {len(lines)} lines, 800 at most')
        start = None
        for i, line in enumerate(lines, 1):
            if len(line) > 80:
                wrong.append(f'{name}:{i}: over 80 columns')
            if re.match(r'\s*//', line) or '\t' in line:
                wrong.append(f'{name}:{i}: // comment or tab')
            if line == '{':
                start = i
            elif line == '}' and start is not None:
                if i - start + 1 > 150 and not name.startswith('tests/'):
                    wrong.append(f'{name}:{start}: function over 150 lines')
                start = None
    assert wrong == []


def test_crm_js_is_small_and_touches_no_cookie_nor_store():
    text = read(os.path.join(ROOT, 'tracker/client/crm.js'))
    assert len(gzip.compress(text.encode(), 9)) < 2048
    code = re.sub(r'/\*.*?\*/', '', text, flags=re.S)
    for word in ('cookie', 'localStorage', 'sessionStorage', 'indexedDB',
                 'eval', 'Function(', 'innerHTML', '.style', 'caches'):
        assert word not in code, word
