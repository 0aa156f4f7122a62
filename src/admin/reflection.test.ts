import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Code, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { ServerReflection } from './gen/grpc/reflection/v1/reflection_pb.ts';
import type { ServerReflectionRequest } from './gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from './gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { Fixture, collect } from './testing/fixture.ts';

type Question = ServerReflectionRequest['messageRequest'];

async function ask(fixture: Fixture, questions: readonly Question[]): Promise<unknown[]> {
  const transport = createGrpcTransport({ baseUrl: `http://${fixture.server.address}` });
  const client = createClient(ServerReflection, transport);
  async function* requests(): AsyncGenerator<{ messageRequest: Question }> {
    for (const messageRequest of questions) yield { messageRequest };
  }
  const answers = await collect(client.serverReflectionInfo(requests()));
  return answers.map(({ messageResponse }) => messageResponse);
}

const symbol = (value: string): Question => ({ case: 'fileContainingSymbol', value });

test('lists the services, in both versions of the protocol', async () => {
  await using fixture = await Fixture.start();
  const transport = createGrpcTransport({ baseUrl: `http://${fixture.server.address}` });
  const client = createClient(ServerReflectionAlpha, transport);
  async function* requests(): AsyncGenerator<{ messageRequest: { case: 'listServices'; value: string } }> {
    yield { messageRequest: { case: 'listServices', value: '' } };
  }
  const [alpha] = await collect(client.serverReflectionInfo(requests()));
  const [stable] = (await ask(fixture, [{ case: 'listServices', value: '' }])) as [typeof alpha];
  const names = [
    'grpc.health.v1.Health',
    'grpc.reflection.v1.ServerReflection',
    'grpc.reflection.v1alpha.ServerReflection',
    'mc_proxy.v1.ProxyAdminService',
    'portcullis.v1.ProxyAdminService',
  ];
  for (const answer of [alpha?.messageResponse, stable]) {
    const { service } = (answer as unknown as { value: { service: { name: string }[] } }).value;
    assert.deepEqual(
      service.map(({ name }) => name),
      names,
    );
  }
});

test('finds the file of every kind of symbol, with all it imports', async () => {
  await using fixture = await Fixture.start();
  const symbols = [
    'portcullis.v1.ProxyAdminService',
    'portcullis.v1.ProxyAdminService.AddRoute',
    'portcullis.v1.Route.hostname',
    'portcullis.v1.WatchEventsResponse.event',
    'portcullis.v1.FirewallRuleType',
    'portcullis.v1.FIREWALL_RULE_TYPE_IP',
    'grpc.health.v1.HealthCheckResponse.ServingStatus',
    'google.rpc.BadRequest.FieldViolation',
  ];
  const answers = await ask(fixture, [
    ...symbols.map(symbol),
    { case: 'fileByFilename', value: 'google/protobuf/timestamp.proto' },
  ]);
  for (const [index, answer] of answers.entries()) {
    const { value } = answer as { value: { fileDescriptorProto?: Uint8Array[] } };
    assert.ok(value.fileDescriptorProto, `no file for ${symbols[index]}`);
    const file = value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
    // Throws when an import is missing.
    const set = { $typeName: FileDescriptorSetSchema.typeName, file: file.toReversed() };
    createFileRegistry(set);
  }
});

test('answers what it does not know with an error, and goes on', async () => {
  await using fixture = await Fixture.start();
  const answers = (await ask(fixture, [
    symbol('portcullis.v1.Nothing'),
    { case: 'fileByFilename', value: '../secret' },
    { case: undefined },
    { case: 'allExtensionNumbersOfType', value: 'portcullis.v1.Route' },
  ])) as { case: string; value: { errorCode?: number; baseTypeName?: string } }[];
  assert.deepEqual(
    answers.map(({ value }) => value.errorCode ?? value.baseTypeName),
    [Code.NotFound, Code.NotFound, Code.InvalidArgument, 'portcullis.v1.Route'],
  );
});
