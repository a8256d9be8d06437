// What a program with ClickHouse's own client for Node.js does: a line of JSON for each way to connect, and one for what
// is refused.
import { createClient } from '@clickhouse/client'
import { readFileSync } from 'node:fs'

const [address, password, text, ...ways] = process.argv.slice(2)
const lines = readFileSync(0, 'utf8').trimEnd().split('\n').map((line) => line.split('\t'))
const questions = lines.filter(([name]) => !name.startsWith('refused '))
const refusals = lines.filter(([name]) => name.startsWith('refused '))

// A way to connect: path, database and compression.
const connect = (way, key = password) => {
  const [pathname, database, compression] = way.split(',')
  return createClient({
    url: `http://${address}`,
    pathname: pathname || undefined,
    username: 'anyone',
    password: key,
    database,
    compression: { response: compression === 'gzip' },
    clickhouse_settings: {
      max_threads: 2,
      wait_end_of_query: 1,
      output_format_json_quote_64bit_integers: 1,
      output_format_json_quote_decimals: 1,
    },
    log: { LoggerClass: class { trace() {} debug() {} info() {} warn() {} error() {} } },
  })
}

// A value in the form that all clients answer in.
const plain = (value, type) => {
  if (value === null) return null
  if (Array.isArray(value)) return value.map((each) => plain(each, ''))
  if (typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each, '')]))
  }
  if (!type.startsWith('DateTime')) return String(value)
  const [seconds, parts = ''] = value.split('.')
  return `${seconds.replace(' ', 'T')}.${parts.padEnd(6, '0')}Z`
}
const rows = async (client, query, params = {}) => {
  const { meta, data } = await (await client.query({ query, format: 'JSONCompact', query_params: params })).json()
  return data.map((row) => row.map((value, at) => plain(value, meta[at].type)))
}
const streamed = async (client) => {
  const answer = await client.query({ query: 'SELECT number FROM numbers(90000)', format: 'JSONCompactEachRow' })
  let count = 0
  for await (const some of answer.stream()) count += some.length
  return count
}
const code = (asked) => asked.then(() => '', (error) => error.code ?? String(error))

for (const way of ways) {
  const client = connect(way)
  const answers = {}
  for (const [name, query] of questions) answers[name] = await rows(client, query)
  const found = {
    way,
    answers,
    bound: await rows(client, "SELECT {s:String}, {n:Int64}, {a:Array(String)}, {t:DateTime('UTC')}, {o:Nullable(UInt8)}", {
      s: text, n: -5, a: ['x', "it's"], t: new Date('2026-11-01T09:30:00Z'), o: null,
    }),
    counted: await rows(client, "SELECT count() FROM events WHERE path = {path:String} AND ts < {t:DateTime64(3, 'UTC')}", {
      path: '/1', t: new Date('2026-11-01T09:31:00Z'),
    }),
    streamed: await streamed(client),
    pings: [(await client.ping()).success, (await client.ping({ select: true })).success],
  }
  await client.close()
  console.log(JSON.stringify(found))
}
const stranger = connect(ways[0], 'ast_other')
const client = connect(ways[0])
const refused = { 'refused stranger': await code(rows(stranger, 'SELECT 1')) }
for (const [name, query] of refusals) refused[name] = await code(rows(client, query))
await Promise.all([stranger.close(), client.close()])
console.log(JSON.stringify(refused))
