# What the benchmark compares Celery with, on the same Python: other programs for jobs, from PyPI.
FROM debian:trixie-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY with-ca bench/requirements.txt /opt/
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache \
    python3 -m venv /opt/rivals \
 && /opt/with-ca /opt/rivals/bin/pip install --disable-pip-version-check --require-hashes --requirement /opt/requirements.txt
ENV PATH=/opt/rivals/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
LABEL org.opencontainers.image.vendor=celerykit
