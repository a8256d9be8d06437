// Answers for Grafana as its own library reads them: an array of answers in, an array of data frames out, as JSON.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

globalThis.navigator ??= { language: 'en-US', languages: ['en-US'] } // the library expects a browser's
const { formattedValueToString, getFieldDisplayName, getValueFormat, toDataFrame } = createRequire(import.meta.url)('@grafana/data')

// A number as a panel would write it.
const written = ({ type, config, values }) => {
  const some = values.find((value) => value !== null)
  return type === 'number' && some !== undefined ? formattedValueToString(getValueFormat(config.unit)(some)) : null
}
const frames = JSON.parse(readFileSync(0, 'utf8')).map((answer) => {
  const frame = toDataFrame(answer)
  const { refId = null, name = null, length, meta = null } = frame
  const fields = frame.fields.map((field) => ({
    name: field.name,
    type: field.type,
    unit: field.config.unit ?? null,
    labels: field.labels ?? {},
    shown: getFieldDisplayName(field, frame),
    written: written(field),
    values: field.values,
  }))
  return { refId, name, length, notices: meta?.notices ?? [], fields }
})
console.log(JSON.stringify(frames))
