"""Send the user's job and an export of Nautobot's own, by REST and by a call; its job results tell what is done."""

from collections import Counter

from driving import drive
from rest import administrator, job, run  # sets Nautobot up

from django.contrib.contenttypes.models import ContentType  # isort: skip
from nautobot.extras.models import JobResult  # isort: skip
from nautobot.ipam.models import IPAddress  # isort: skip


def send(number):
    """Send one of Nautobot's own jobs and one of the user's by REST, and the others by a call."""
    first = JobResult.objects.count()
    addresses = ContentType.objects.get_for_model(IPAddress).pk
    yield run("ExportObjectList", data={"content_type": addresses})["job_result"]["id"]
    yield run("FillNetwork", data={"number": first})["job_result"]["id"]
    for more in range(1, number - 1):
        made = JobResult.enqueue_job(job("FillNetwork"), administrator(), job_kwargs={"number": first + more})
        yield str(made.pk)


def done(sent):
    """Return the job results that say success."""
    return [str(job) for job in JobResult.objects.filter(pk__in=sent, status="SUCCESS").values_list("pk", flat=True)]


def periodic():
    """Return how often each scheduled job has succeeded."""
    return Counter(
        JobResult.objects.filter(status="SUCCESS", scheduled_job__isnull=False).values_list("name", flat=True)
    )


drive(send, done, periodic)
