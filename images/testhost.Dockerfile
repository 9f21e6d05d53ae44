# Test hosts: Debian with ssh, like machines that an operator gets; a target an init system. The suite is an argument.
ARG SUITE=trixie
FROM debian:${SUITE}-slim AS machine
# The base image starts no services at installation; a machine does.
RUN rm -f /usr/sbin/policy-rc.d \
 && apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates iproute2 openssh-server procps python3 python3-apt \
      python3-packaging python3-venv sudo \
 && rm -rf /etc/ssh/ssh_host_* \
 # Who logs in is not root, but may become it.
 && useradd --create-home --shell /bin/bash admin \
 && printf 'admin ALL=(ALL) NOPASSWD: ALL\n' >/etc/sudoers.d/admin

FROM machine AS systemd
RUN apt-get install --yes --no-install-recommends dbus libpam-systemd systemd systemd-sysv \
 && rm -rf /var/lib/apt/lists/* \
 && printf '[Unit]\nDescription=Host keys for ssh\nBefore=ssh.service\n[Service]\nType=oneshot\n\
ExecStart=/usr/bin/ssh-keygen -A\n[Install]\nWantedBy=ssh.service\n' >/etc/systemd/system/ssh-host-keys.service \
 && systemctl enable ssh-host-keys.service
STOPSIGNAL SIGRTMIN+3
CMD ["/sbin/init"]

FROM machine AS sysvinit
RUN apt-get install --yes --no-install-recommends initscripts insserv orphan-sysvinit-scripts sysv-rc sysvinit-core \
 && rm -rf /var/lib/apt/lists/* \
 && sed -i '/^l2:/i sk:2345:wait:/usr/bin/ssh-keygen -A' /etc/inittab
STOPSIGNAL SIGINT
CMD ["/sbin/init"]

# Nobody starts or ends anything but sshd here, as in many a container.
FROM machine AS bare
RUN rm -rf /var/lib/apt/lists/*
CMD ["sh", "-c", "ssh-keygen -A && mkdir -p /run/sshd && exec /usr/sbin/sshd -D"]
