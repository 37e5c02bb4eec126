# Two images of one program. The last stage, which `docker build .` makes, has everything; `--target loader` is small: it
# polls, checks and watches, and has neither history nor pages (docs/decisions/0030). Any builder will do.
ARG BASE=python:3.11-slim-bookworm


# --- what both are started as ---

FROM ${BASE} AS runtime
COPY deploy/container/slim.py /tmp/
# The original image has nothing compiled of the standard library, and what runs later may write nothing.
# libpq wants the user to have a name. The volume belongs to that user from its first use on.
RUN python -B /tmp/slim.py library && rm /tmp/slim.py \
    && useradd --uid 10001 --user-group --no-log-init --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin openaq \
    && install --directory --owner 10001 --group 10001 /data
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DATA_DIR=/data \
    WEB_HOST=0.0.0.0
WORKDIR /app
VOLUME /data
EXPOSE 8765
USER 10001:10001
STOPSIGNAL SIGTERM
# Healthy is an installation that had a good run lately. It says so early, and has ten minutes for its first one.
HEALTHCHECK --interval=60s --timeout=15s --start-period=10m CMD ["python", "dataset/monitor.py", "--check"]
CMD ["python", "dataset/scheduler.py"]


# --- the packages, in the versions that were tested, by their hashes; no pip comes along ---

FROM ${BASE} AS loader-packages
WORKDIR /build
COPY deploy/container/loader.lock ./
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --quiet --root-user-action=ignore --no-cache-dir --no-compile \
        --no-deps --only-binary :all: --require-hashes --requirement loader.lock
COPY deploy/container/slim.py ./
RUN python -B slim.py packages /opt/venv

FROM ${BASE} AS packages
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --quiet --root-user-action=ignore --no-cache-dir --no-compile \
        --no-deps --only-binary :all: --require-hashes --requirement requirements.lock
COPY deploy/container/slim.py ./
RUN python -B slim.py packages /opt/venv


# --- the program ---

FROM ${BASE} AS program
WORKDIR /app
COPY LICENSE config.yaml requirements.lock ./
COPY dataset dataset
COPY deploy/container/slim.py /tmp/
# Whoever made the checkout may have kept it to themselves (umask 077): the program is another user.
RUN python -B /tmp/slim.py compile /app/dataset && chmod -R u=rwX,go=rX /app


# --- the small one ---

FROM runtime AS loader
COPY --from=loader-packages /opt/venv /opt/venv
COPY --from=program /app /app
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="OpenAQ Pipeline, loader" \
      org.opencontainers.image.description="Keeps a complete, checked copy of air-quality data; without history and pages" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


# --- everything ---

FROM runtime AS everything
COPY --from=packages /opt/venv /opt/venv
COPY --from=program /app /app
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="OpenAQ Pipeline" \
      org.opencontainers.image.description="Keeps a complete, checked, always current copy of air-quality data" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
