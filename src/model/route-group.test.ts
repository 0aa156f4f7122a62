import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { groupRoutes, matchPath, withoutRoute, withRoute, type RouteGroup } from './route-group.ts';
import { prepareRoute } from './route.ts';
import { routeDefaults } from './settings.ts';
import type { RouteSettings } from './settings.ts';

const tls = {
  cert: '/a.pem',
  key: '/a.key',
  clientCa: null,
  clientAuth: 'none',
  minVersion: '1.2',
} as const;

function routeOf(pathPrefix: string): RouteSettings {
  const backend = { kind: 'tcp', host: '10.0.0.1', port: 1 } as const;
  return { ...routeDefaults, mode: 'l7', tls, hostname: 'a.example', pathPrefix, backend };
}

function groupOf(...prefixes: string[]): RouteGroup {
  return groupRoutes(':443', prefixes.map(routeOf))[0]![1];
}

const chosen = (group: RouteGroup, path: string): string | undefined => matchPath(group, path)?.pathPrefix;

describe('the routes of a hostname', () => {
  test('the longest prefix takes a path', () => {
    const group = groupOf('', '/api', '/api/v2', '/static');
    assert.equal(chosen(group, '/'), '');
    assert.equal(chosen(group, '/apix'), '');
    assert.equal(chosen(group, '/api'), '/api');
    assert.equal(chosen(group, '/api/v1?x=/api/v2'), '/api');
    assert.equal(chosen(group, '/api/v2?q'), '/api/v2');
    assert.equal(chosen(group, '/api/v20'), '/api');
    assert.equal(chosen(group, '*'), '');
    assert.equal(chosen(groupOf('/api'), '/'), undefined);
    assert.equal(chosen(groupOf('/api'), '*'), undefined);
  });

  test('no spelling of a path slips past a prefix', () => {
    const group = groupOf('', '/admin');
    for (const path of [
      '/admin',
      '//admin',
      '/./admin',
      '/x/../admin',
      '/x/%2e%2e/admin',
      '/x/.%2E/admin/y',
      '/%61dmin',
      '/%41/../admin',
      '/x/y/../../admin?z',
      '/../admin',
    ]) {
      assert.equal(chosen(group, path), '/admin', path);
    }
    assert.equal(chosen(group, '/admin/../x'), '');
  });

  test('a path that servers read in two ways takes no route, unless both ways are the same route', () => {
    const group = groupOf('', '/admin');
    for (const path of [
      '/x%2F..%2Fadmin',
      '/%2Fadmin',
      '/x\\..\\admin',
      '/x/..;/admin',
      '/admin;v=1',
      '/admin%2Fx',
      '/admin%00.png',
      '/admin#x',
      '/admin/..%2fx',
    ]) {
      assert.equal(chosen(group, path), undefined, path);
    }
    for (const path of ['/files/a%2Fb', '/x;v=1', '/x\\y']) assert.equal(chosen(group, path), '', path);
    assert.equal(chosen(group, '/admin/x;v=1'), '/admin');
  });

  test('a hostname with one route for every path asks no more', () => {
    for (const path of ['/x%2F..%2Fadmin', '*', '', '/']) assert.equal(chosen(groupOf(''), path), '');
  });

  test('a path has the route that the slowest way of choosing gives it', () => {
    const part = fc.constantFrom('a', 'b', '/', '/a', '/b', '.', '..', '%61', '%2e', '//');
    const path = fc.array(part, { maxLength: 8 }).map((parts) => `/${parts.join('')}`);
    const prefixes = fc.subarray(['', '/a', '/a/b', '/b', '/ab'], { minLength: 1 });
    fc.assert(
      fc.property(path, prefixes, (asked, present) => {
        const clean = new URL(`http://h${asked.replaceAll('%61', 'a').replace(/\/+/g, '/')}`).pathname;
        const fits = present.filter((prefix) => clean === prefix || clean.startsWith(`${prefix}/`));
        const expected = fits.sort((a, b) => b.length - a.length)[0];
        assert.equal(chosen(groupOf(...present), asked), expected);
      }),
    );
  });

  test('come and go one by one, and the order they came in does not matter', () => {
    const prepared = (prefix: string): ReturnType<typeof prepareRoute> =>
      prepareRoute(':443', routeOf(prefix));
    const all = ['', '/a', '/b', '/a/b'];
    fc.assert(
      fc.property(fc.shuffledSubarray(all, { minLength: 1 }), (order) => {
        let group: RouteGroup | undefined;
        for (const prefix of order) group = withRoute(group, prepared(prefix));
        assert.deepEqual(group, groupOf(...order.toSorted()));
        assert.deepEqual(withRoute(group, prepared(order[0]!)), group);
        for (const prefix of order) group = withoutRoute(group!, prefix);
        assert.equal(group, undefined);
      }),
    );
  });

  test('a host that is set is the authority of requests, and no field', () => {
    const requestHeaders = {
      remove: [],
      set: [
        ['host', 'inner:80'],
        ['x-a', '1'],
      ],
      add: [],
    } as const;
    const { authority, requestHeaders: rules } = prepareRoute(':443', { ...routeOf(''), requestHeaders });
    assert.equal(authority, 'inner:80');
    assert.deepEqual(rules, { remove: [], set: [['x-a', '1']], add: [] });
  });

  test('each has its own rule id, and so has each policy', () => {
    const policies = [{ type: 'max_body', value: '1KiB' } as const];
    const [[, group]] = groupRoutes(':443', [{ ...routeOf('/api'), policies }]) as [[string, RouteGroup]];
    assert.equal(group.routes[0].ruleId, 'route/:443/a.example/api');
    assert.deepEqual(group.routes[0].policies, [
      {
        ruleId: 'policy/:443/a.example/api/max_body/1KiB',
        rule: { type: 'max_body', bytesMax: 1024 },
      },
    ]);
    assert.deepEqual([group.mode, group.tls], ['l7', tls]);
  });
});
