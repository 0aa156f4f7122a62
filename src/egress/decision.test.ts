import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { canonicalHost, TargetRefusal } from './target.ts';
import { credentialsFor, decide, type Subject, type Verdict } from './decision.ts';
import { compilePolicy } from './policy.ts';
import { egressSettings, type WrittenSettings } from './testing/settings.ts';

/** `CONNECT host`, `GET http://host/path`, or `GET /path @ host` inside a tunnel. */
function subject(text: string, client: string | null = null): Subject {
  const connect = /^CONNECT ([^:]+):?(\d*)$/.exec(text);
  const plain = /^(\w+) http:\/\/([^/:]+):?(\d*)(\/.*)$/.exec(text);
  const inner = /^(\w+) (\/\S*) @ (\S+)$/.exec(text);
  const [host, port, kind, method, path] = connect
    ? ([connect[1], connect[2] || '443', 'tunnel', null, null] as const)
    : plain
      ? ([plain[2], plain[3] || '80', 'request', plain[1]!, plain[4]!] as const)
      : ([inner![3], '443', 'inner', inner![1]!, inner![2]!] as const);
  const canonical = canonicalHost(host!);
  assert(!(canonical instanceof TargetRefusal));
  return { host: canonical.host, port: Number(port), kind, method, path, client };
}

function judge(settings: WrittenSettings, text: string, client: string | null = null): Verdict {
  return decide(compilePolicy(egressSettings(settings)), subject(text, client));
}

function told(settings: WrittenSettings, text: string, client: string | null = null): string {
  const { action, isAllowed, ruleId } = judge(settings, text, client);
  return `${action} ${isAllowed ? 'yes' : 'no'} ${ruleId}`;
}

describe('the order of the decision', () => {
  const everything: WrittenSettings = {
    whitelist: ['a.test', 'white.test'],
    blacklist: ['a.test', 'black.test', 'rewritten-black.test', 'pass-black.test'],
    passthrough: ['pass.test', 'pass-black.test'],
    rewrites: [
      { pattern: 'a.test' },
      { pattern: 'rewritten-black.test' },
      { pattern: 'new.test', targetIp: '10.0.0.1' },
    ],
  };

  it('puts the blacklist before passthrough, rewrite and whitelist: a rewrite once won over it', () => {
    assert.equal(told(everything, 'CONNECT a.test'), 'BLACK-LISTED no blacklist/-/a.test');
    assert.equal(
      told(everything, 'CONNECT rewritten-black.test'),
      'BLACK-LISTED no blacklist/-/rewritten-black.test',
    );
    assert.equal(told(everything, 'CONNECT pass-black.test'), 'BLACK-LISTED no blacklist/-/pass-black.test');
  });

  it('then passthrough, rewrite, whitelist, default', () => {
    assert.equal(told(everything, 'CONNECT pass.test'), 'PASSTHROUGH yes passthrough/-/pass.test');
    assert.equal(told(everything, 'CONNECT new.test'), 'REWRITTEN yes rewrite/-/new.test');
    assert.equal(told(everything, 'CONNECT white.test'), 'WHITE-LISTED yes whitelist/-/white.test');
    assert.equal(told(everything, 'CONNECT other.test'), 'BLOCKED no default-policy/-/BLOCK');
    assert.equal(
      told({ defaultPolicy: 'ALLOW' }, 'CONNECT other.test'),
      'ALLOWED-BY-DEFAULT yes default-policy/-/ALLOW',
    );
  });

  it('takes the first rewrite in file order, whatever kind its pattern is', () => {
    const rewrites = [
      { pattern: '~^api', targetIp: '10.0.0.1' },
      { pattern: 'api.test', targetIp: '10.0.0.2' },
      { pattern: '*.test', targetIp: '10.0.0.3' },
    ];
    assert.equal(judge({ rewrites }, 'CONNECT api.test').rewrite?.settings.targetIp, '10.0.0.1');
    assert.equal(
      judge({ rewrites: rewrites.toReversed() }, 'CONNECT api.test').rewrite?.settings.targetIp,
      '10.0.0.3',
    );
    assert.equal(judge({ rewrites }, 'CONNECT www.test').rewrite?.settings.targetIp, '10.0.0.3');
  });

  it('dials a rewritten address for what passes through', () => {
    const verdict = judge(
      { passthrough: ['v.test'], rewrites: [{ pattern: 'v.test', targetIp: '10.0.0.1' }] },
      'CONNECT v.test',
    );
    assert.equal(verdict.action, 'PASSTHROUGH');
    assert.equal(verdict.rewrite?.settings.targetIp, '10.0.0.1');
    assert(verdict.isPassthrough);
  });
});

