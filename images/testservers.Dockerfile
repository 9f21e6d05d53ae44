# Servers that the kit reaches and does not stand up, for tests alone: memcached by itself, and all of them in one image.
FROM debian:trixie-slim AS memcached
RUN apt-get update \
 && apt-get install --yes --no-install-recommends memcached \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10009 --no-create-home --home-dir /data server \
 && install --directory --owner server --group server /data
WORKDIR /data
USER server
LABEL org.opencontainers.image.vendor=celerykit

FROM memcached AS all
USER root
# Java's installation fails without a folder that slim images do not have.
RUN mkdir --parents /usr/share/man/man1 && apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates default-jre-headless etcd-server mariadb-client-core \
      mariadb-server-core python3-venv zookeeper \
 && rm -rf /var/lib/apt/lists/* /etc/mysql
COPY with-ca testservers/requirements.txt /opt/
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache \
    python3 -m venv /opt/servers \
 && /opt/with-ca /opt/servers/bin/pip install --disable-pip-version-check --require-hashes --requirement /opt/requirements.txt
COPY testservers/mariadb testservers/zoo.cfg /opt/
ENV PATH=/opt/servers/bin:/usr/share/zookeeper/bin:$PATH HOME=/data
USER server
