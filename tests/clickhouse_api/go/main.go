// What a program with ClickHouse's own client for Go does, over HTTP as Grafana's plugin: a line of JSON for each way to
// connect, and one for what is refused.
package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

var methods = map[string]clickhouse.CompressionMethod{
	"none":    clickhouse.CompressionNone,
	"lz4":     clickhouse.CompressionLZ4,
	"zstd":    clickhouse.CompressionZSTD,
	"gzip":    clickhouse.CompressionGZIP,
	"deflate": clickhouse.CompressionDeflate,
	"br":      clickhouse.CompressionBrotli,
}

var number = regexp.MustCompile(`[Cc]ode: (\d+)(?:\. DB::Exception|, message)`)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// options of a way to connect: path, database and compression.
func options(address, password, way string) *clickhouse.Options {
	parts := strings.Split(way, ",")
	return &clickhouse.Options{
		Protocol:    clickhouse.HTTP,
		Addr:        []string{address},
		HttpUrlPath: parts[0],
		Auth:        clickhouse.Auth{Database: parts[1], Username: "anyone", Password: password},
		Compression: &clickhouse.Compression{Method: methods[parts[2]]},
		Settings:    clickhouse.Settings{"max_execution_time": 60},
		DialTimeout: 60 * time.Second,
		ReadTimeout: 60 * time.Second,
	}
}

// plain is a value in the form that all clients answer in.
func plain(value reflect.Value, kind string) interface{} {
	if !value.IsValid() {
		return nil
	}
	switch known := value.Interface().(type) {
	case time.Time:
		if strings.Contains(kind, "Date") && !strings.Contains(kind, "DateTime") {
			return known.Format("2006-01-02")
		}
		return known.UTC().Format("2006-01-02T15:04:05.000000Z")
	case big.Int:
		return known.String()
	case *big.Int:
		if known == nil {
			return nil
		}
		return known.String()
	case fmt.Stringer:
		if value.Kind() != reflect.Ptr {
			return known.String()
		}
	}
	switch value.Kind() {
	case reflect.Ptr, reflect.Interface:
		if value.IsNil() {
			return nil
		}
		return plain(value.Elem(), kind)
	case reflect.Slice:
		list := []interface{}{}
		for i := 0; i < value.Len(); i++ {
			list = append(list, plain(value.Index(i), kind))
		}
		return list
	case reflect.Map:
		entries := map[string]interface{}{}
		for _, key := range value.MapKeys() {
			entries[fmt.Sprint(key.Interface())] = plain(value.MapIndex(key), kind)
		}
		return entries
	case reflect.Float32:
		return strconv.FormatFloat(value.Float(), 'f', -1, 32)
	case reflect.Float64:
		return strconv.FormatFloat(value.Float(), 'f', -1, 64)
	}
	return fmt.Sprint(value.Interface())
}

func read(rows driver.Rows, err error) ([][]interface{}, error) {
	found := [][]interface{}{}
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types := rows.ColumnTypes()
	for rows.Next() {
		cells := make([]interface{}, len(types))
		for i, each := range types {
			cells[i] = reflect.New(each.ScanType()).Interface()
		}
		if err := rows.Scan(cells...); err != nil {
			return nil, err
		}
		row := []interface{}{}
		for i, cell := range cells {
			row = append(row, plain(reflect.ValueOf(cell).Elem(), types[i].DatabaseTypeName()))
		}
		found = append(found, row)
	}
	return found, rows.Err()
}

// readStandard asks through Go's own interface to databases, which Grafana's plugin uses.
func readStandard(db *sql.DB, text string, arguments ...interface{}) ([][]interface{}, error) {
	found := [][]interface{}{}
	rows, err := db.Query(text, arguments...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		cells := make([]interface{}, len(types))
		for i := range types {
			cells[i] = new(interface{})
		}
		if err := rows.Scan(cells...); err != nil {
			return nil, err
		}
		row := []interface{}{}
		for i, cell := range cells {
			row = append(row, plain(reflect.ValueOf(cell).Elem(), types[i].DatabaseTypeName()))
		}
		found = append(found, row)
	}
	return found, rows.Err()
}

func code(err error) string {
	if err == nil {
		return ""
	}
	if found := number.FindStringSubmatch(err.Error()); found != nil {
		return found[1]
	}
	return err.Error()
}

func main() {
	address, password, text := os.Args[1], os.Args[2], os.Args[3]
	ways := os.Args[4:]
	asked := map[string][][]string{}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		line := strings.SplitN(lines.Text(), "\t", 3)
		asked[line[1]] = append(asked[line[1]], line)
	}
	out := json.NewEncoder(os.Stdout)
	ctx := context.Background()
	moment := time.Date(2026, 11, 1, 9, 30, 0, 0, time.UTC)
	for i, way := range ways {
		questions := asked["always"]
		if i == 0 {
			questions = append(asked["once"], questions...)
		}
		conn, err := clickhouse.Open(options(address, password, way))
		check(err)
		check(conn.Ping(ctx))
		answers, standard := map[string]interface{}{}, map[string]interface{}{}
		for _, question := range questions {
			rows, err := read(conn.Query(ctx, question[2]))
			if err != nil {
				check(fmt.Errorf("%s by %s: %w", question[0], way, err))
			}
			answers[question[0]] = rows
		}
		bound, err := read(conn.Query(ctx, "SELECT ?, CAST(?, 'Int64'), ?, toDateTime(?, 'UTC'), toDateTime64(?, 3, 'UTC'), ?,"+
			" toUUID(?), toFloat64(?), CAST(?, 'Bool'), toDecimal64(?, 2), CAST(?, 'Array(UInt64)'), toDate(?)",
			text, -5, []string{"x", "it's"}, moment, "2026-11-01 09:30:00.250", nil,
			"61f0c404-5cb3-11e7-907b-a6006ad3dba0", 1.5, true, "-12.34", []uint64{9007199254740993}, "2026-11-02"))
		check(err)
		version, err := conn.ServerVersion()
		check(err)
		check(conn.Close())

		db := clickhouse.OpenDB(options(address, password, way))
		check(db.Ping())
		for _, question := range questions {
			rows, err := readStandard(db, question[2])
			if err != nil {
				check(fmt.Errorf("%s by %s, standard: %w", question[0], way, err))
			}
			standard[question[0]] = rows
		}
		counted, err := readStandard(db, "SELECT count() FROM events WHERE path = ? AND ts < ?", "/1", moment.Add(time.Minute))
		check(err)
		check(db.Close())
		check(out.Encode(map[string]interface{}{
			"way": way, "answers": answers, "bound": bound, "standard": standard, "counted": counted,
			"name": version.DisplayName,
		}))
	}
	conn, err := clickhouse.Open(options(address, password, ways[0]))
	check(err)
	stranger, err := clickhouse.Open(options(address, "ast_other", ways[0]))
	check(err)
	refused := map[string]string{"stranger": code(stranger.Ping(ctx))}
	for _, line := range asked["refused"] {
		_, err := read(conn.Query(ctx, line[2]))
		refused[line[0]] = code(err)
	}
	check(out.Encode(refused))
}