describe('patterns', () => {
  it('no uppercase letter and no trailing dot goes around the blacklist', () => {
    const settings: WrittenSettings = {
      defaultPolicy: 'ALLOW',
      blacklist: ['evil.test', '*.evil.test', '~^.*EVIL2\\.test$'],
    };
    for (const host of ['evil.test', 'EVIL.test', 'evil.test.', 'www.Evil.Test.', 'wwwevil2.TEST.']) {
      assert.equal(judge(settings, `CONNECT ${host}`).isAllowed, false, host);
    }
    assert.equal(judge(settings, 'CONNECT notevil.test').isAllowed, true);
  });

  it('a wildcard is any depth below a name, never the name', () => {
    const settings: WrittenSettings = { whitelist: ['*.example.test'] };
    assert(judge(settings, 'CONNECT a.b.example.test').isAllowed);
    assert(!judge(settings, 'CONNECT example.test').isAllowed);
    assert(!judge(settings, 'CONNECT badexample.test').isAllowed);
  });

  it('common shapes of expressions say what the expression says', () => {
    for (const source of ['^.*\\.g\\.test$', '^(?:.*\\.)?g\\.test$', '^g\\.test$', '^.+\\.g\\.test$']) {
      for (const host of ['g.test', 'a.g.test', 'a.b.g.test', 'ag.test', 'gxtest']) {
        const expected = new RegExp(source).test(host);
        assert.equal(
          judge({ whitelist: [`~${source}`] }, `CONNECT ${host}`).isAllowed,
          expected,
          `${source} ${host}`,
        );
      }
    }
  });

  it('decides among 10,000 entries as quickly as among ten', () => {
    const names = Array.from({ length: 10_000 }, (_, index) => `host-${index}.example${index % 97}.test`);
    const rules = names.map((name, index) => (index % 2 === 0 ? name : `*.${name}`));
    const policy = compilePolicy(
      egressSettings({ whitelist: rules, rewrites: rules.map((pattern) => ({ pattern })) }),
    );
    const startMs = performance.now();
    let allowed = 0;
    for (const [index, name] of names.entries()) {
      const host = index % 2 === 0 ? name : `a.${name}`;
      if (decide(policy, { ...subject('CONNECT x.test'), host }).isAllowed) allowed++;
    }
    assert.equal(allowed, 10_000);
    // Each is asked for the first time, so nothing is remembered; the bound is a hundred times the target.
    assert((performance.now() - startMs) / names.length < 0.5);
  });
});

