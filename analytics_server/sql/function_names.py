"""Names of functions that people know from elsewhere: what they are called here, and what to write instead of others.

Names are in small letters: they are found in any case.
"""

from __future__ import annotations

ALIASES = {
    "approx_count_distinct": "uniq",
    "bit_and": "groupBitAnd",
    "bit_or": "groupBitOr",
    "bit_xor": "groupBitXor",
    "char_length": "lengthUTF8",
    "character_length": "lengthUTF8",
    "covar_pop": "covarPop",
    "covar_samp": "covarSamp",
    "date": "toDate",
    "datediff": "dateDiff",
    "timestampdiff": "dateDiff",
    "timestamp_diff": "dateDiff",
    "day": "toDayOfMonth",
    "dayofmonth": "toDayOfMonth",
    "dayofweek": "toDayOfWeek",
    "dayofyear": "toDayOfYear",
    "editdistance": "levenshteinDistance",
    "hour": "toHour",
    "iif": "if",
    "last_day": "toLastDayOfMonth",
    "minute": "toMinute",
    "month": "toMonth",
    "octet_length": "length",
    "quarter": "toQuarter",
    "second": "toSecond",
    "stddev": "stddevSamp",
    "stddev_pop": "stddevPop",
    "stddev_samp": "stddevSamp",
    "var_pop": "varPop",
    "var_samp": "varSamp",
    "variance": "varSamp",
    "week": "toWeek",
    "year": "toYear",
    "yearweek": "toYearWeek",
}
"""Other names of listed functions, from the standard and other databases."""

MOVES = {
    **dict.fromkeys(("date_add", "dateadd", "timestamp_add", "timestampadd"), "add"),
    **dict.fromkeys(("date_sub", "datesub", "timestamp_sub", "timestampsub"), "subtract"),
}
"""Called with a time and an interval, or with a unit, a number and a time: written as `addDays` and the like."""

PARTS = {
    "YEAR": "toYear",
    "QUARTER": "toQuarter",
    "WEEK": "toISOWeek",
    "DOY": "toDayOfYear",
    "ISODOW": "toDayOfWeek",
    "EPOCH": "toUnixTimestamp",
    "MONTH": "toMonth",
    "DAY": "toDayOfMonth",
    "HOUR": "toHour",
    "MINUTE": "toMinute",
    "SECOND": "toSecond",
}
"""What EXTRACT takes out of a time."""

TRIMS = {"BOTH": "trimBoth", "LEADING": "trimLeft", "TRAILING": "trimRight"}

INSTEAD_OF = {
    "arrayfold": "arraySum, arrayReduce, arrayMap or a WITH RECURSIVE",
    "columns": "COLUMNS('^utm_') APPLY(uniq) among the columns of SELECT",
    "curdate": "today()",
    "current_date": "today()",
    "current_timestamp": "now()",
    "neighbor": "lagInFrame(x) OVER (ORDER BY …) or leadInFrame",
    "runningdifference": "x - lagInFrame(x) OVER (ORDER BY …)",
    "runningaccumulate": "sum(x) OVER (ORDER BY …)",
    "printf": "format('{}', x), leftPad(toString(x), 3, '0') or round(x, 2)",
    "string_agg": "arrayStringConcat(groupArrayIf(x, condition), ',')",
    "timeslots": "timeSlot(ts), or arrayMap(i -> ts + toIntervalMinute(30 * i), range(4))",
    "totime": "formatDateTime(ts, '%H:%i:%S')",
    "tumble": "toStartOfInterval(ts, INTERVAL 1 HOUR)",
    "tumblestart": "toStartOfInterval(ts, INTERVAL 1 HOUR)",
    "tumbleend": "toStartOfInterval(ts, INTERVAL 1 HOUR) + INTERVAL 1 HOUR",
    "hop": "toStartOfInterval(ts, INTERVAL 1 HOUR)",
    "hopstart": "toStartOfInterval(ts, INTERVAL 1 HOUR)",
    "hopend": "toStartOfInterval(ts, INTERVAL 1 HOUR) + INTERVAL 1 HOUR",
}
"""Functions that can't be called here, and what does the same."""

WITHOUT = {
    "arrayCumSum": "sum(x) OVER (ORDER BY …)",
    "entropy": "-sum(p * log2(p)) over each value's share p",
    "exponentialMovingAverage": "avg(x) OVER (ORDER BY … ROWS 6 PRECEDING)",
    "groupBitmap": "uniqExact(x)",
    "groupConcat": "string_agg(x, ',')",
    "histogram": "intDiv(x, 10) AS bucket with GROUP BY bucket, or widthBucket",
    "mannWhitneyUTest": "avg, varSamp and count per group, and test outside",
    "quantileTDigest": "quantile(0.5)(x) or quantileExact(0.5)(x)",
    "quantilesTDigest": "quantiles(0.5, 0.9)(x)",
    "retention": "max(condition) by visitor in a subquery, then sums of it; or the API's cohorts",
    "sequenceCount": "windowFunnel(window)(toDateTime(ts), …)",
    "sequenceMatch": "windowFunnel(window)(toDateTime(ts), …)",
    "studentTTest": "avg, varSamp and count per group, and test outside",
    "welchTTest": "avg, varSamp and count per group, and test outside",
    "uniqTheta": "uniq(x) or uniqExact(x)",
}
"""What does nearly the same as a function that the smaller engine lacks."""
