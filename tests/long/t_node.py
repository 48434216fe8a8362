#!/usr/bin/env python3
"""t_node.py: Node.js, its JIT and npm. SPDX-License-Identifier: Apache-2.0"""

import shutil
import subprocess
from pathlib import Path

import long
import real

JIT = r"""
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
class P { constructor(x, y) { this.x = x; this.y = y; } add(o) { return new P(this.x + o.x, this.y + o.y); } }
function points(n) { let p = new P(0, 0); for (let i = 0; i < n; i++) p = p.add(new P(i, 0.5)); return p; }
function poly(f, n) { let s = 0; for (let i = 0; i < n; i++) s += f(i); return s; }
console.log(fib(27));
console.log(points(300000));
console.log(poly(x => x | 0, 1e5), poly(x => x * 0.5, 1e5), poly(x => String(x).length, 1e5));
const m = new Map(); for (let i = 0; i < 1e5; i++) m.set('k' + i % 1000, i); console.log(m.size, m.get('k7'));
console.log([..."isomer"].sort().reverse().join(), /(\d+)-(\d+)/.exec("tel 123-456").slice(1));
console.log(JSON.stringify({ a: [1, 2, { b: null }], c: 1e21, d: "\u00e9" }), 10n ** 60n % 1234567n);
const a = new Float64Array(1e5); for (let i = 0; i < a.length; i++) a[i] = Math.sin(i) * Math.sqrt(i);
console.log(a.reduce((x, y) => x + y).toFixed(6));
try { null.x } catch (e) { console.log(e.message) }
function deep(n) { return deep(n + 1) + 1 } try { deep(0) } catch (e) { console.log(e.name) }
let deopt = (o) => o.v + 1; let t = 0;
for (let i = 0; i < 20000; i++) t += deopt({ v: i }); t += deopt({ w: 1, v: 'x' }).length; console.log(t);
const wasm = new Uint8Array([0,97,115,109,1,0,0,0,1,7,1,96,2,127,127,1,127,3,2,1,0,7,7,1,3,97,100,100,0,0,10,9,1,7,0,32,0,32,1,106,11]);
WebAssembly.instantiate(wasm).then(r => console.log('wasm', r.instance.exports.add(40, 2)));
"""
ASYNC = r"""
const fs = require('fs'), http = require('http'), zlib = require('zlib'), crypto = require('crypto');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const { execFileSync, spawn } = require('child_process');
if (!isMainThread) {
  let s = 0; for (let i = 0; i < 1e6; i++) s = (s + i * workerData) % 1000003; parentPort.postMessage(s);
} else (async () => {
  const all = await Promise.all([1, 2, 3, 4].map(n => new Promise((ok, no) =>
    new Worker(__filename, { workerData: n }).on('message', ok).on('error', no))));
  console.log('workers', all);
  fs.writeFileSync('f', 'x'.repeat(1000)); console.log((await fs.promises.stat('f')).size);
  console.log(zlib.gunzipSync(zlib.gzipSync(Buffer.alloc(100000, 'ab'))).length);
  console.log(crypto.createHash('sha256').update('isomer').digest('hex'),
              crypto.pbkdf2Sync('p', 's', 1000, 16, 'sha1').toString('hex'));
  const server = http.createServer((q, r) => r.end('got ' + q.url)).listen(0, '127.0.0.1', async () => {
    const port = server.address().port; let n = 0;
    for (let i = 0; i < 50; i++) n += (await (await fetch(`http://127.0.0.1:${port}/${i}`)).text()).length;
    console.log('http', n); server.close(); server.closeAllConnections();
    console.log(execFileSync('/usr/bin/echo', ['child']).toString().trim());
    const c = spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => { console.log("term"); process.exit(3) }); setInterval(() => {}, 1000); console.log("up")']);
    c.stdout.on('data', d => { process.stdout.write(d); if (`${d}`.includes('up')) c.kill() });
    c.on('exit', s => console.log('exit', s));
  });
})();
"""
PACKAGE = '{"name": "x", "version": "1.0.0", "dependencies": {"small": "file:./small"}, ' \
          '"scripts": {"start": "node -e \\"console.log(require(\'small\')(20))\\""}}'
SMALL = '{"name": "small", "version": "1.2.3", "main": "i.js"}'


def from_registry():
    """A package from where this machine's npm takes its own. No twin: the native root has no name
    servers. Left out if there is no npm or no registry."""
    def npm(*args):
        return subprocess.run(["npm", *args], capture_output=True, text=True)
    if not shutil.which("npm") or npm("view", "--fetch-retries=0", "is-number@7.0.0").returncode:
        print("skip - npm install from a registry: this machine's own npm does not reach one")
        return
    registry = npm("config", "get", "registry").stdout.strip()
    directory = Path("registry").resolve()
    directory.mkdir()
    (directory / "package.json").write_text('{"name": "x", "version": "1.0.0"}')
    script = (f"npm install --registry={registry} --no-audit --no-fund is-number@7.0.0 | "
              "sed 's/ in .*//'; node -p 'require(\"is-number\")(\"5e3\")'")
    got = subprocess.run(real.emulated_command(["/usr/bin/bash", "-c", script]), cwd=directory,
                         env={**real.ENV, "HOME": str(directory)}, capture_output=True, text=True,
                         timeout=real.TIMEOUT)
    good = got.stdout.split("\n")[-3:] == ["added 1 package", "true", ""]
    print("ok - npm install from a registry" if good else
          f"not ok - npm install from a registry: {got.stdout[-200:]!r} {got.stderr[-300:]!r}")


def main():
    long.need_twin()
    long.same("node -e", ["/usr/bin/node", "-e", "console.log(process.version, [1,2,3].map(x => x * 2))"])
    long.same("node -p", ["/usr/bin/node", "-p", "process.versions.v8 + process.platform"])
    for flags in ("", "--jitless", "--max-opt=0", "--stress-compaction --gc-interval=2000",
                  "--no-opt", "--always-sparkplug", "--predictable"):
        source = JIT.split("const wasm")[0] if "jitless" in flags else JIT
        long.same(f"the JIT {flags}", ["/usr/bin/node", *flags.split(), "j.js"], files={"j.js": source})
    long.same("threads, http, zlib, crypto, children", ["/usr/bin/node", "a.js"], files={"a.js": ASYNC})
    long.shell("npm install and run",
               "export HOME=$PWD; npm install --offline --no-audit --no-fund 2>&1 | sed 's/ in .*//'; "
               "npm run --silent start; npm ls; npm --version; rm -rf .npm node_modules/.package-lock.json",
               files={"package.json": PACKAGE, "small/package.json": SMALL,
                      "small/i.js": "module.exports = n => n * 2.1;\n"})
    from_registry()


main()
