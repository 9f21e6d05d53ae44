# Test hosts: Debian with systemd as PID 1 and ssh, like a machine that an operator gets. The suite is an argument.
# `units` is the same with the kit, its units and the test broker put in place by hand.
ARG SUITE=trixie
FROM debian:${SUITE}-slim AS host
# The base image starts no services at installation; a machine does.
RUN rm -f /usr/sbin/policy-rc.d \
 && apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates dbus iproute2 libpam-systemd openssh-server procps \
      python3 python3-apt python3-packaging python3-venv sudo systemd systemd-sysv \
 && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* \
 # Empty, and not by a look at its date up to date.
 && touch --date=@0 /var/lib/apt/lists \
 && printf '[Unit]\nDescription=Host keys for ssh\nBefore=ssh.service\n[Service]\nType=oneshot\n\
ExecStart=/usr/bin/ssh-keygen -A\n[Install]\nWantedBy=ssh.service\n' >/etc/systemd/system/ssh-host-keys.service \
 && systemctl enable ssh-host-keys.service \
 # Who logs in is not root, but may become it.
 && useradd --create-home --shell /bin/bash admin \
 && printf 'admin ALL=(ALL) NOPASSWD: ALL\n' >/etc/sudoers.d/admin
STOPSIGNAL SIGRTMIN+3
CMD ["/sbin/init"]

FROM host AS kit
COPY images/with-ca images/tools.txt /opt/
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache \
    python3 -m venv /opt/tools \
 && /opt/with-ca /opt/tools/bin/pip install --disable-pip-version-check --require-hashes --requirement /opt/tools.txt
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON=/usr/bin/python3 UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/celery/venv
WORKDIR /build
COPY pyproject.toml uv.lock ./
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache \
    /opt/with-ca /opt/tools/bin/uv sync --locked --no-dev --all-extras --no-install-project
COPY LICENSE README.md ./
COPY src ./src
RUN /opt/tools/bin/hatchling build -t wheel -d dist \
 && /opt/tools/bin/uv pip install --python /opt/celery/venv --no-deps --offline dist/*.whl

FROM host AS units
RUN apt-get update && apt-get install --yes --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
COPY --from=kit /opt/celery/venv /opt/celery/venv
COPY systemd/*.service /etc/systemd/system/
COPY systemd/sysusers.d/celery.conf /usr/lib/sysusers.d/
COPY systemd/tmpfiles.d/celery.conf /usr/lib/tmpfiles.d/
COPY systemd/restart-delay.conf /opt/
RUN install --directory /opt/celery/app/current \
 && if [ "$(systemctl --version | awk 'NR == 1 { print int($2) }')" -ge 254 ]; then \
      for unit in celeryd@ celerybeat celery-flower; do \
        install -D --mode=0644 /opt/restart-delay.conf "/etc/systemd/system/$unit.service.d/restart-delay.conf"; \
      done; \
    fi \
 && systemd-sysusers && systemd-tmpfiles --create celery.conf \
 && systemctl enable celeryd.service
