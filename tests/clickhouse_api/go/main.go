// What a program with ClickHouse's own client for Go does, over HTTP as Grafana's plugin: a line of JSON for each way to
// connect, and one for what is refused.
package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"reflect"
	"regexp"
	"runtime/debug"
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

// onlyStandard speaks HTTP by database/sql alone.
const onlyStandard = "v2.17.1"

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

// asker sends a statement by one of the client's two interfaces.
type asker func(ctx context.Context, text string, arguments ...interface{}) ([][]interface{}, error)

// native is the client's own interface.
func native(conn driver.Conn) asker {
	return func(ctx context.Context, text string, arguments ...interface{}) ([][]interface{}, error) {
		rows, err := conn.Query(ctx, text, arguments...)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		found, types := [][]interface{}{}, rows.ColumnTypes()
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
}

// standard is Go's own interface to databases, which Grafana's plugin uses.
func standard(db *sql.DB) asker {
	return func(ctx context.Context, text string, arguments ...interface{}) ([][]interface{}, error) {
		rows, err := db.QueryContext(ctx, text, arguments...)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		types, err := rows.ColumnTypes()
		if err != nil {
			return nil, err
		}
		found := [][]interface{}{}
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
}

// answered is what is found by one way and one interface.
func answered(ask asker, questions [][]string, text string) (map[string]interface{}, error) {
	ctx := context.Background()
	answers := map[string]interface{}{}
	for _, question := range questions {
		rows, err := ask(ctx, question[2])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", question[0], err)
		}
		answers[question[0]] = rows
	}
	moment := time.Date(2026, 11, 1, 9, 30, 0, 0, time.UTC)
	bound, err := ask(ctx, "SELECT ?, CAST(?, 'Int64'), ?, toDateTime(?, 'UTC'), toDateTime64(?, 3, 'UTC'), ?,"+
		" toUUID(?), toFloat64(?), CAST(?, 'Bool'), toDecimal64(?, 2), CAST(?, 'Array(UInt64)'), toDate(?)",
		text, -5, []string{"x", "it's"}, moment, "2026-11-01 09:30:00.250", nil,
		"61f0c404-5cb3-11e7-907b-a6006ad3dba0", 1.5, true, "-12.34", []uint64{9007199254740993}, "2026-11-02")
	if err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	named, err := ask(clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{
		"path": "/1", "day": "2026-11-02", "list": "['x', 'ü']",
	})), "SELECT count() > 0, {day:Date}, {list:Array(String)} FROM events WHERE path = {path:String}")
	if err != nil {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	counted, err := ask(ctx, "SELECT count() FROM events WHERE path = ? AND ts < ?", "/1", moment)
	if err != nil {
		return nil, fmt.Errorf("conditions: %w", err)
	}
	return map[string]interface{}{"answers": answers, "bound": bound, "named": named, "counted": counted}, nil
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

// cancelled begins a statement, cancels its context once the server knows it, and returns when the server does not any
// more.
func cancelled(ask asker, text string) (map[string]string, error) {
	known := func() bool {
		rows, err := ask(context.Background(), "KILL QUERY WHERE query_id = 'cancelled in Go' TEST")
		check(err)
		return len(rows) > 0
	}
	until := func(wanted bool) error {
		for deadline := time.Now().Add(60 * time.Second); known() != wanted; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				return fmt.Errorf("not known to be running: %t", wanted)
			}
		}
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := ask(clickhouse.Context(ctx, clickhouse.WithQueryID("cancelled in Go")), text)
		failed <- err
	}()
	if err := until(true); err != nil {
		return nil, err
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("not cancelled: %w", err)
	}
	return map[string]string{"error": "cancelled"}, until(false)
}

// version of the client that the program is built with.
func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, each := range info.Deps {
		if strings.HasPrefix(each.Path, "github.com/ClickHouse/clickhouse-go") {
			return each.Version
		}
	}
	return ""
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
	if ending := asked["cancelled"]; ending != nil {
		found, err := cancelled(standard(clickhouse.OpenDB(options(address, password, ways[0]))), ending[0][2])
		check(err)
		check(out.Encode(found))
		return
	}
	ctx := context.Background()
	for i, way := range ways {
		questions := asked["always"]
		if i == 0 {
			questions = append(asked["once"], questions...)
		}
		db := clickhouse.OpenDB(options(address, password, way))
		check(db.PingContext(ctx))
		found, err := answered(standard(db), questions, text)
		check(err)
		check(db.Close())
		line := map[string]interface{}{"way": way, "client": version(), "standard": found}
		if version() != onlyStandard && (i == 0 || way[0] == '/') {
			conn, err := clickhouse.Open(options(address, password, way))
			check(err)
			check(conn.Ping(ctx))
			found, err := answered(native(conn), questions, text)
			check(err)
			line["native"] = found
			server, err := conn.ServerVersion()
			check(err)
			line["server"] = server.DisplayName
			check(conn.Close())
		}
		check(out.Encode(line))
	}
	db := clickhouse.OpenDB(options(address, password, ways[0]))
	stranger := clickhouse.OpenDB(options(address, "ast_other", ways[0]))
	refused := map[string]string{"stranger": code(stranger.PingContext(ctx))}
	for _, line := range asked["refused"] {
		_, err := standard(db)(ctx, line[2])
		refused[line[0]] = code(err)
	}
	check(out.Encode(refused))
}
