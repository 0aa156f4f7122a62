import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { ControlError, RouteInput } from '../admin/control.ts';
import { makeCertificate } from '../config/testing/certificates.ts';
import { routesPerHostnameMax } from '../model/route-conflict.ts';
import { listenerDefaults } from '../model/settings.ts';
import type { ListenerSettings, TrafficSettings } from '../model/settings.ts';
import { describeChanges } from './change-lines.ts';
import {
  planAddPolicy,
  planAddRoute,
  planRemovePolicy,
  planRemoveRoute,
  planUpdateRoute,
  type RoutePlan,
} from './route-plans.ts';
import { TrafficState } from './traffic-state.ts';

const directory = mkdtempSync(join(tmpdir(), 'portcullis-plans-'));
after(() => rmSync(directory, { recursive: true }));
const pair = makeCertificate(directory, 'a');
const other = makeCertificate(directory, 'b');

const hostname = 'app.example.com';
const backend = '10.0.0.1:8080';
const l7: RouteInput = { hostname, backend, mode: 'l7', tlsCert: pair.cert, tlsKey: pair.key };
const plain: RouteInput = { hostname, backend, mode: 'l7' };

class Listener {
  readonly state: TrafficState;
  readonly #name = ':443';

  constructor(changed: Partial<ListenerSettings> = {}) {
    const settings = { ...listenerDefaults, name: ':443', address: { host: '', port: 443 }, routes: [] };
    const firewall = {
      geoipDatabase: null,
      blockedIps: [],
      blockedCidrs: [],
      blockedCountries: [],
      rateLimitExempt: [],
      rateLimit: null,
    };
    const traffic: TrafficSettings = { listeners: [{ ...settings, ...changed }], firewall, egress: null };
    this.state = new TrafficState(traffic);
  }

