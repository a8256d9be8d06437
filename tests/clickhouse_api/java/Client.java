import com.clickhouse.jdbc.StatementImpl;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLTimeoutException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** What a program with ClickHouse's JDBC driver does: a line of JSON for each way to connect, and one for what is refused. */
public final class Client {
    private static final DateTimeFormatter MOMENT =
            DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSS'Z'").withZone(ZoneOffset.UTC);

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        String address = args[0];
        String password = args[1];
        String text = args[2];
        List<String> ways = Arrays.asList(args).subList(3, args.length);
        Map<String, Map<String, String>> asked = new LinkedHashMap<>();
        for (String line : new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)).lines().toList()) {
            String[] parts = line.split("\t", 3);
            asked.computeIfAbsent(parts[1], when -> new LinkedHashMap<>()).put(parts[0], parts[2]);
        }
        if (asked.containsKey("cancelled")) {
            try (Connection connection = connect(address, password, ways.get(0));
                    Connection other = connect(address, password, ways.get(0))) {
                out.println(json(cancelled(connection, other, asked.get("cancelled").values().iterator().next())));
            }
            return;
        }
        Map<String, String> questions = new LinkedHashMap<>(asked.get("once"));
        questions.putAll(asked.get("always"));
        for (String way : ways) {
            try (Connection connection = connect(address, password, way)) {
                Map<String, Object> found = new LinkedHashMap<>();
                found.put("way", way);
                found.put("answers", answers(connection, way.equals(ways.get(0)) ? questions : asked.get("always")));
                found.put("bound", bound(connection, text));
                found.put("listed", listed(connection));
                found.put("counted", counted(connection));
                out.println(json(found));
            }
        }
        Map<String, Object> refused = new LinkedHashMap<>();
        refused.put("stranger", code(() -> {
            try (Connection connection = connect(address, "ast_other", ways.get(0))) {
                rows(connection.createStatement().executeQuery("SELECT 1"));
            }
        }));
        try (Connection connection = connect(address, password, ways.get(0))) {
            for (Map.Entry<String, String> each : asked.get("refused").entrySet()) {
                refused.put(each.getKey(), code(() -> rows(connection.createStatement().executeQuery(each.getValue()))));
            }
        }
        out.println(json(refused));
    }

    /** A way to connect: path (which this driver does not know), database and compression. */
    private static Connection connect(String address, String password, String way) throws SQLException {
        String[] parts = way.split(",", -1);
        Properties properties = new Properties();
        properties.setProperty("user", "anyone");
        properties.setProperty("password", password);
        properties.setProperty("compress", String.valueOf(!parts[2].equals("none")));
        properties.setProperty("client.use_http_compression", String.valueOf(parts[2].equals("http")));
        return DriverManager.getConnection("jdbc:clickhouse:http://" + address + "/" + parts[1], properties);
    }

    private static Map<String, Object> answers(Connection connection, Map<String, String> questions) throws SQLException {
        Map<String, Object> found = new LinkedHashMap<>();
        for (Map.Entry<String, String> question : questions.entrySet()) {
            try (Statement statement = connection.createStatement()) {
                found.put(question.getKey(), rows(statement.executeQuery(question.getValue())));
            } catch (SQLException | RuntimeException error) {
                throw new IllegalStateException(question.getKey(), error);
            }
        }
        return found;
    }

    private static Object bound(Connection connection, String text) throws SQLException {
        String asked = "SELECT ?, CAST(?, 'Int64'), ?, toDateTime(?, 'UTC'), toDateTime64(?, 3, 'UTC'), ?, toUUID(?),"
                + " toFloat64(?), CAST(?, 'Bool'), toDecimal64(?, 2), CAST(?, 'Array(UInt64)'), toDate(?)";
        try (PreparedStatement statement = connection.prepareStatement(asked)) {
            statement.setString(1, text);
            statement.setLong(2, -5);
            statement.setArray(3, connection.createArrayOf("String", new String[] {"x", "it's"}));
            statement.setObject(4, LocalDateTime.of(2026, 11, 1, 9, 30));
            statement.setObject(5, LocalDateTime.of(2026, 11, 1, 9, 30, 0, 250_000_000));
            statement.setNull(6, Types.VARCHAR);
            statement.setObject(7, UUID.fromString("61f0c404-5cb3-11e7-907b-a6006ad3dba0"));
            statement.setDouble(8, 1.5);
            statement.setBoolean(9, true);
            statement.setBigDecimal(10, new BigDecimal("-12.34"));
            statement.setArray(11, connection.createArrayOf("UInt64", new Object[] {9007199254740993L}));
            statement.setObject(12, LocalDate.of(2026, 11, 2));
            return rows(statement.executeQuery());
        }
    }

    private static Object counted(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT count() FROM events WHERE path = ? AND ts < ?")) {
            statement.setString(1, "/1");
            statement.setObject(2, LocalDateTime.of(2026, 11, 1, 9, 31));
            return rows(statement.executeQuery());
        }
    }

    /** What a tool shows on connecting. */
    private static Map<String, Object> listed(Connection connection) throws SQLException {
        DatabaseMetaData about = connection.getMetaData();
        Map<String, Object> found = new LinkedHashMap<>();
        List<Object> names = new ArrayList<>();
        try (ResultSet schemas = about.getSchemas()) {
            while (schemas.next()) {
                names.add(schemas.getString("TABLE_SCHEM"));
            }
        }
        found.put("schemas", names);
        List<Object> tables = new ArrayList<>();
        try (ResultSet each = about.getTables(null, connection.getSchema(), "%", null)) {
            while (each.next()) {
                tables.add(each.getString("TABLE_NAME"));
            }
        }
        found.put("tables", tables);
        List<Object> columns = new ArrayList<>();
        try (ResultSet each = about.getColumns(null, connection.getSchema(), "sessions", "%")) {
            while (each.next()) {
                columns.add(List.of(each.getString("COLUMN_NAME"), each.getString("TYPE_NAME")));
            }
        }
        found.put("columns", columns);
        found.put("keys", rows(about.getPrimaryKeys(null, connection.getSchema(), "events")).size());
        found.put("product", about.getDatabaseProductName());
        return found;
    }

    /** Begins a statement, cancels it once the server knows it, and returns when the server does not any more. */
    private static Map<String, Object> cancelled(Connection connection, Connection other, String text) throws Exception {
        try (Statement statement = connection.createStatement()) {
            CompletableFuture<String> failed =
                    CompletableFuture.supplyAsync(() -> code(() -> rows(statement.executeQuery(text))));
            until(other, statement, true);
            statement.cancel();
            String code = failed.get(60, TimeUnit.SECONDS);
            until(other, statement, false);
            return Map.of("error", code);
        }
    }

    private static void until(Connection other, Statement statement, boolean wanted) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (true) {
            String id = statement.unwrap(StatementImpl.class).getLastQueryId();
            boolean known = false;
            if (id != null) {
                try (Statement asking = other.createStatement()) {
                    known = !rows(asking.executeQuery("KILL QUERY WHERE query_id = '" + id + "' TEST")).isEmpty();
                }
            }
            if (known == wanted) {
                return;
            }
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException("not known to be running: " + wanted);
            }
            Thread.sleep(50);
        }
    }

    private interface Asking {
        void run() throws SQLException;
    }

    private static String code(Asking asking) {
        try {
            asking.run();
            return "";
        } catch (SQLTimeoutException error) {
            return "159"; // the driver keeps no number of it
        } catch (SQLException error) {
            return String.valueOf(error.getErrorCode());
        }
    }

    private static List<Object> rows(ResultSet results) throws SQLException {
        List<Object> found = new ArrayList<>();
        int width = results.getMetaData().getColumnCount();
        while (results.next()) {
            List<Object> row = new ArrayList<>();
            for (int i = 1; i <= width; i++) {
                row.add(plain(results.getObject(i)));
            }
            found.add(row);
        }
        results.close();
        return found;
    }

    /** A value in the form that all clients answer in. */
    private static Object plain(Object value) throws SQLException {
        if (value == null) {
            return null;
        }
        if (value instanceof java.sql.Array list) {
            return plain(list.getArray());
        }
        if (value instanceof List<?> list) {
            return plain(list.toArray());
        }
        if (value.getClass().isArray()) {
            List<Object> found = new ArrayList<>();
            for (int i = 0; i < java.lang.reflect.Array.getLength(value); i++) {
                found.add(plain(java.lang.reflect.Array.get(value, i)));
            }
            return found;
        }
        if (value instanceof Map<?, ?> map) {
            Map<String, Object> found = new LinkedHashMap<>();
            for (Map.Entry<?, ?> each : map.entrySet()) {
                found.put(String.valueOf(each.getKey()), plain(each.getValue()));
            }
            return found;
        }
        if (value instanceof Timestamp moment) {
            return MOMENT.format(moment.toInstant());
        }
        if (value instanceof Date day) {
            return day.toLocalDate().toString();
        }
        if (value instanceof ZonedDateTime moment) {
            return MOMENT.format(moment);
        }
        if (value instanceof OffsetDateTime moment) {
            return MOMENT.format(moment);
        }
        if (value instanceof LocalDateTime moment) {
            return MOMENT.format(moment.toInstant(ZoneOffset.UTC));
        }
        if (value instanceof Instant moment) {
            return MOMENT.format(moment);
        }
        if (value instanceof BigDecimal number) {
            return number.stripTrailingZeros().toPlainString();
        }
        if (value instanceof Double || value instanceof Float) {
            return new BigDecimal(value.toString()).stripTrailingZeros().toPlainString();
        }
        if (value instanceof InetAddress address) {
            return address.getHostAddress().replaceAll("(^|:)(0+(:|$)){2,}", "::");
        }
        return value instanceof LocalDate day ? day.toString() : value.toString();
    }

    private static String json(Object value) {
        if (value == null) {
            return "null";
        }
        StringBuilder written = new StringBuilder();
        if (value instanceof List<?> list) {
            for (Object each : list) {
                written.append(written.isEmpty() ? "[" : ",").append(json(each));
            }
            return written.isEmpty() ? "[]" : written.append(']').toString();
        }
        if (value instanceof Map<?, ?> map) {
            for (Map.Entry<?, ?> each : map.entrySet()) {
                written.append(written.isEmpty() ? "{" : ",").append(json(each.getKey())).append(':').append(json(each.getValue()));
            }
            return written.isEmpty() ? "{}" : written.append('}').toString();
        }
        written.append('"');
        for (char each : value.toString().toCharArray()) {
            if (each < ' ') {
                written.append(String.format("\\u%04x", (int) each));
            } else {
                written.append(each == '"' || each == '\\' ? "\\" : "").append(each);
            }
        }
        return written.append('"').toString();
    }
}
