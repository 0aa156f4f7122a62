/** RUNBOOK.md, command by command and in its order, on an installation in each of the states that it is about. */
import assert from 'node:assert/strict';
import { appendFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Authority } from '../support/authority.ts';
import { assertPrinted, readDocument, type Commands } from '../support/document.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import { Installation } from '../support/installation.ts';
import { countryRecord, writeMmdb } from '../support/mmdb-writer.ts';
import { lacks } from '../support/tools.ts';

const runbook = join(import.meta.dirname, '../../RUNBOOK.md');
const page = readDocument(runbook);
/** What every shell of the page begins with. */
const prelude = page.commands[0]!.code;
/** Nobody else's, so that the port of the page need not be a free one. */
const host = `127.${20 + (process.pid % 200)}.${(process.pid >> 8) % 256}.1`;
const flooder = '127.0.0.66';

type Incident = (machine: Installation) => Promise<void> | void;

/** What has happened when somebody turns to a section, where anything has. */
const incidents: Readonly<Record<string, Incident>> = {
  'It does not start': async (machine) => {
    await machine.succeed('systemctl stop portcullis');
    await machine.succeed("sed -i 's/^workers = /worker = /' /etc/portcullis/portcullis.toml");
    assert.equal((await machine.run('systemctl start portcullis')).code, 1);
  },
  'One source floods it': async (machine) => {
    const hits = `for i in $(seq 20); do curl -sk --interface ${flooder} --connect-to ::${host}:8443 https://app.example.com/; done`;
    await machine.succeed(hits);
  },
  'The database is damaged': async (machine) => {
    await machine.succeed('mkdir -p /var/lib/portcullis/backup');
    await machine.succeed(
      'portcullis snapshot -o /var/lib/portcullis/backup/daily.db -c /etc/portcullis/portcullis.toml',
    );
    await machine.succeed('systemctl stop portcullis');
    for (const suffix of ['-wal', '-shm'])
      await machine.succeed(`rm -f /var/lib/portcullis/portcullis.db${suffix}`);
    truncateSync(machine.path('/var/lib/portcullis/portcullis.db'), 9_000);
    assert.equal((await machine.run('systemctl start portcullis')).code, 1);
  },
  'A certificate expires': (machine) => issue(machine, 'new', 30),
};

const authority = lacks('openssl') === false ? new Authority('runbook') : null;

function issue(machine: Installation, where: 'new' | 'tls', days: number): void {
  const { cert, key } = authority!.issue({ altNames: ['DNS:app.example.com'], days });
  const folder = where === 'tls' ? '/etc/portcullis/tls' : '/home/new';
  machine.write(`${folder}/app.pem`, cert);
  machine.write(`${folder}/app.key`, key);
}

async function install(backendPort: number): Promise<Installation> {
  const machine = new Installation([
    [/(?<![\d.])(?:localhost)?:443\b/g, `${host}:8443`],
    ['127.0.0.1:9901', `${host}:9901`],
    ['10.0.0.10:8080', `127.0.0.1:${backendPort}`],
    ['10.0.0.99:8080', '127.0.0.1:9'],
    ['198.51.100.7', flooder],
  ]);
  await machine.succeed('mkdir -p /etc/portcullis/tls new');
  issue(machine, 'tls', 5);
  machine.write('/etc/portcullis/countries.mmdb', geoip());
  machine.write('/home/countries.mmdb', geoip());
  const [config] = page.blocks.filter(({ language }) => language === 'toml');
  machine.write('/etc/portcullis/portcullis.toml', `[server]\nworkers = 1\n${config!.code}`);
  await machine.succeed('systemctl start portcullis');
  return machine;
}

function geoip(): Buffer {
  return writeMmdb({ networks: [['203.0.113.0/24', countryRecord('KP')]] });
}

const refusedRequest = 'curl -sk -m 2 --connect-to ::localhost:443 https://nope.example.com/ || true';

async function follow(machine: Installation, { code, marks, prints, line }: Commands): Promise<void> {
  const where = `RUNBOOK.md:${line}`;
  const isFollowing = marks.includes('until-ctrl-c');
  const traffic = isFollowing ? setInterval(() => void machine.run(refusedRequest), 500) : undefined;
  const options = isFollowing ? { interruptAfter: /\n/ } : {};
  const { code: status, output } = await machine.run(`${prelude}\n${code}`, options);
  clearInterval(traffic);
  if (process.env['RUNBOOK_SHOW'] !== undefined)
    appendFileSync(process.env['RUNBOOK_SHOW'], `\n--- ${where}\n${code}=== ${status}\n${output}`);
  assert.equal(status === 0, !marks.includes('fails'), `${where} ended with ${status}\n${code}\n${output}`);
  if (prints !== null) assertPrinted(output, machine.translate(prints), where);
}

const missing = lacks('openssl') || lacks('curl');

test(
  'every command of the runbook does what the runbook says',
  { skip: missing, timeout: 110_000 },
  async () => {
    await using origin = await HttpOrigin.start('http1');
    await using machine = await install(origin.port);
    const begun = new Set<string>();
    for (const commands of page.commands) {
      const { heading } = commands;
      if (!begun.has(heading)) await incidents[heading]?.(machine);
      begun.add(heading);
      await follow(machine, commands);
    }
    assert.deepEqual(
      Object.keys(incidents).filter((heading) => !begun.has(heading)),
      [],
      'every incident has its section',
    );
  },
);
