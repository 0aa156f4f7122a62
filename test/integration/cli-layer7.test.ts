/** Routes of layer 7 on the command line: every flag, by path, listed, explained, exported and applied. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { makeCertificate } from '../../src/config/testing/certificates.ts';
import { Operator } from '../support/operator.ts';

const config = `
[server]
workers = 1
shutdown_timeout = "1s"
[database]
path = "portcullis.db"
[admin]
grpc_addr = "unix:admin.sock"
[[listeners]]
addr = "127.0.0.1:0"
routes = [{ hostname = "old.example.com", backend = "127.0.0.1:9" }]
`;

describe('routes of layer 7 on the command line', () => {
  const operator = new Operator(config, { PORTCULLIS_ADMIN_GRPC_ADDR: 'unix:admin.sock' });
  const at = '--listener 127.0.0.1:0';

  before(() => operator.serve());
  after(() => operator[Symbol.asyncDispose]());

  const listed = async (): Promise<Record<string, unknown>[]> =>
    JSON.parse(await operator.run(`portcullis routes list ${at} --json`)) as Record<string, unknown>[];

  test('every setting has a flag, and an update changes what it names', async () => {
    const { cert, key } = makeCertificate(operator.directory, 'app');
    const tls = `--mode l7 --tls-cert ${cert} --tls-key ${key} --client-ca ${cert} --client-auth require --tls-min-version 1.3`;
    const added = await operator.run(
      `portcullis routes add app.example.com/api ${at} --backend 10.0.0.5:8080 ${tls} --backend-protocol http1 ` +
        `--backend-tls --backend-ca ${cert} --backend-server-name inner.example --backend-insecure --forwarded ` +
        `--set-request-header 'X-Team: a b' --add-request-header 'x-more: 1' --remove-request-header cookie ` +
        `--remove-response-header Server --policy allow_methods=GET,HEAD --policy 'rate_limit=100/60s'`,
    );
    assert.match(added, /^added route app\.example\.com\/api on 127\.0\.0\.1:0/);
    await operator.run(`portcullis routes add app.example.com ${at} --backend 10.0.0.6:8080 ${tls}`);
    const expected = {
      listenerAddr: '127.0.0.1:0',
      hostname: 'app.example.com',
      pathPrefix: '/api',
      backend: '10.0.0.5:8080',
      mode: 'l7',
      tlsCert: cert,
      tlsKey: key,
      clientCa: cert,
      clientAuth: 'require',
      tlsMinVersion: '1.3',
      backendProtocol: 'http1',
      backendTls: true,
      backendCa: cert,
      backendServerName: 'inner.example',
      backendInsecure: true,
      forwarded: true,
      sendProxyProtocol: false,
      requestHeaders: {
        remove: ['cookie'],
        set: [{ name: 'x-team', value: 'a b' }],
        add: [{ name: 'x-more', value: '1' }],
      },
      responseHeaders: { remove: ['server'], set: [], add: [] },
      l7Policies: [
        { type: 'allow_methods', value: 'GET,HEAD' },
        { type: 'rate_limit', value: '100/1m' },
      ],
    };
    assert.deepEqual((await listed())[1], expected);

    await operator.run(
      `portcullis routes update app.example.com/api ${at} --no-backend-insecure --client-auth request ` +
        `--set-request-header 'x-team: c' --no-response-headers`,
    );
    const { responseHeaders: _, ...rest } = expected;
    const [, changed, sibling] = await listed();
    assert.deepEqual(
      { responseHeaders: undefined, ...changed },
      {
        ...rest,
        responseHeaders: undefined,
        backendInsecure: false,
        clientAuth: 'request',
        requestHeaders: { ...expected.requestHeaders, set: [{ name: 'x-team', value: 'c' }] },
      },
    );
    assert.equal(sibling?.['clientAuth'], 'request', 'the hostname ends TLS one way');
  });

  test('explain follows a URL to its policies', async () => {
    const url = `portcullis explain 'app.example.com/x/../api?id=1' ${at}`;
    assert.match(
      await operator.run(url),
      /verdict: routed to 10\.0\.0\.5:8080 by route\/127\.0\.0\.1:0\/app\.example\.com\/api/,
    );
    const refused = await operator.run(`${url} --method POST`);
    assert.match(
      refused,
      /judged|refused +policy\/127\.0\.0\.1:0\/app\.example\.com\/api\/allow_methods\/GET,HEAD/,
    );
    assert.match(refused, /verdict: refused by policy\/.*, method-refused/);
  });

  test('what is exported is what is applied, and a second listener speaks plain HTTP', async () => {
    await operator.run('portcullis listeners add 127.0.0.4:0 --protocol http --trusted-proxy 10.0.0.0/8');
    await operator.run(
      'portcullis routes add app.example.com --listener 127.0.0.4:0 --backend 10.0.0.7:80 --mode l7 --backend-protocol http1',
    );
    await operator.run('portcullis policies add app.example.com/api --type max_body --value 10MiB ' + at);
    const policies = await operator.run('portcullis policies list app.example.com/api');
    assert.match(policies, /app\.example\.com\/api +max_body +10MiB/);
    await operator.run('{ head -7 portcullis.toml; portcullis config export; } > exported.toml');
    assert.match(await operator.run('portcullis config diff -c exported.toml'), /agree/);
    await operator.run('portcullis routes remove app.example.com/api ' + at);
    const diff = await operator.run('portcullis config diff -c exported.toml');
    assert.match(diff, /^\+ route\/127\.0\.0\.1:0\/app\.example\.com\/api: l7 10\.0\.0\.5:8080/);
    await operator.run('portcullis config apply -c exported.toml');
    assert.match(await operator.run('portcullis config diff -c exported.toml'), /agree/);
  });
});
