/** gRPC server reflection from the descriptors of the generated code, so that grpcurl needs no proto file. */

import { toBinary } from '@bufbuild/protobuf';
import type { DescEnum, DescFile, DescMessage, DescService } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import type * as v1 from './gen/grpc/reflection/v1/reflection_pb.ts';
import type * as v1alpha from './gen/grpc/reflection/v1alpha/reflection_pb.ts';

/** The two versions differ in nothing but their package. */
interface ReflectionRequest {
  readonly host: string;
  readonly messageRequest:
    v1.ServerReflectionRequest['messageRequest'] | v1alpha.ServerReflectionRequest['messageRequest'];
}

type Answer =
  | { case: 'fileDescriptorResponse'; value: { fileDescriptorProto: Uint8Array[] } }
  | { case: 'allExtensionNumbersResponse'; value: { baseTypeName: string } }
  | { case: 'listServicesResponse'; value: { service: { name: string }[] } }
  | { case: 'errorResponse'; value: { errorCode: number; errorMessage: string } };

interface ReflectionResponse<Request> {
  validHost: string;
  originalRequest: Request;
  messageResponse: Answer;
}

export class Reflection {
  readonly #serviceNames: readonly string[];
  readonly #fileByName = new Map<string, DescFile>();
  readonly #fileBySymbol = new Map<string, DescFile>();
  readonly #messageNames = new Set<string>();

  /** Tells of the services, of the files they stand in, and of `files`, whose messages travel in error details. */
  constructor(services: readonly DescService[], files: readonly DescFile[]) {
    this.#serviceNames = services.map((service) => service.typeName).toSorted();
    for (const file of [...services.map((service) => service.file), ...files]) this.#addFile(file);
  }

  /** Implements ServerReflectionInfo: one answer for each request, in order. */
  async *info<Request extends ReflectionRequest>(
    requests: AsyncIterable<Request>,
  ): AsyncGenerator<ReflectionResponse<Request>, void, undefined> {
    for await (const request of requests)
      yield {
        validHost: request.host,
        originalRequest: request,
        messageResponse: this.#answer(request.messageRequest),
      };
  }

  #answer(request: ReflectionRequest['messageRequest']): Answer {
    switch (request.case) {
      case 'listServices':
        return {
          case: 'listServicesResponse',
          value: { service: this.#serviceNames.map((name) => ({ name })) },
        };
      case 'fileByFilename':
        return fileAnswer(this.#fileByName.get(request.value), `file ${request.value}`);
      case 'fileContainingSymbol':
        return fileAnswer(this.#fileBySymbol.get(request.value), `symbol ${request.value}`);
      case 'fileContainingExtension':
        return fileAnswer(undefined, `extension of ${request.value.containingType}`);
      case 'allExtensionNumbersOfType':
        return this.#messageNames.has(request.value)
          ? { case: 'allExtensionNumbersResponse', value: { baseTypeName: request.value } }
          : notFound(`message ${request.value}`);
      case undefined:
        return errorAnswer(Code.InvalidArgument, 'the request asks for nothing');
    }
  }

  #addFile(file: DescFile): void {
    if (this.#fileByName.has(file.proto.name)) return;
    this.#fileByName.set(file.proto.name, file);
    for (const dependency of file.dependencies) this.#addFile(dependency);
    for (const message of file.messages) this.#addMessage(message);
    for (const each of file.enums) this.#addEnum(each);
    for (const service of file.services) {
      this.#addSymbols(file, service.typeName, service.methods);
    }
  }

  #addMessage(message: DescMessage): void {
    this.#messageNames.add(message.typeName);
    this.#addSymbols(message.file, message.typeName, [...message.fields, ...message.oneofs]);
    for (const nested of message.nestedMessages) this.#addMessage(nested);
    for (const nested of message.nestedEnums) this.#addEnum(nested);
  }

  /** Values stand beside their enum, not in it. */
  #addEnum(each: DescEnum): void {
    this.#fileBySymbol.set(each.typeName, each.file);
    const scope = each.typeName.slice(0, each.typeName.lastIndexOf('.'));
    for (const value of each.values) this.#fileBySymbol.set(`${scope}.${value.name}`, each.file);
  }

  #addSymbols(file: DescFile, typeName: string, members: readonly { readonly name: string }[]): void {
    this.#fileBySymbol.set(typeName, file);
    for (const { name } of members) this.#fileBySymbol.set(`${typeName}.${name}`, file);
  }
}

/** The file and everything it imports, each once: a client needs no second question. */
function fileAnswer(file: DescFile | undefined, what: string): Answer {
  if (file === undefined) return notFound(what);
  const files = new Set<DescFile>();
  collect(file, files);
  const encoded = [...files].map((each) => toBinary(FileDescriptorProtoSchema, each.proto));
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto: encoded } };
}

function collect(file: DescFile, into: Set<DescFile>): void {
  if (into.has(file)) return;
  into.add(file);
  for (const dependency of file.dependencies) collect(dependency, into);
}

function notFound(what: string): Answer {
  return errorAnswer(Code.NotFound, `there is no ${what}`);
}

function errorAnswer(errorCode: number, errorMessage: string): Answer {
  return { case: 'errorResponse', value: { errorCode, errorMessage } };
}
