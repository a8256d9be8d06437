// What a program with ClickHouse's own client for Node.js does: its answers as one line of JSON.
import { createClient } from '@clickhouse/client'

const [url, password] = process.argv.slice(2)
const client = createClient({
  url,
  pathname: '/clickhouse',
  username: 'anyone',
  password,
  database: 'analytics',
  compression: { response: true },
  clickhouse_settings: { max_threads: 2, wait_end_of_query: 1 },
  log: { LoggerClass: class { trace() {} debug() {} info() {} warn() {} error() {} } },
})
const rows = async (query, params = {}) =>
  (await client.query({ query, format: 'JSONEachRow', query_params: params })).json()
const refused = async (query) => rows(query).then(() => null, ({ code, type }) => [code, type])

const found = {
  alive: (await client.ping({ select: true })).success,
  tables: await rows('SHOW TABLES'),
  pages: await rows('SELECT path, count() AS views FROM events WHERE name = {name:String} GROUP BY path ORDER BY path', {
    name: 'pageview',
  }),
  within: await rows('SELECT count() AS n FROM events WHERE path IN ({paths:Array(String)})', { paths: ['/1', '/2'] }),
  many: (await rows('SELECT number FROM numbers(20000)')).length,
  refused: await refused('SELECT * FROM tokens'),
  timeout: await refused('SELECT sum(a.number + b.number) FROM numbers(1000000) AS a, numbers(1000000) AS b'),
}
await client.close()
console.log(JSON.stringify(found))
