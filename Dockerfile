# The service in an image: `docker build -t holdfast .`, then `docker run -p 127.0.0.1:8083:8083 -v holdfast:/data holdfast`.
# The first start prints the admin token, once. Everything that is installed is pinned by hash (requirements/*.lock).

FROM python:3.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements/run.lock requirements/build.lock requirements/
RUN python -m venv /opt/holdfast \
    && /opt/holdfast/bin/pip install --require-hashes --only-binary :all: -r requirements/run.lock \
    && python -m venv /opt/tools \
    && /opt/tools/bin/pip install --require-hashes --only-binary :all: -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/holdfast/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/holdfast/bin/python -m compileall -q /opt/holdfast/lib

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="Holdfast" \
      org.opencontainers.image.description="The storage layer you can leave" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 holdfast \
    && useradd --system --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin holdfast \
    && install -d -o holdfast -g holdfast -m 0700 /data
COPY --from=build /opt/holdfast /opt/holdfast
ENV PATH=/opt/holdfast/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOLDFAST_HOST=0.0.0.0 \
    HOLDFAST_PORT=8083 \
    HOLDFAST_DATA=/data
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8083
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 CMD ["holdfast", "health"]
ENTRYPOINT ["holdfast"]
CMD ["serve"]