  /** Carries the plan out, and answers the lines of the audit log. */
  apply(plan: RoutePlan): string[] {
    const changes = plan(this.state, this.state.listener(this.#name)!);
    const lines = describeChanges(this.state, changes);
    this.state.apply(changes);
    return lines;
  }

  get routes(): readonly string[] {
    return this.state.listenerSettings(this.#name).routes.map((each) => each.hostname + each.pathPrefix);
  }
}

/** Code, field and text. */
function refusal(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    const { code, field, message } = error as ControlError;
    return `${code} ${field}: ${message}`;
  }
  return 'accepted';
}

test('routes of one hostname are added, found in any spelling, and removed by their path', () => {
  const listener = new Listener();
  listener.apply(planAddRoute(l7));
  listener.apply(planAddRoute({ ...l7, pathPrefix: '/api/' }));
  assert.deepEqual(listener.routes, [hostname, `${hostname}/api`]);
  assert.match(
    refusal(() => listener.apply(planAddRoute({ ...l7, pathPrefix: '/api' }))),
    /^already-exists route\.hostname: route\/:443\/app\.example\.com\/api exists already/,
  );
  assert.match(
    refusal(() => listener.apply(planRemoveRoute({ hostname, pathPrefix: '/ap' }))),
    /^not-found path_prefix: .*no route for app\.example\.com\/ap; it has \/, \/api/,
  );
  const lines = listener.apply(planRemoveRoute({ hostname: 'APP.example.com.', pathPrefix: '/api/' }));
  assert.match(
    lines[0]!,
    /^- route\/:443\/app\.example\.com\/api \(l7 10\.0\.0\.1:8080, backend_protocol h2c/,
  );
  listener.apply(planRemoveRoute({ hostname }));
  assert.deepEqual(listener.routes, []);
});

test('a route of mode l4 has its hostname alone, whichever came first', () => {
  const l4 = { hostname, backend };
  const listener = new Listener();
  listener.apply(planAddRoute(l4));
  const text =
    'invalid-argument route.mode: a hostname with a route of mode l4 has no other route, and there is route/:443/app.example.com';
  assert.equal(
    refusal(() => listener.apply(planAddRoute({ ...l7, pathPrefix: '/api' }))),
    text,
  );
  listener.apply(planUpdateRoute(l7));
  listener.apply(planAddRoute({ ...l7, pathPrefix: '/api' }));
  assert.equal(
    refusal(() => listener.apply(planUpdateRoute(l4))),
    `${text}/api`,
  );
});

test('TLS is ended one way for a hostname: adding otherwise is refused, updating changes every route', () => {
  const listener = new Listener();
  listener.apply(planAddRoute(l7));
  listener.apply(planAddRoute({ ...l7, pathPrefix: '/api', forwarded: true }));
  const renewed = { ...l7, tlsCert: other.cert, tlsKey: other.key };
  assert.match(
    refusal(() => listener.apply(planAddRoute({ ...renewed, pathPrefix: '/b' }))),
    /^invalid-argument route\.tls_cert: routes of one hostname end TLS the same way/,
  );
  assert.equal(listener.apply(planUpdateRoute(renewed)).length, 2);
  const routes = listener.state.routesOf(':443', hostname);
  assert.deepEqual(
    routes.map(({ pathPrefix, tls, forwarded }) => [pathPrefix, tls?.cert, forwarded]),
    [
      ['', other.cert, false],
      ['/api', other.cert, true],
    ],
  );
});

test('what a listener speaks decides what its routes need', () => {
  const tls = new Listener();
  assert.match(
    refusal(() => tls.apply(planAddRoute(plain))),
    /^invalid-argument route\.tls_cert: a route of mode l7 needs tls_cert and tls_key: listener :443 has protocol tls/,
  );
  const http = new Listener({ protocol: 'http' });
  http.apply(planAddRoute(plain));
  assert.match(
    refusal(() => http.apply(planAddRoute({ hostname: 'b.example', backend }))),
    /^invalid-argument route\.mode: a route of mode l4 relays TLS, and there is none/,
  );
  assert.match(
    refusal(() => http.apply(planAddRoute({ ...l7, hostname: 'b.example' }))),
    /^invalid-argument route\.tls_cert: there is no TLS to end/,
  );
});

test('a hostname takes no more routes than a request should look at', () => {
  const listener = new Listener({ protocol: 'http' });
  for (let count = 0; count < routesPerHostnameMax; count++) {
    listener.apply(planAddRoute({ ...plain, pathPrefix: `/p${count}` }));
  }
  assert.match(
    refusal(() => listener.apply(planAddRoute(plain))),
    /^failed-precondition null: there are 1024 routes of a hostname/,
  );
});

test('policies belong to the route of their path, in their canonical spelling', () => {
  const listener = new Listener();
  listener.apply(planAddRoute(l7));
  listener.apply(planAddRoute({ ...l7, pathPrefix: '/api' }));
  const named = { hostname, pathPrefix: '/api' };
  listener.apply(planAddPolicy(named, { type: 'rate_limit', value: '100/60s' }));
  assert.match(
    refusal(() => listener.apply(planAddPolicy(named, { type: 'rate_limit', value: '100/1m' }))),
    /^already-exists policy/,
  );
  assert.match(
    refusal(() => listener.apply(planAddPolicy(named, { type: 'max_body', value: '10' }))),
    /^invalid-argument policy\.value: expected a size .* \(did you mean "10B"\?\)/,
  );
  assert.deepEqual(
    listener.state.routesOf(':443', hostname).map(({ policies }) => policies.map(({ value }) => value)),
    [[], ['100/1m']],
  );
  listener.apply(planRemovePolicy(named, { type: 'rate_limit', value: '100 / 1m' }));
  assert.deepEqual(listener.state.route(':443', hostname, '/api')?.policies, []);
});

test('the audit log names headers, never their values', () => {
  const listener = new Listener();
  const set = [{ name: 'Authorization', value: 'Bearer secret' }];
  const [line] = listener.apply(planAddRoute({ ...l7, requestHeaders: { remove: ['x-a'], set, add: [] } }));
  assert.match(line!, /request_headers -x-a =authorization/);
  assert.doesNotMatch(line!, /secret/);
});
