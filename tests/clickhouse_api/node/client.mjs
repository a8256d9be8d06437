// What a program with ClickHouse's own client for Node.js does: a line of JSON for each way to connect, and one for what
// is refused.
import { createClient } from '@clickhouse/client'
import { readFileSync } from 'node:fs'

const [address, password, text, ...ways] = process.argv.slice(2)
const lines = readFileSync(0, 'utf8').trimEnd().split('\n').map((line) => line.split('\t'))
const asked = (...when) => lines.filter(([, each]) => when.includes(each))

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
const streamed = async (client, query) => {
  let count = 0
  for await (const some of (await client.query({ query, format: 'JSONCompactEachRow' })).stream()) count += some.length
  return count
}
const code = (answer) => answer.then(() => '', (error) => error.code ?? String(error))

// Begins a statement, aborts it once the server knows it, and returns when the server does not any more.
const cancelled = async (query) => {
  const client = connect(ways[0])
  const until = async (wanted) => {
    for (const deadline = Date.now() + 60_000; ; await new Promise((resolve) => setTimeout(resolve, 50))) {
      const known = await rows(client, "KILL QUERY WHERE query_id = 'cancelled in Node' TEST")
      if (known.length > 0 === wanted) return
      if (Date.now() > deadline) throw new Error(`not known to be running: ${wanted}`)
    }
  }
  const ending = new AbortController()
  const failed = client
    .query({ query, query_id: 'cancelled in Node', abort_signal: ending.signal, format: 'JSON' })
    .then(() => '', (error) => error.message)
  await until(true)
  ending.abort()
  const error = await failed
  await until(false)
  await client.close()
  return { error }
}
const toCancel = asked('cancelled')
if (toCancel.length > 0) {
  console.log(JSON.stringify(await cancelled(toCancel[0][2])))
  process.exit()
}

for (const way of ways) {
  const client = connect(way)
  const answers = {}
  for (const [name, , query] of way === ways[0] ? asked('once', 'always') : asked('always')) answers[name] = await rows(client, query)
  const found = {
    way,
    answers,
    bound: await rows(client, asked('bound')[0][2], {
      text,
      number: -5,
      list: ['x', "it's"],
      second: new Date('2026-11-01T09:30:00Z'),
      moment: new Date('2026-11-01T09:30:00.250Z'),
      none: null,
      uuid: '61f0c404-5cb3-11e7-907b-a6006ad3dba0',
      float: 1.5,
      bool: true,
      decimal: '-12.34',
      many: [9007199254740993n],
      day: '2026-11-02',
    }),
    counted: await rows(client, "SELECT count() FROM events WHERE path = {path:String} AND ts < {t:DateTime64(3, 'UTC')}", {
      path: '/1', t: new Date('2026-11-01T09:31:00Z'),
    }),
    streamed: await streamed(client, 'SELECT number FROM numbers(90000)'),
    pings: [(await client.ping()).success, (await client.ping({ select: true })).success],
  }
  await client.close()
  console.log(JSON.stringify(found))
}
const other = connect(ways[0], 'ast_other')
const client = connect(ways[0])
const refused = { stranger: await code(rows(other, 'SELECT 1')) }
for (const [name, , query] of asked('refused')) {
  refused[name] = await code(name === 'midway' ? streamed(client, query) : rows(client, query))
}
await Promise.all([other.close(), client.close()])
console.log(JSON.stringify(refused))