describe('methods and paths', () => {
  const settings: WrittenSettings = {
    whitelist: [{ pattern: 'api.test', methods: ['GET', 'HEAD'], pathPattern: '^/v1/' }],
    blacklist: [{ pattern: 'api.test', pathPattern: '^/v1/admin' }],
  };

  it('wait for the requests inside the tunnel', () => {
    assert.equal(told(settings, 'CONNECT api.test'), 'WHITE-LISTED yes whitelist/-/api.test GET,HEAD ^/v1/');
    assert(judge(settings, 'GET /v1/x @ api.test').isAllowed);
    assert(!judge(settings, 'POST /v1/x @ api.test').isAllowed);
    assert(!judge(settings, 'GET /v2/x @ api.test').isAllowed);
    assert.equal(
      told(settings, 'GET /v1/admin @ api.test'),
      'BLACK-LISTED no blacklist/-/api.test ^/v1/admin',
    );
  });

  for (const path of [
    '/v1/%61dmin',
    '/v1//admin',
    '/v1/./admin',
    '/v1/x/../admin',
    '//v1/admin',
    '/v1\\admin',
    '/v1/%2e/admin',
  ]) {
    it(`are not walked around by ${path}`, () =>
      assert(!judge(settings, `GET ${path} @ api.test`).isAllowed));
  }

  it('an allowed path does not lead out of itself', () => {
    assert(!judge(settings, 'GET /v1/../v2 @ api.test').isAllowed);
    assert(!judge(settings, 'GET /v1/%2e%2e/v2 @ api.test').isAllowed);
    assert(judge(settings, 'GET /v1/x?next=/v2/../.. @ api.test').isAllowed);
  });

  it('refuse a passthrough, whose requests nobody would judge', () => {
    const both: WrittenSettings = {
      passthrough: ['api.test'],
      blacklist: [{ pattern: 'api.test', methods: ['DELETE'] }],
    };
    assert.equal(told(both, 'CONNECT api.test'), 'BLACK-LISTED no blacklist/-/api.test DELETE');
  });
});

describe('clients', () => {
  it('have rules of their own', () => {
    const settings: WrittenSettings = { whitelist: [{ pattern: 'ci.test', clients: ['builder'] }] };
    assert(judge(settings, 'CONNECT ci.test', 'builder').isAllowed);
    assert(!judge(settings, 'CONNECT ci.test', 'agent').isAllowed);
    assert(!judge(settings, 'CONNECT ci.test').isAllowed);
  });
});

describe('report mode', () => {
  it('of a rule tells what it would have done', () => {
    const settings: WrittenSettings = {
      defaultPolicy: 'ALLOW',
      blacklist: [{ pattern: 'a.test', mode: 'report' }],
    };
    const verdict = judge(settings, 'CONNECT a.test');
    assert(verdict.isAllowed);
    assert.deepEqual(verdict.reports, [{ action: 'BLACK-LISTED', ruleId: 'blacklist/-/a.test' }]);
  });

  it('of everything refuses nothing', () => {
    const verdict = judge({ mode: 'report', blacklist: ['a.test'] }, 'CONNECT a.test');
    assert.equal(verdict.action, 'ALLOWED-BY-DEFAULT');
    assert.deepEqual(verdict.reports, [{ action: 'BLACK-LISTED', ruleId: 'blacklist/-/a.test' }]);
  });
});

describe('ports', () => {
  const settings: WrittenSettings = {
    defaultPolicy: 'ALLOW',
    whitelist: [{ pattern: 'git.test', ports: [22, 8443] }],
  };

  it('a tunnel goes to 443 only, unless a rule adds others', () => {
    assert.equal(told(settings, 'CONNECT any.test:8443'), 'BLOCKED no connect-ports/-/-');
    assert(judge(settings, 'CONNECT git.test:8443').isAllowed);
    assert(judge(settings, 'CONNECT any.test:443').isAllowed);
  });

  it('a plain request never reaches a mail server', () => {
    for (const port of [22, 25, 110, 587]) assert(!judge(settings, `GET http://any.test:${port}/`).isAllowed);
    for (const port of [80, 443, 8080]) assert(judge(settings, `GET http://any.test:${port}/`).isAllowed);
  });
});

describe('credentials', () => {
  it('are for their host, path and client alone', () => {
    const credential = {
      pattern: 'api.test',
      pathPattern: '^/v1/',
      clients: [],
      header: 'authorization',
      prefix: 'Bearer ',
      secret: 'env:T',
    };
    const policy = compilePolicy(egressSettings({ credentials: [credential] }));
    assert.equal(credentialsFor(policy, subject('GET /v1/x @ api.test')).length, 1);
    assert.equal(credentialsFor(policy, subject('GET /v1/../v2 @ api.test')).length, 0);
    assert.equal(credentialsFor(policy, subject('GET /v1/x @ www.test')).length, 0);
  });
});
