# A test host without systemd: Debian with sysvinit as PID 1, the kit's init scripts, and a broker.
FROM celerykit/celery
USER root
RUN rm -f /usr/sbin/policy-rc.d \
 && apt-get update \
 && apt-get install --yes --no-install-recommends \
      initscripts insserv orphan-sysvinit-scripts procps redis-server runit sysv-rc sysvinit-core \
 && rm -rf /var/lib/apt/lists/* \
 && usermod --shell /usr/sbin/nologin celery \
 && mkdir --parents /opt/celery/app/current /etc/celery && ln -s /opt/celerykit /opt/celery/venv
COPY init.d/celeryd init.d/celerybeat /etc/init.d/
RUN update-rc.d celeryd defaults && update-rc.d celerybeat defaults
HEALTHCHECK NONE
STOPSIGNAL SIGINT
ENTRYPOINT []
CMD ["/sbin/init"]
