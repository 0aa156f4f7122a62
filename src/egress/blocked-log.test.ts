import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, it } from 'node:test';
import { BlockedLog } from './blocked-log.ts';
import { decide } from './decision.ts';
import { compilePolicy } from './policy.ts';
import type { Judgement } from './services.ts';
import { egressSettings, type WrittenSettings } from './testing/settings.ts';

const folder = mkdtempSync(join(tmpdir(), 'portcullis-blocked-'));
after(() => rmSync(folder, { recursive: true }));

function judgement(settings: WrittenSettings, path = '/'): Judgement {
  const subject = { host: 'a.test', port: 80, kind: 'request', method: 'GET', path, client: null } as const;
  const verdict = decide(compilePolicy(egressSettings(settings)), subject);
  const told = { id: 'r-1', client: '192.0.2.1', clientName: null, listener: ':8080', method: 'GET' };
  return { ...told, host: subject.host, port: subject.port, path, verdict };
}

function lines(path: string): Record<string, unknown>[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

it('tells what was refused and what would have been, and goes on in a new file when the old was moved away', () => {
  const path = join(folder, 'blocked.json');
  const log = new BlockedLog(path, () => 0);
  log.write(judgement({}, '/a\n"b'));
  log.write(judgement({ whitelist: ['a.test'] }));
  log.write(judgement({ defaultPolicy: 'ALLOW', blacklist: [{ pattern: 'a.test', mode: 'report' }] }));
  log.flush();
  renameSync(path, `${path}.1`);
  log.reopen();
  log.write(judgement({ blacklist: ['a.test'] }));
  log.close();
  const [first, second] = lines(`${path}.1`);
  assert.deepEqual(
    [first!['action'], first!['rule'], first!['path'], first!['time']],
    ['BLOCKED', 'default-policy/-/BLOCK', '/a\n"b', '1970-01-01T00:00:00.000Z'],
  );
  assert.deepEqual(second!['would'], [{ action: 'BLACK-LISTED', rule: 'blacklist/-/a.test' }]);
  assert.equal(lines(path)[0]!['action'], 'BLACK-LISTED');
});

it('drops and counts what a full disk or a flood leaves no room for', () => {
  const log = new BlockedLog(join(folder, 'flood.json'));
  for (let count = 0; count < 10_050; count++) log.write(judgement({}));
  assert.equal(log.dropped, 50);
  log.close();
  const full = new BlockedLog('/dev/full');
  full.write(judgement({}));
  full.flush();
  assert.equal(full.dropped, 1);
  full.close();
});
