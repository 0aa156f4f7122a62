/** A program that locks the database it is given, says so on its output, and holds the lock until its input ends. */
import { DatabaseSync } from 'node:sqlite';

const db = new DatabaseSync(process.argv[2]!);
db.exec('BEGIN EXCLUSIVE');
process.stdout.write('locked\n');
process.stdin.resume().on('end', () => db.close());
