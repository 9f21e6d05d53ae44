"""A job of a user's, in JOBS_ROOT as Nautobot's docs have it."""

import ipaddress

from nautobot.apps.jobs import IntegerVar, Job, register_jobs
from nautobot.extras.models import Status
from nautobot.ipam.models import IPAddress, Namespace, Prefix

name = "Addresses"


class FillNetwork(Job):
    """Give each host of a network an address; one that is there stays."""

    number = IntegerVar(description="The third and the fourth byte of the network", min_value=0)

    class Meta:
        """Nautobot shows these."""

        name = "Fill a network with addresses"
        has_sensitive_variables = False

    def run(self, *, number):
        """Return how many addresses the network has."""
        network = ipaddress.ip_network((ipaddress.IPv4Address("10.0.0.0") + 64 * number, 26))
        known = {"status": Status.objects.get(name="Active")}
        namespace = Namespace.objects.get(name="Global")
        prefix, _ = Prefix.objects.get_or_create(
            network=str(network.network_address), prefix_length=26, namespace=namespace, defaults=known
        )
        for host in network.hosts():
            IPAddress.objects.get_or_create(host=str(host), mask_length=26, parent=prefix, defaults=known)
        self.logger.info("%s is full", network)
        return prefix.ip_addresses.count()


register_jobs(FillNetwork)
