/** The store's thread: takes one request after the other, works it off, answers. Nothing here is shared. */
import { parentPort } from 'node:worker_threads';
import { assert } from '../core/errors.ts';
import { snapshotOffline } from './backup.ts';
import { StoreError, toStoreError } from './errors.ts';
import { type CallKind, type Calls, monotonicMs, type Reply, type Request } from './messages.ts';
import { StoreDatabase } from './store-database.ts';

assert(parentPort !== null, 'the thread of the store was started as a program');
const port = parentPort;
let database: StoreDatabase | null = null;
let path = '';

port.on('message', (request: Request) => {
  port.postMessage(answer(request));
  // Nothing keeps the thread now: it ends.
  if (request.kind === 'close') port.close();
});

function answer(request: Request): Reply {
  const { id } = request;
  try {
    if (monotonicMs() > request.startByMs) {
      throw new StoreError('busy', `the database ${path} is too slow or too busy; try again`);
    }
    return { id, kind: 'done', output: carryOut(request) };
  } catch (error) {
    const { code, message } = toStoreError(error, path);
    return { id, kind: 'failed', code, message };
  }
}

function carryOut(request: Request): Calls[CallKind]['out'] {
  switch (request.kind) {
    case 'open':
      path = request.input.path;
      database = StoreDatabase.open(path, request.input.limits);
      return { path: database.path, isReadOnly: database.isReadOnly };
    case 'load':
      return opened().load();
    case 'seed':
      return opened().seed(request.input.traffic, request.input.entry);
    case 'commit':
      return opened().commit(request.input.baseVersion, request.input.changes, request.input.entry);
    case 'audit':
      return opened().audit(request.input.limit);
    case 'close':
      database?.close();
      database = null;
      return null;
    case 'snapshot':
      path = request.input.path;
      return snapshotOffline(path, request.input.target);
  }
}

function opened(): StoreDatabase {
  assert(database !== null, 'the database is not open');
  return database;
}
