/**
 * A DNS server for tests: UDP on a loopback port, answers A and AAAA from a zone that the test changes at will.
 * Just enough of RFC 1035 for a stub resolver: one question, answers with one TTL, no truncation.
 */

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { parseIp, writeIp } from '../../src/core/ip.ts';

export interface DnsRecords {
  readonly a?: readonly string[];
  readonly aaaa?: readonly string[];
  readonly ttlS?: number;
}

/** A name that is not in the zone does not exist. `silence` swallows the question. */
export type DnsBehaviour = DnsRecords | 'servfail' | 'silence';

export class DnsServer {
  /** Name in lower case → what happens when it is asked for. */
  readonly zone = new Map<string, DnsBehaviour>();
  /** Every question in order of arrival: `A app.example.com`. */
  readonly questions: string[] = [];
  /** Question types that are never answered, whatever the name. */
  readonly ignoredTypes = new Set<string>();
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (query, peer) => this.#answer(query, peer));
  }

  static async start(): Promise<DnsServer> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new DnsServer(socket);
  }

  /** As `dns.setServers` takes it. */
  get address(): string {
    return `127.0.0.1:${(this.#socket.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#socket.close();
  }

  #answer(query: Buffer, peer: RemoteInfo): void {
    const { name, type, end } = readQuestion(query);
    this.questions.push(`${type} ${name}`);
    const behaviour = this.zone.get(name);
    if (behaviour === 'silence' || this.ignoredTypes.has(type)) return;
    const header = Buffer.alloc(headerBytes);
    query.copy(header, 0, 0, 2);
    const records = typeof behaviour === 'object' ? encodeRecords(behaviour, type) : [];
    header.writeUInt16BE(
      0x8180 | (behaviour === undefined ? nxdomain : behaviour === 'servfail' ? servfail : 0),
      2,
    );
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(records.length, 6);
    const reply = Buffer.concat([header, query.subarray(headerBytes, end), ...records]);
    this.#socket.send(reply, peer.port, peer.address);
  }
}

const headerBytes = 12;
const servfail = 2;
const nxdomain = 3;
const typeNames: Readonly<Record<number, string>> = { 1: 'A', 28: 'AAAA' };

function readQuestion(query: Buffer): { name: string; type: string; end: number } {
  const labels: string[] = [];
  let at = headerBytes;
  for (let length = query[at++]!; length > 0; length = query[at++]!) {
    labels.push(query.toString('latin1', at, at + length).toLowerCase());
    at += length;
  }
  return { name: labels.join('.'), type: typeNames[query.readUInt16BE(at)] ?? 'other', end: at + 4 };
}

function encodeRecords({ a = [], aaaa = [], ttlS = 60 }: DnsRecords, type: string): Buffer[] {
  const addresses = type === 'A' ? a : type === 'AAAA' ? aaaa : [];
  return addresses.map((address) => {
    const data = Buffer.alloc(16);
    const length = writeIp(parseIp(address)!, data, 0);
    const head = Buffer.alloc(12);
    head.writeUInt16BE(0xc00c, 0); // the question's name
    head.writeUInt16BE(type === 'A' ? 1 : 28, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt32BE(ttlS, 6);
    head.writeUInt16BE(length, 10);
    return Buffer.concat([head, data.subarray(0, length)]);
  });
}
