"""Every form of routing in Celery's documentation, in one app; ``main`` sends a job by each."""

import re

from celery import Celery, chord
from celerykit_survival import FOLDER, note
from kombu import Exchange, Queue, binding
from kombu.common import Broadcast

app = Celery("routed")
media, topics = Exchange("media", type="direct"), Exchange("topics", type="topic")
app.conf.task_queues = [
    Queue("celery"),
    Queue("images", media, routing_key="media.image"),
    Queue("videos", topics, routing_key="video.#"),
    Queue("several", [binding(media, routing_key="media.one"), binding(media, routing_key="media.two")]),
    Queue("urgent.mail", Exchange("urgent.mail", type="topic"), routing_key="urgent.mail"),
    Queue("classic", Exchange("classic"), routing_key="classic", queue_arguments={"x-queue-type": "classic"}),
    Broadcast("news"),
    Queue("elsewhere", topics, routing_key="elsewhere.#"),
]


def by_function(name, args, kwargs, options, task=None, **_):
    """Route one task, as a router that is a function does."""
    return {"queue": "images", "routing_key": "anything"} if name == "by.function" else None


def by_path(name, *_, **__):
    """Route one task, as a router of which only the path is told does."""
    return {"queue": "feeds"} if name == "by.path" else None


class ByClass:
    """A router as they were before Celery 4."""

    def route_for_task(self, task, args=None, kwargs=None):
        """Route one task."""
        return {"queue": "several"} if task == "by.class" else None


app.conf.task_routes = (
    by_function,
    "routed.by_path",
    ByClass(),
    [("by.glob.*", {"queue": "feeds"}), (re.compile(r"by\.(one|other)\..*"), {"queue": "videos"})],
    {
        "by.dict": {"queue": "feeds", "routing_key": "feed.import", "priority": 3},
        "by.name": "feeds",
        "by.exchange": {"exchange": "celery", "routing_key": "celery"},
        "by.type": {"exchange": "topics", "exchange_type": "topic", "routing_key": "video.compress"},
        "by.key": {"exchange": "media", "routing_key": "media.two"},
        "by.pattern": {"queue": "videos", "routing_key": "video.hd"},
        "by.news": {"queue": "news", "exchange": "news"},
    },
)
ROUTED = (
    "by.function",
    "by.path",
    "by.class",
    "by.glob.it",
    "by.one.it",
    "by.dict",
    "by.name",
    "by.exchange",
    "by.type",
    "by.key",
    "by.pattern",
    "by.news",
)
OPTIONS = {
    "nothing": {},
    "priority": {"priority": 5},
    "queue": {"queue": "feeds"},
    "queue-object": {"queue": Queue("feeds")},
    "queue-whole": {"queue": Queue("feeds", Exchange("feeds"), routing_key="feeds")},
    "queue-and-key": {"queue": "feeds", "routing_key": "feed.import"},
    "queue-direct": {"queue": "images"},
    "queue-direct-and-key": {"queue": "images", "routing_key": "anything"},
    "queue-topic": {"queue": "videos"},
    "queue-topic-and-key": {"queue": "videos", "routing_key": "video.hd"},
    "queue-dotted": {"queue": "urgent.mail"},
    "queue-classic": {"queue": "classic"},
    "queue-bound-twice": {"queue": "several"},
    "queue-news": {"queue": "news"},
    "exchange-default": {"exchange": "celery", "routing_key": "celery"},
    "exchange-of-name": {"exchange": "feeds", "routing_key": "feeds"},
    "exchange-direct": {"exchange": "media", "routing_key": "media.image"},
    "exchange-bound-twice": {"exchange": "media", "routing_key": "media.one"},
    "exchange-topic": {"exchange": "topics", "routing_key": "video.hd"},
    "exchange-object": {"exchange": topics, "routing_key": "video.sd"},
    "exchange-alone": {"exchange": "media"},
    "key-alone": {"routing_key": "nobody.knows"},
    "anonymous": {"exchange": "", "routing_key": "feeds"},
}


def run(self, retries=0):
    """Say that it was done, at the last try."""
    if self.request.retries < retries:
        raise self.retry(countdown=1)
    note(FOLDER, "done", self.request.id)


TASKS = {name: app.task(run, name=name, bind=True) for name in ("any", *ROUTED)}


@app.task(name="part")
def part(number):
    """Be one of a chord's."""
    return number


@app.task(name="whole", bind=True)
def whole(self, numbers):
    """Be a chord's end."""
    note(FOLDER, "done", self.request.id)
    return sum(numbers)


def main(who, countdown):
    """Send a job by each form, and write down which the broker took."""
    delay = {"countdown": countdown} if countdown else {}
    for name in ROUTED:
        send(TASKS[name], f"{who}-{name}", delay)
    for form, options in OPTIONS.items():
        send(TASKS["any"], f"{who}-{form}", {**options, **delay})
        if form.startswith("queue") and "news" not in form and not countdown:
            send(TASKS["any"], f"{who}-{form}-again", {**options, "kwargs": {"retries": 1}})
    if not countdown:
        chord([part.s(1), part.s(2)])(whole.s().set(task_id=f"{who}-chord"))
        note(FOLDER, "accepted", f"{who}-chord")
    app.close()  # without confirmations, RabbitMQ may not have read the last jobs when the process ends


def send(task, job, options):
    """Send a job, and say what became of that."""
    try:
        task.apply_async(task_id=job, **options)
    except Exception as exc:
        print(job, repr(exc), flush=True)
        note(FOLDER, "refused", job)
    else:
        note(FOLDER, "accepted", job)
