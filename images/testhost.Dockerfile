# Test hosts: Debian with systemd as PID 1 and ssh, like a machine that an operator gets. The suite is an argument.
ARG SUITE=trixie
FROM debian:${SUITE}-slim
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
