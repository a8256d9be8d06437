# One image for both ways to run: ClickHouse in process (the default, data in /data),
# or against a ClickHouse server named by ANALYTICS_CLICKHOUSE_URL.

FROM python:3.13-slim-bookworm AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
COPY requirements/ requirements/
# The locks name every package with its hashes, so nothing is resolved or built here.
RUN python -m venv /opt/analytics \
    && /opt/analytics/bin/pip install --no-deps --require-hashes --only-binary :all: -r requirements/runtime.txt
RUN pip install --no-deps --require-hashes --only-binary :all: -r requirements/build.txt
# The country database (Geoacumen, Apache License 2.0) is taken out of its wheel with the licence.
RUN pip download --no-deps --require-hashes --only-binary :all: -r requirements/geo.txt -d /tmp/geo \
    && python -m zipfile -e /tmp/geo/*.whl /tmp/geo \
    && mkdir -p /opt/geo \
    && mv /tmp/geo/geoacumen/db/Geoacumen-Country.mmdb /opt/geo/country.mmdb \
    && find /tmp/geo -iname 'LICENSE*' -exec cp {} /opt/geo/ \;
COPY pyproject.toml README.md LICENSE ./
COPY analytics_server/ analytics_server/
COPY schema/ schema/
RUN python -m hatchling build -t wheel -d /tmp/wheel \
    && /opt/analytics/bin/pip install --no-deps --no-index /tmp/wheel/*.whl \
    && /opt/analytics/bin/python -m compileall -q /opt/analytics/lib

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="analytics-server" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --system --gid 10001 analytics \
    && useradd --system --uid 10001 --gid analytics --home-dir /data --no-create-home analytics \
    && install -d -o analytics -g analytics -m 0700 /data
COPY --from=build /opt/geo /opt/geo
COPY --from=build /opt/analytics /opt/analytics
ENV PATH=/opt/analytics/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ANALYTICS_SERVER_HOST=:: \
    ANALYTICS_SERVER_PORT=8000 \
    ANALYTICS_SERVER_DATA_DIR=/data \
    ANALYTICS_GEO_DATABASE=/opt/geo/country.mmdb \
    ANALYTICS_LOG_FORMAT=json
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["analytics-server", "healthcheck", "--timeout", "2"]
ENTRYPOINT ["analytics-server"]
CMD ["serve"]
